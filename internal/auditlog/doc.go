// Package auditlog keeps audit records in files: segment files of one JSON line per event, the tree of their hashes,
// and signed checkpoints.
//
// For most uses: Open a directory, give the Log to audit.NewRecorder, Close it after the Recorder. Scan and Tail read
// beside a running writer; Verify needs nothing but the files and the public key.
//
// It does not decide what is recorded, does not index, and does not keep two processes out of one directory: whoever
// opens it holds the lock on the data directory.
//
// The directory (0700; every file 0600):
//
//	writer                           identifier of this log, made at first start
//	checkpoint.pub                   public key of the checkpoints, a note verifier
//	tree                             hashes of the Merkle tree in the order of tlog.StoredHashIndex, kept for ever
//	00000000000000000001.jsonl       records from number 1, until 64 MiB or the end of the UTC day
//	00000000000000000001.jsonl.gz    the same, closed and compressed
//	00000000000000000001.checkpoints the checkpoints signed while that segment was written, one a line
//
// A batch is durable when its segment is synced. The tree file may lag behind after a crash and is completed from the
// segments; it is synced before each checkpoint, so what a checkpoint covers need not be read again at start. Closed
// segments are compressed in the background, and may go once a record says so (Expired, Oldest, DeleteThrough).
//
// The invariant: what Append acknowledged is in the files, in order, for ever or until a record says that it was
// deleted; what is in the files and not as it was written is never taken for a record.
package auditlog
