package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/detect"
	"github.com/sallyport-mcp/sallyport/policy"
)

// StoredRoles implements policy.RoleStore.
func (s *Store) StoredRoles(ctx context.Context) ([]policy.Role, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT name, permissions, inherits FROM roles ORDER BY name")
	if err != nil {
		return nil, fmt.Errorf("reading roles: %w", err)
	}
	return collect(rows, func(rows *sql.Rows) (r policy.Role, err error) {
		var permissions, inherits []byte
		if err = rows.Scan(&r.Name, &permissions, &inherits); err != nil {
			return r, err
		}
		return r, errors.Join(json.Unmarshal(permissions, &r.Permissions), json.Unmarshal(inherits, &r.Inherits))
	})
}

// PutRole implements policy.RoleStore.
func (s *Store) PutRole(ctx context.Context, r policy.Role) error {
	lists, err := encodeLists(r.Permissions, r.Inherits)
	if err != nil {
		return fmt.Errorf("storing role %q: %w", r.Name, err)
	}
	_, err = s.write.ExecContext(ctx, `INSERT INTO roles (name, permissions, inherits) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET permissions = excluded.permissions, inherits = excluded.inherits`, r.Name, lists[0], lists[1])
	if err != nil {
		return fmt.Errorf("storing role %q: %w", r.Name, err)
	}
	return nil
}

// DeleteRole implements policy.RoleStore.
func (s *Store) DeleteRole(ctx context.Context, name string) (bool, error) {
	n, err := s.delete(ctx, "DELETE FROM roles WHERE name = ?", name)
	if err != nil {
		return false, fmt.Errorf("deleting role %q: %w", name, err)
	}
	return n > 0, nil
}

// PutAlert implements detect.Alerts.
func (s *Store) PutAlert(ctx context.Context, a detect.Alert) error {
	body, err := json.Marshal(a, jsontext.AllowInvalidUTF8(true)) // its text is an attacker's; no alert is lost over that
	if err != nil {
		return fmt.Errorf("storing alert %s: %w", a.ID, err)
	}
	if _, err := s.write.ExecContext(ctx, "INSERT INTO alerts (id, timestamp, body) VALUES (?, ?, ?)", a.ID, nanos(a.Timestamp), string(body)); err != nil {
		return fmt.Errorf("storing alert %s: %w", a.ID, err)
	}
	return nil
}

// AlertsBetween implements detect.Alerts. Of alerts at the same time the one stored last comes first.
func (s *Store) AlertsBetween(ctx context.Context, from, to time.Time) ([]detect.Alert, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT body FROM alerts WHERE timestamp >= ? AND timestamp < ? ORDER BY timestamp DESC, seq DESC",
		nanos(from), nanos(to))
	if err != nil {
		return nil, fmt.Errorf("reading alerts: %w", err)
	}
	return collect(rows, func(rows *sql.Rows) (a detect.Alert, err error) {
		var body []byte
		if err = rows.Scan(&body); err != nil {
			return a, err
		}
		return a, json.Unmarshal(body, &a)
	})
}

// DeleteAlertsBefore implements detect.Alerts.
func (s *Store) DeleteAlertsBefore(ctx context.Context, t time.Time) (int, error) {
	n, err := s.delete(ctx, "DELETE FROM alerts WHERE timestamp < ?", nanos(t))
	if err != nil {
		return 0, fmt.Errorf("deleting alerts: %w", err)
	}
	return n, nil
}

// delete runs a statement and returns how many rows went.
func (s *Store) delete(ctx context.Context, statement string, argument any) (int, error) {
	result, err := s.write.ExecContext(ctx, statement, argument)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// collect reads all rows and closes them. Without rows the result is empty, not nil.
func collect[T any](rows *sql.Rows, scan func(*sql.Rows) (T, error)) ([]T, error) {
	defer rows.Close()
	out := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("reading a row: %w", err)
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// encodeLists writes lists as JSON, nil as null: for a key, no list and an empty one are opposites.
func encodeLists(lists ...[]string) ([]string, error) {
	out := make([]string, 0, len(lists))
	for _, list := range lists {
		b, err := json.Marshal(list, json.FormatNilSliceAsNull(true))
		if err != nil {
			return nil, err
		}
		out = append(out, string(b))
	}
	return out, nil
}

// nanos returns a time as it is stored. Times outside of the years 1678 to 2262 become the nearest that can be.
func nanos(t time.Time) int64 {
	const last = 1<<63 - 1
	switch {
	case t.IsZero():
		return 0
	case t.Before(time.Unix(0, -last)):
		return -last
	case t.After(time.Unix(0, last)):
		return last
	}
	return t.UnixNano()
}

// moment is the inverse of nanos, in UTC.
func moment(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
