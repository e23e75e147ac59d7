package sqlite

import (
	"context"
	"database/sql"
	"fmt"
)

// Times are Unix nanoseconds; 0 is the zero time. Lists are JSON, where null and [] are two things.

// migrations bring a database from version i (the index) to i+1. Rows are only ever added.
func migrations() []string {
	return []string{`
CREATE TABLE keys (
	seq         INTEGER PRIMARY KEY,
	id          TEXT NOT NULL UNIQUE,
	name        TEXT NOT NULL,
	hash        BLOB NOT NULL CHECK (length(hash) = 32),
	roles       TEXT NOT NULL,
	permissions TEXT NOT NULL,
	networks    TEXT NOT NULL,
	created     INTEGER NOT NULL,
	expires     INTEGER NOT NULL,
	revoked     INTEGER NOT NULL,
	last_used   INTEGER NOT NULL
) STRICT;
CREATE TABLE revocations (
	id      TEXT NOT NULL PRIMARY KEY,
	subject TEXT NOT NULL,
	at      INTEGER NOT NULL,
	until   INTEGER NOT NULL
) STRICT;
CREATE INDEX revocations_until ON revocations (until);
CREATE TABLE roles (
	name        TEXT NOT NULL PRIMARY KEY,
	permissions TEXT NOT NULL,
	inherits    TEXT NOT NULL
) STRICT;
CREATE TABLE alerts (
	seq       INTEGER PRIMARY KEY,
	id        TEXT NOT NULL UNIQUE,
	timestamp INTEGER NOT NULL,
	body      TEXT NOT NULL
) STRICT;
CREATE INDEX alerts_timestamp ON alerts (timestamp);
`}
}

// migrate brings the schema up to date, all steps or none.
func migrate(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	var version int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	steps := migrations()
	if version > len(steps) {
		return fmt.Errorf("%w: its schema is version %d, this program knows %d", ErrNewer, version, len(steps))
	}
	for i := version; i < len(steps); i++ {
		if _, err := tx.ExecContext(ctx, steps[i]); err != nil {
			return fmt.Errorf("bringing the schema to version %d: %w", i+1, err)
		}
	}
	// A pragma takes no parameters; the number is our own.
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(steps))); err != nil {
		return err
	}
	return tx.Commit()
}
