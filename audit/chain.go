package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a leaf or node hash of the log's Merkle tree (RFC 6962 §2.1, SHA-256).
type Hash = tlog.Hash

const seqPrefix = `{"seq":`

// AppendLine appends the line a log keeps for the record seq: the members seq and prev, then those of event, which is
// what AppendJSON wrote. prev is the leaf hash of the line before; of the first line it is zero. No newline is added.
func AppendLine(dst []byte, seq uint64, prev Hash, event []byte) []byte {
	dst = append(dst, seqPrefix...)
	dst = strconv.AppendUint(dst, seq, 10)
	dst = append(dst, `,"prev":"`...)
	dst = hex.AppendEncode(dst, prev[:])
	dst = append(dst, `",`...)
	return append(dst, event[1:]...)
}

// ParseLine returns the sequence number of a line and the hash it names for the line before. It reads nothing else.
func ParseLine(line []byte) (seq uint64, prev Hash, err error) {
	seq, prev, _, err = parseHead(line)
	return seq, prev, err
}

// LeafHash returns the leaf hash of a line, which is given without its newline.
func LeafHash(line []byte) Hash { return tlog.RecordHash(line) }

var errHead = errors.New("no sequence number and previous hash in front")

// parseHead also returns how many bytes the head takes.
func parseHead(line []byte) (seq uint64, prev Hash, n int, err error) {
	p := parser{rest: line}
	p.want(seqPrefix)
	seq = p.uint()
	p.want(`,"prev":"`)
	const digits = 2 * tlog.HashSize
	if p.err != nil || len(p.rest) < digits {
		return 0, Hash{}, 0, errHead
	}
	for _, c := range p.rest[:digits] {
		if c >= 'A' && c <= 'F' { // hex.Decode takes them, AppendLine does not write them
			return 0, Hash{}, 0, errHead
		}
	}
	if _, err := hex.Decode(prev[:], p.rest[:digits]); err != nil {
		return 0, Hash{}, 0, errHead
	}
	p.rest = p.rest[digits:]
	if p.want(`",`); p.err != nil {
		return 0, Hash{}, 0, errHead
	}
	return seq, prev, len(line) - len(p.rest), nil
}

// Chain follows a log line by line. The zero value expects the first record. It is not safe for concurrent use.
type Chain struct {
	Size uint64 // records so far; the next has number Size+1
	Last Hash   // leaf hash of the last one
}

// Errors of Chain.Next, for errors.Is.
var (
	// ErrSequence is a line whose number is not the one expected.
	ErrSequence = errors.New("unexpected sequence number")
	// ErrPrevious is a line that names another hash for the line before than that line has.
	ErrPrevious = errors.New("previous hash does not match")
)

// Next checks that line continues the chain and returns its leaf hash. On an error the chain stays as it was.
func (c *Chain) Next(line []byte) (Hash, error) {
	seq, prev, err := ParseLine(line)
	if err != nil {
		return Hash{}, fmt.Errorf("record %d: %w", c.Size+1, err)
	}
	if seq != c.Size+1 {
		return Hash{}, fmt.Errorf("record %d: %w: found %d", c.Size+1, ErrSequence, seq)
	}
	if prev != c.Last {
		return Hash{}, fmt.Errorf("record %d: %w", seq, ErrPrevious)
	}
	c.Size, c.Last = seq, LeafHash(line)
	return c.Last, nil
}

// Tree is the Merkle tree of the leaf hashes so far, kept as its right edge: one hash per complete subtree, O(log n).
// The zero value is the empty tree. It is not safe for concurrent use.
type Tree struct {
	size  uint64
	edge  []Hash // complete subtrees, largest first
	nodes []Hash // reused by Add
}

// NewTree continues a tree of size leaves whose complete subtrees, from left to right, are edge.
func NewTree(size uint64, edge []Hash) *Tree {
	return &Tree{size: size, edge: append([]Hash(nil), edge...)}
}

// Size returns the number of leaves.
func (t *Tree) Size() uint64 { return t.size }

// Add adds a leaf and returns the hashes it completes, the leaf itself first, each a level above the one before: what
// tlog.StoredHashes returns. The slice is valid until the next call.
func (t *Tree) Add(leaf Hash) []Hash {
	t.nodes = append(t.nodes[:0], leaf)
	for n := t.size; n&1 == 1; n >>= 1 {
		leaf = tlog.NodeHash(t.edge[len(t.edge)-1], leaf)
		t.edge = t.edge[:len(t.edge)-1]
		t.nodes = append(t.nodes, leaf)
	}
	t.edge = append(t.edge, leaf)
	t.size++
	return t.nodes
}

// Root returns the root hash (RFC 6962 §2.1); of the empty tree the hash of nothing.
func (t *Tree) Root() Hash {
	if t.size == 0 {
		root, _ := tlog.TreeHash(0, nil) // reads nothing for size 0 and cannot fail
		return root
	}
	root := t.edge[len(t.edge)-1]
	for i := len(t.edge) - 2; i >= 0; i-- {
		root = tlog.NodeHash(t.edge[i], root)
	}
	return root
}

// Clone returns an independent copy.
func (t *Tree) Clone() *Tree { return NewTree(t.size, t.edge) }

// LineTime returns the time of the event in a line and reads nothing else.
func LineTime(line []byte) (time.Time, error) {
	_, _, n, err := parseHead(line)
	if err != nil {
		return time.Time{}, err
	}
	p := parser{rest: line[n:]}
	p.want(`"time":`)
	t := p.time()
	return t, p.err
}
