package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/token"
)

// CreateKey implements apikey.Store.
func (s *Store) CreateKey(ctx context.Context, r apikey.Record) error {
	lists, err := encodeLists(r.Roles, r.Permissions, r.Networks)
	if err != nil {
		return fmt.Errorf("storing API key %s: %w", r.ID, err)
	}
	_, err = s.write.ExecContext(ctx, `INSERT INTO keys (id, name, hash, roles, permissions, networks, created, expires, revoked, last_used)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, r.ID, r.Name, r.Hash[:], lists[0], lists[1], lists[2],
		nanos(r.Created), nanos(r.Expires), nanos(r.Revoked), nanos(r.LastUsed))
	if err != nil {
		return fmt.Errorf("storing API key %s: %w", r.ID, err)
	}
	return nil
}

// Keys implements apikey.Store. Keys created at the same time are in the order of storing.
func (s *Store) Keys(ctx context.Context) ([]apikey.Record, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT id, name, hash, roles, permissions, networks, created, expires, revoked, last_used
		FROM keys ORDER BY created, seq`)
	if err != nil {
		return nil, fmt.Errorf("reading API keys: %w", err)
	}
	return collect(rows, scanKey)
}

func scanKey(rows *sql.Rows) (r apikey.Record, err error) {
	var hash, roles, permissions, networks []byte
	var created, expires, revoked, used int64
	if err = rows.Scan(&r.ID, &r.Name, &hash, &roles, &permissions, &networks, &created, &expires, &revoked, &used); err != nil {
		return r, err
	}
	if copy(r.Hash[:], hash) != len(r.Hash) {
		return r, fmt.Errorf("API key %s: its hash is damaged", r.ID)
	}
	r.Created, r.Expires, r.Revoked, r.LastUsed = moment(created), moment(expires), moment(revoked), moment(used)
	err = errors.Join(json.Unmarshal(roles, &r.Roles), json.Unmarshal(permissions, &r.Permissions), json.Unmarshal(networks, &r.Networks))
	return r, err
}

// RevokeKey implements apikey.Store.
func (s *Store) RevokeKey(ctx context.Context, id string, at time.Time) (bool, error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("revoking API key %q: %w", id, err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	var revoked int64
	err = tx.QueryRowContext(ctx, "SELECT revoked FROM keys WHERE id = ?", id).Scan(&revoked)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, apikey.ErrNotFound
	case err != nil:
		return false, fmt.Errorf("revoking API key %q: %w", id, err)
	case revoked != 0:
		return false, nil
	}
	if _, err := tx.ExecContext(ctx, "UPDATE keys SET revoked = ? WHERE id = ?", nanos(at), id); err != nil {
		return false, fmt.Errorf("revoking API key %q: %w", id, err)
	}
	if err := tx.Commit(); err != nil {
		return false, fmt.Errorf("revoking API key %q: %w", id, err)
	}
	return true, nil
}

// TouchKey implements apikey.Store.
func (s *Store) TouchKey(ctx context.Context, id string, at time.Time) error {
	_, err := s.write.ExecContext(ctx, "UPDATE keys SET last_used = ?1 WHERE id = ?2 AND last_used < ?1", nanos(at), id)
	if err != nil {
		return fmt.Errorf("storing the last use of API key %s: %w", id, err)
	}
	return nil
}

// RevokeToken implements token.Revocations. Revocations that have ended are removed on the way.
func (s *Store) RevokeToken(ctx context.Context, r token.Revocation) (bool, error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("storing a revocation: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	result, err := tx.ExecContext(ctx, "INSERT INTO revocations (id, subject, at, until) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
		r.ID, r.Subject, nanos(r.At), nanos(r.Until))
	if err != nil {
		return false, fmt.Errorf("storing a revocation: %w", err)
	}
	added, err := result.RowsAffected()
	if err != nil || added == 0 {
		return false, err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM revocations WHERE until <= ? AND id <> ?", nanos(r.At), r.ID); err != nil {
		return false, fmt.Errorf("storing a revocation: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return false, fmt.Errorf("storing a revocation: %w", err)
	}
	return true, nil
}

// RevokedTokens implements token.Revocations; the order is by time of revocation, then by id.
func (s *Store) RevokedTokens(ctx context.Context, now time.Time) ([]token.Revocation, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT id, subject, at, until FROM revocations WHERE until > ? ORDER BY at, id", nanos(now))
	if err != nil {
		return nil, fmt.Errorf("reading revocations: %w", err)
	}
	return collect(rows, func(rows *sql.Rows) (r token.Revocation, err error) {
		var at, until int64
		err = rows.Scan(&r.ID, &r.Subject, &at, &until)
		r.At, r.Until = moment(at), moment(until)
		return r, err
	})
}
