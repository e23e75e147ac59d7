package auditlog

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// packer compresses closed segments in one goroutine, started by Open and ended by Close. At every moment one whole form
// of a segment is there under its name: the compressed one is written under another name, synced and read back before it
// takes its own, and only then the plain one goes.
type packer struct {
	due  chan struct{} // capacity 1; nil: nothing is compressed
	quit chan struct{} // closed by stop
	done chan struct{} // closed when the goroutine has ended
}

// packAgain is the time after which a segment that could not be compressed is tried again.
const packAgain = time.Minute

func (p *packer) start(l *Log) {
	if l.cfg.KeepPlain {
		return
	}
	p.due, p.quit, p.done = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	p.wake()
	go l.packLoop()
}

// wake tells that there may be a new closed segment.
func (p *packer) wake() {
	select {
	case p.due <- struct{}{}: // of a nil channel: never
	default:
	}
}

func (p *packer) stop() {
	if p.quit != nil {
		close(p.quit)
		<-p.done
	}
}

func (l *Log) packLoop() {
	defer close(l.packer.done)
	removeLeftovers(l.cfg.Dir)
	var again <-chan time.Time
	for {
		select {
		case <-l.packer.quit:
			return
		case <-l.packer.due:
		case <-again:
		}
		again = nil
		if err := l.packAll(); err != nil && !errors.Is(err, errStop) {
			l.cfg.Logger.Warn("audit: a closed segment could not be compressed; it stays as it is", "error", err)
			again = time.After(packAgain)
		}
	}
}

// removeLeftovers removes what a crash left half-written.
func removeLeftovers(dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*"+packedEnd+".*.tmp")) // the pattern is well-formed
	for _, f := range files {
		_ = os.Remove(f) // it is only in the way
	}
}

// packAll compresses every closed segment that has a plain form.
func (l *Log) packAll() error {
	l.mu.Lock()
	current := l.seg.first
	l.mu.Unlock()
	plain, err := list(l.cfg.Dir, segmentEnd)
	if err != nil {
		return err
	}
	for _, first := range plain {
		if first >= current {
			return nil
		}
		if err := l.pack(first); err != nil {
			return err
		}
	}
	return nil
}

// pack compresses one segment. It may be gone by now.
func (l *Log) pack(first uint64) error {
	l.closed.Lock()
	defer l.closed.Unlock()
	path := fileOf(l.cfg.Dir, first, segmentEnd)
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("compressing audit segment: %w", err)
	}
	temp, err := l.packTo(in, path)
	in.Close()
	if err != nil {
		return err
	}
	if err := os.Rename(temp, fileOf(l.cfg.Dir, first, packedEnd)); err != nil {
		os.Remove(temp)
		return fmt.Errorf("compressing audit segment: %w", err)
	}
	if err := syncDir(l.cfg.Dir); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("deleting plain audit segment: %w", err)
	}
	if err := syncDir(l.cfg.Dir); err != nil {
		return err
	}
	return l.measure()
}

// packTo writes the compressed form of in beside path, synced and read back, and returns its temporary name.
func (l *Log) packTo(in *os.File, path string) (temp string, err error) {
	out, err := os.CreateTemp(l.cfg.Dir, filepath.Base(path)+".gz.*.tmp") // mode 0600
	if err != nil {
		return "", fmt.Errorf("compressing audit segment: %w", err)
	}
	defer func() {
		out.Close() // synced, or removed
		if err != nil {
			os.Remove(out.Name())
		}
	}()
	n, err := compress(out, &untilQuit{in, l.packer.quit}, newestOf(in))
	if err == nil {
		err = out.Sync()
	}
	if err == nil {
		err = readBack(out, n)
	}
	if err != nil {
		return "", fmt.Errorf("compressing audit segment: %w", err)
	}
	return out.Name(), nil
}

// newestOf returns the time for the header; zero, which readers take for unknown, if there is none.
func newestOf(in *os.File) time.Time {
	line, err := lastLine(in)
	if err != nil {
		return time.Time{}
	}
	t, err := audit.LineTime(line)
	if err != nil {
		return time.Time{}
	}
	return roundUp(t)
}

func compress(out io.Writer, in io.Reader, newest time.Time) (int64, error) {
	buf := bufio.NewWriterSize(out, 64<<10)
	z, err := gzip.NewWriterLevel(buf, gzip.BestSpeed)
	if err != nil {
		return 0, err
	}
	z.ModTime = newest
	n, err := io.Copy(z, in)
	if err == nil {
		err = z.Close()
	}
	if err == nil {
		err = buf.Flush()
	}
	return n, err
}

// readBack checks that the file decompresses to so many bytes with the checksum they had.
func readBack(out *os.File, want int64) error {
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(out, 64<<10))
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, z)
	if err == nil && n != want {
		err = fmt.Errorf("%d bytes became %d", want, n)
	}
	return err
}

// untilQuit ends reading when the log is closed.
type untilQuit struct {
	io.Reader
	quit <-chan struct{}
}

func (u *untilQuit) Read(b []byte) (int, error) {
	select {
	case <-u.quit:
		return 0, errStop
	default:
		return u.Reader.Read(b)
	}
}
