package auditlog

import (
	"fmt"
	"io"
	"sort"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sallyport-mcp/sallyport/audit"
)

// treeStore is the tree file. It is written behind the segments and synced before a checkpoint; what cannot be written
// now stays pending. It is guarded by Log.mu, but for sync.
type treeStore struct {
	file    File
	written int64  // bytes of the file that count
	pending []byte // follow those
}

// maxPending bounds what a tree file that cannot be written may keep in memory.
const maxPending = 16 << 20

// add appends the hashes that a record completes.
func (t *treeStore) add(nodes []audit.Hash) {
	for i := range nodes {
		t.pending = append(t.pending, nodes[i][:]...)
	}
}

// flush writes what is pending.
func (t *treeStore) flush() error {
	if len(t.pending) == 0 {
		return nil
	}
	n, err := t.file.WriteAt(t.pending, t.written)
	if err == nil && n < len(t.pending) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("writing audit tree: %w", err)
	}
	t.written += int64(n)
	t.pending = t.pending[:0]
	return nil
}

// begin makes add continue a tree of size leaves.
func (t *treeStore) begin(size uint64) {
	t.written, t.pending = tlog.StoredHashCount(int64(size))*tlog.HashSize, nil
}

// cut writes what is pending and ends the file there.
func (t *treeStore) cut() error {
	if err := t.flush(); err != nil {
		return err
	}
	if err := t.file.Truncate(t.written); err != nil {
		return fmt.Errorf("cutting audit tree: %w", err)
	}
	return nil
}

// leafCount returns of how many leaves all hashes fit into a tree file of the given length.
func leafCount(length int64) uint64 {
	hashes := length / tlog.HashSize
	n := sort.Search(int(hashes), func(n int) bool { return tlog.StoredHashCount(int64(n)+1) > hashes })
	return uint64(n)
}

// readTree returns the tree of the first size leaves and the hash of the last of them, reading O(log size) hashes.
func readTree(file io.ReaderAt, size uint64) (*audit.Tree, audit.Hash, error) {
	if size == 0 {
		return new(audit.Tree), audit.Hash{}, nil
	}
	var edge []audit.Hash
	left := int64(0)
	for level := 62; level >= 0; level-- {
		if size>>level&1 == 0 {
			continue
		}
		h, err := readHash(file, tlog.StoredHashIndex(level, left>>level))
		if err != nil {
			return nil, audit.Hash{}, err
		}
		edge = append(edge, h)
		left += 1 << level
	}
	last, err := readHash(file, tlog.StoredHashIndex(0, int64(size)-1))
	if err != nil {
		return nil, audit.Hash{}, err
	}
	return audit.NewTree(size, edge), last, nil
}

func readHash(file io.ReaderAt, index int64) (audit.Hash, error) {
	var h audit.Hash
	if n, err := file.ReadAt(h[:], index*tlog.HashSize); n < len(h) {
		return h, fmt.Errorf("reading audit tree: %w", err)
	}
	return h, nil
}
