package audit

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"
)

// Fault is where a log stops agreeing with itself or with its checkpoints.
type Fault struct {
	// Seq is the first bad or missing sequence number; 0 when only the interval below is known, because whoever changed
	// the records computed the hashes after them anew.
	Seq uint64
	// After and Until bound the change: the last checkpoint that agrees covers the records up to After (0: none does),
	// and the first that does not covers those up to Until (0: unknown).
	After, Until uint64
	// Reason says what was found, in one line.
	Reason string
}

// String says where and what, in one line.
func (f *Fault) String() string {
	if f.Seq > 0 {
		return fmt.Sprintf("record %d: %s", f.Seq, f.Reason)
	}
	if f.Until <= f.After {
		return fmt.Sprintf("checkpoint of %d records: %s", f.Until, f.Reason)
	}
	return fmt.Sprintf("records %d to %d: %s", f.After+1, f.Until, f.Reason)
}

// VerifierConfig says against what a log is checked.
type VerifierConfig struct {
	// Key is the public key of the log. Required.
	Key note.Verifier
	// Stored are the checkpoints kept with the log, in their order. They show damage, and forgery by whoever has not
	// got the key; they anchor nothing.
	Stored []Checkpoint
	// Given are checkpoints that were kept elsewhere. Those Key did not sign are left out and counted.
	Given []Checkpoint
}

// Verifier checks a log record by record, in order: Skip for each whose body was deleted, then Record for each line,
// then End. It does no I/O. After the first Fault it must not be used further.
type Verifier struct {
	key           note.Verifier
	chain         Chain
	tree          Tree
	stored, given []Checkpoint // by size; those checked are cut off the front
	goodStored    uint64       // size of the last stored checkpoint that agreed
	goodGiven     uint64
	deleted       uint64 // records whose bodies are gone
	declared      uint64 // records of which a RecordsDeleted record says that their bodies went
	report        Report
}

// Report counts what was checked.
type Report struct {
	Records    uint64 // all records, those with deleted bodies included
	Stored     int    // stored checkpoints that agree
	Anchors    int    // different checkpoints from elsewhere that agree
	Unusable   int    // given checkpoints that the key did not sign
	FirstBody  uint64 // the first record whose body is there
	LastAnchor uint64 // size of the largest checkpoint from elsewhere that agrees; later records are not anchored
}

// ErrNoneUsable means that checkpoints from elsewhere were given and the key signed none of them: it is the key of
// another log, or the log's key was replaced.
var ErrNoneUsable = errors.New("no checkpoint from elsewhere is signed by this key")

// NewVerifier starts at the empty log.
func NewVerifier(cfg VerifierConfig) (*Verifier, error) {
	if cfg.Key == nil {
		return nil, errors.New("verifying log: no public key")
	}
	v := &Verifier{key: cfg.Key, stored: slices.Clone(cfg.Stored)}
	seen := map[Checkpoint]bool{}
	for _, c := range cfg.Given {
		if c.Verify(cfg.Key) != nil {
			v.report.Unusable++
		} else if !seen[c] {
			seen[c] = true
			v.given = append(v.given, c)
		}
	}
	if len(v.given) == 0 && len(cfg.Given) > 0 {
		return nil, fmt.Errorf("verifying log: %w", ErrNoneUsable)
	}
	slices.SortStableFunc(v.given, func(a, b Checkpoint) int {
		switch {
		case a.Size < b.Size:
			return -1
		case a.Size > b.Size:
			return 1
		}
		return 0
	})
	return v, nil
}

// Size returns the number of records checked so far.
func (v *Verifier) Size() uint64 { return v.chain.Size }

// Skip takes the leaf hash of a record whose body was deleted. It returns what Record returns.
func (v *Verifier) Skip(leaf Hash) ([]Hash, *Fault) {
	if f := v.checkpoints(); f != nil {
		return nil, f
	}
	v.chain.Size++
	v.chain.Last = leaf
	v.deleted = v.chain.Size
	return v.tree.Add(leaf), nil
}

