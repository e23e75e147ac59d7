package auditlog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sallyport-mcp/sallyport/audit"
)

// VerifyConfig says what is verified and against what.
type VerifyConfig struct {
	// Dir is the log, or a copy of it. Nothing in it is changed. It may be in use.
	Dir string
	// PublicKey is the key's note verifier. Empty: the one in Dir, which whoever changed the log could change too.
	PublicKey string
	// Checkpoints are texts kept elsewhere in which checkpoints are looked for: notes, lines, or whole process logs.
	// Empty: nothing anchors the log.
	Checkpoints [][]byte
	// Progress is called now and then with the records and bytes checked so far. Nil: nobody is told.
	Progress func(records uint64, bytes int64)
}

// The words of VerifyReport.Result; with anchors it is "verified against N checkpoints from elsewhere".
const (
	ResultDamaged    = "damaged"
	ResultConsistent = "consistent, not anchored"
)

// VerifyReport is what was found.
type VerifyReport struct {
	audit.Report
	Result string
	Fault  *audit.Fault // nil unless Result is ResultDamaged
	Torn   *Recovery    // an incomplete last line, which no one was told is recorded; not damage. Nil: none
	Bytes  int64        // of records
}

// Verify checks a log from its first record to its last: every line is a record, numbers follow each other, each names
// the hash of the one before, the tree's hashes are theirs, and every checkpoint, stored or given, is signed and has the
// tree's root. It stops at the first fault. Damage is in the report; an error means that it could not be verified:
// a file cannot be read, the key is malformed, the texts given hold no checkpoint (audit.ErrNoCheckpoint), or none
// that the key signed (audit.ErrNoneUsable).
func Verify(ctx context.Context, cfg VerifyConfig) (VerifyReport, error) {
	v, err := newVerification(ctx, cfg)
	if err != nil {
		return VerifyReport{}, err
	}
	defer v.closeTree()
	if err := v.run(); err != nil {
		return VerifyReport{}, err
	}
	v.conclude()
	return v.report, nil
}

// verification is one run of Verify.
type verification struct {
	ctx      context.Context
	cfg      VerifyConfig
	verifier *audit.Verifier
	stored   int           // stored checkpoints
	treeFile *os.File      // nil if there is none
	tree     *bufio.Reader // of treeFile, in the order of records
	leaves   uint64        // whole leaves in the tree file when it was opened
	report   VerifyReport
}

// newVerification reads checkpoints before the tree's length and that before the records, which is the order in which
// a running writer must have written at least as much.
func newVerification(ctx context.Context, cfg VerifyConfig) (*verification, error) {
	v := &verification{ctx: ctx, cfg: cfg}
	text := cfg.PublicKey
	if text == "" {
		b, err := os.ReadFile(filepath.Join(cfg.Dir, publicKeyName))
		if err != nil {
			return nil, fmt.Errorf("reading checkpoint public key: %w", err)
		}
		text = string(b)
	}
	key, err := audit.ParsePublicKey(text)
	if err != nil {
		return nil, err
	}
	given, err := findGiven(cfg.Checkpoints)
	if err != nil {
		return nil, err
	}
	stored, err := readCheckpoints(cfg.Dir)
	if err != nil {
		return nil, err
	}
	v.stored = len(stored)
	v.verifier, err = audit.NewVerifier(audit.VerifierConfig{Key: key, Stored: stored, Given: given})
	if err != nil {
		return nil, err
	}
	return v, v.openTree()
}

func findGiven(texts [][]byte) ([]audit.Checkpoint, error) {
	var given []audit.Checkpoint
	for i, text := range texts {
		found := audit.FindCheckpoints(text)
		if len(found) == 0 {
			return nil, fmt.Errorf("text %d of %d given to verify against: %w", i+1, len(texts), audit.ErrNoCheckpoint)
		}
		given = append(given, found...)
	}
	return given, nil
}

