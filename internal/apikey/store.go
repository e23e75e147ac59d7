package apikey

import (
	"context"
	"errors"
	"time"
)

// ErrNotFound is returned for a key id that is not stored.
var ErrNotFound = errors.New("no such API key")

// Record is a stored key: everything but the secret, of which only a hash is kept.
type Record struct {
	ID          string    `json:"id"` // public part, shown in lists and audit records
	Name        string    `json:"name"`
	Hash        [32]byte  `json:"-"` // SHA-256 of the whole key text
	Roles       []string  `json:"roles"`
	Permissions []string  `json:"permissions,omitempty"` // narrows the roles; nil narrows nothing
	Networks    []string  `json:"networks,omitempty"`    // CIDR; nil allows any address
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires"` // zero means never
	Revoked     time.Time `json:"revoked,omitzero"`
	LastUsed    time.Time `json:"last_used,omitzero"`
}

// Store keeps records. Implementations are safe for concurrent use; each method is one atomic operation.
type Store interface {
	// CreateKey stores a new record; an id that exists is an error.
	CreateKey(ctx context.Context, r Record) error
	// Keys returns every record, oldest first.
	Keys(ctx context.Context) ([]Record, error)
	// RevokeKey marks a key as revoked and reports whether this call did it: false for one revoked before.
	// An unknown id is ErrNotFound.
	RevokeKey(ctx context.Context, id string, at time.Time) (bool, error)
	// TouchKey records the last use. An unknown id is no error.
	TouchKey(ctx context.Context, id string, at time.Time) error
}