// Record checks the next line, given without its newline. kept is the leaf hash that was kept apart for it, nil if there
// is none. It returns the tree hashes the record completes (see Tree.Add).
func (v *Verifier) Record(line []byte, kept *Hash) ([]Hash, *Fault) {
	if f := v.checkpoints(); f != nil {
		return nil, f
	}
	seq := v.chain.Size + 1
	leaf := LeafHash(line)
	altered := kept != nil && *kept != leaf
	_, err := v.chain.Next(line)
	switch {
	case errors.Is(err, ErrSequence):
		found, _, _ := ParseLine(line) // read once by Next
		return nil, v.fault(seq, fmt.Sprintf("missing or out of place: found record %d here", found))
	case errors.Is(err, ErrPrevious) && !altered && seq-1 > max(v.deleted, v.goodStored, v.goodGiven):
		// This line is as it was, or nobody can tell; it is the one before that has not the hash it had.
		return nil, v.fault(seq-1, "does not have the hash that the next record names")
	case errors.Is(err, ErrPrevious):
		return nil, v.fault(seq, "names another hash for the record before")
	case err != nil:
		return nil, v.fault(seq, "malformed: "+errors.Unwrap(err).Error())
	case altered:
		return nil, v.fault(seq, "does not have the leaf hash kept for it")
	}
	e, err := Decode(line)
	if err != nil {
		return nil, v.fault(seq, err.Error())
	}
	if through, ok := DeletedThrough(&e); ok {
		v.declared = max(v.declared, through)
	}
	return v.tree.Add(leaf), nil
}

// End checks that nothing is missing after the last record. leaves is the number of leaf hashes kept apart.
func (v *Verifier) End(leaves uint64) (Report, *Fault) {
	if f := v.checkpoints(); f != nil {
		return v.report, f
	}
	v.report.Records = v.chain.Size
	v.report.FirstBody = v.deleted + 1
	missing := v.chain.Size + 1
	switch {
	case v.deleted > v.declared:
		return v.report, v.fault(v.declared+1, "missing, and no record says that it was deleted")
	case len(v.given) > 0:
		return v.report, v.fault(missing, fmt.Sprintf("missing: a checkpoint from elsewhere covers %d records", v.given[0].Size))
	case len(v.stored) > 0:
		return v.report, v.fault(missing, fmt.Sprintf("missing: a stored checkpoint covers %d records", v.stored[0].Size))
	case leaves > v.chain.Size:
		return v.report, v.fault(missing, fmt.Sprintf("missing: %d leaf hashes are kept", leaves))
	}
	return v.report, nil
}

// checkpoints compares the tree as it is now with every checkpoint of its size.
func (v *Verifier) checkpoints() *Fault {
	size := v.chain.Size
	for len(v.given) > 0 && v.given[0].Size == size {
		c := v.given[0]
		if c.Root != v.tree.Root() {
			// The stored checkpoints may be forged with the key, so only those from elsewhere bound the change.
			return &Fault{After: v.goodGiven, Until: size, Reason: "the tree does not have the root of a checkpoint from elsewhere"}
		}
		v.given, v.goodGiven = v.given[1:], size
		v.report.Anchors++
		v.report.LastAnchor = size
	}
	for len(v.stored) > 0 && v.stored[0].Size <= size {
		c := v.stored[0]
		switch {
		case c.Size < size:
			return v.interval(size, fmt.Sprintf("a stored checkpoint of %d records stands after one of %d", c.Size, v.goodStored))
		case c.Verify(v.key) != nil:
			return v.interval(size, "a stored checkpoint is not signed by this key")
		case c.Root != v.tree.Root():
			return v.interval(size, "the tree does not have the root of a stored checkpoint")
		}
		v.stored, v.goodStored = v.stored[1:], size
		v.report.Stored++
	}
	return nil
}

func (v *Verifier) interval(until uint64, reason string) *Fault {
	return &Fault{After: max(v.goodStored, v.goodGiven), Until: until, Reason: reason}
}

// fault names a record. Until is the next checkpoint, which that record cannot satisfy.
func (v *Verifier) fault(seq uint64, reason string) *Fault {
	f := &Fault{Seq: seq, After: max(v.goodStored, v.goodGiven), Reason: reason}
	if f.After >= seq {
		f.After = seq - 1 // a hash kept apart was changed; the checkpoint covers the record itself
	}
	for _, rest := range [][]Checkpoint{v.stored, v.given} {
		if len(rest) > 0 && rest[0].Size >= seq && (f.Until == 0 || rest[0].Size < f.Until) {
			f.Until = rest[0].Size
		}
	}
	return f
}

// Malformed returns the fault of a next record that is not even a line that Record could be given.
func (v *Verifier) Malformed(reason string) *Fault { return v.fault(v.chain.Size+1, reason) }

// BadNode returns the fault of a tree hash, kept apart, that is not the one the record just taken completes.
func (v *Verifier) BadNode() *Fault {
	return v.fault(v.chain.Size, "completes a tree hash that is not the one kept")
}