// readCheckpoints returns all stored checkpoints in order. A line that is none becomes one that no key signed, so that
// it is reported in its place; a last line without newline was never finished and is left out.
func readCheckpoints(dir string) ([]audit.Checkpoint, error) {
	firsts, err := list(dir, checkpointEnd)
	if err != nil {
		return nil, err
	}
	var stored []audit.Checkpoint
	for _, first := range firsts {
		_, _, err := eachLine(fileOf(dir, first, checkpointEnd), func(line []byte) error {
			c, err := audit.ParseCheckpoint(line)
			if err != nil && len(stored) > 0 {
				c = audit.Checkpoint{Size: stored[len(stored)-1].Size}
			}
			stored = append(stored, c)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return stored, nil
}

func (v *verification) openTree() error {
	file, err := os.Open(filepath.Join(v.cfg.Dir, treeName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the checkpoints tell whether hashes are missing
	}
	if err != nil {
		return fmt.Errorf("reading audit tree: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return fmt.Errorf("reading audit tree: %w", err)
	}
	v.treeFile, v.leaves = file, leafCount(info.Size())
	v.tree = bufio.NewReaderSize(file, 256<<10)
	return nil
}

func (v *verification) closeTree() {
	if v.treeFile != nil {
		v.treeFile.Close()
	}
}

// run goes through all records. A fault is put into the report.
func (v *verification) run() error {
	segments, err := listSegments(v.cfg.Dir)
	if err != nil {
		return err
	}
	if len(segments) > 0 {
		if err := v.skipDeleted(segments[0]); err != nil || v.report.Fault != nil {
			return err
		}
	}
	for i, first := range segments {
		torn, err := v.segment(first)
		if err != nil || v.report.Fault != nil {
			return err
		}
		if torn > 0 && i < len(segments)-1 {
			v.report.Fault = v.verifier.Malformed("incomplete, and records follow")
			return nil
		}
		if torn > 0 {
			v.report.Torn = &Recovery{File: filepath.Base(fileOf(v.cfg.Dir, first, segmentEnd)), Bytes: torn, Next: v.verifier.Size() + 1}
		}
	}
	v.report.Report, v.report.Fault = v.verifier.End(v.leaves)
	if v.report.Fault == nil && v.stored == 0 {
		v.report.Fault = &audit.Fault{Until: v.report.Records, Reason: "no stored checkpoint is there"}
	}
	v.progress()
	return nil
}

// segment goes through the records of one segment and returns how many bytes follow them. A fault is put into the report.
func (v *verification) segment(first uint64) (torn int64, err error) {
	s, err := openSegmentReader(v.cfg.Dir, first)
	if errors.Is(err, errDamaged) {
		v.report.Fault = v.verifier.Malformed(err.Error())
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer s.Close()
	take, last := v.line, []byte(nil)
	if s.gzip != nil {
		take = func(line []byte) error {
			last = append(last[:0], line...)
			return v.line(line)
		}
	}
	_, torn, err = readLines(s, s.name(), 0, take)
	switch {
	case errors.Is(err, errLong):
		v.report.Fault = v.verifier.Malformed("longer than any record")
	case errors.Is(err, errDamaged):
		v.report.Fault = v.verifier.Malformed(err.Error())
	case err != nil && !errors.Is(err, errStop):
		return 0, err
	case err == nil && last != nil && !s.endsAt(last):
		v.report.Fault = v.verifier.Malformed(s.name() + " bears another time than its last record, the one before")
	}
	return torn, nil
}

// errStop ends reading because of the fault in the report.
var errStop = errors.New("stop")

// skipDeleted takes the leaf hashes of the records before the first that has a body.
func (v *verification) skipDeleted(first uint64) error {
	for v.verifier.Size()+1 < first {
		leaf, err := v.keptLeaf()
		if err != nil {
			return err
		}
		if leaf == nil {
			v.report.Fault = v.verifier.Malformed("missing, and no leaf hash is kept for it")
			return nil
		}
		nodes, fault := v.verifier.Skip(*leaf)
		if v.found(fault) {
			return nil
		}
		if err := v.keptNodes(nodes, true); err != nil {
			return err
		}
		if v.report.Fault != nil {
			return nil
		}
	}
	return v.ctx.Err()
}

func (v *verification) line(line []byte) error {
	kept, err := v.keptLeaf()
	if err != nil {
		return err
	}
	nodes, fault := v.verifier.Record(line, kept)
	if v.found(fault) {
		return errStop
	}
	v.report.Bytes += int64(len(line)) + 1
	if err := v.keptNodes(nodes, kept != nil); err != nil {
		return err
	}
	if v.report.Fault != nil {
		return errStop
	}
	if v.verifier.Size()%4096 == 0 {
		v.progress()
		return v.ctx.Err()
	}
	return nil
}

func (v *verification) progress() {
	if v.cfg.Progress != nil {
		v.cfg.Progress(v.verifier.Size(), v.report.Bytes)
	}
}

func (v *verification) found(fault *audit.Fault) bool {
	v.report.Fault = fault
	return fault != nil
}

// keptLeaf reads the leaf hash kept for the next record, nil if the tree file ends before.
func (v *verification) keptLeaf() (*audit.Hash, error) {
	if v.verifier.Size() >= v.leaves {
		return nil, nil
	}
	return v.readKept()
}

func (v *verification) readKept() (*audit.Hash, error) {
	var h audit.Hash
	if _, err := io.ReadFull(v.tree, h[:]); err != nil {
		return nil, fmt.Errorf("reading audit tree: %w", err)
	}
	return &h, nil
}

// keptNodes compares the inner hashes that a record completes, all but the first of nodes, with those kept.
func (v *verification) keptNodes(nodes []audit.Hash, kept bool) error {
	if !kept {
		return nil
	}
	for i := 1; i < len(nodes); i++ {
		h, err := v.readKept()
		if err != nil {
			return err
		}
		if *h != nodes[i] {
			v.report.Fault = v.verifier.BadNode()
			return nil
		}
	}
	return nil
}

// conclude says it in the words that promise no more than was checked.
func (v *verification) conclude() {
	switch {
	case v.report.Fault != nil:
		v.report.Result = ResultDamaged
	case v.report.Anchors > 0:
		v.report.Result = fmt.Sprintf("verified against %d checkpoints from elsewhere", v.report.Anchors)
	default:
		v.report.Result = ResultConsistent
	}
}
