package token

import (
	"context"
	"time"
)

// Revocation takes one token back. It is kept until the token would have expired.
type Revocation struct {
	ID      string    `json:"id"` // the token's jti
	Subject string    `json:"subject,omitempty"`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until"`
}

// Revocations is the list of tokens taken back before their time. Implementations are safe for concurrent use.
type Revocations interface {
	// RevokeToken adds a revocation and reports whether it is new.
	RevokeToken(ctx context.Context, r Revocation) (bool, error)
	// RevokedTokens returns every revocation with Until after now.
	RevokedTokens(ctx context.Context, now time.Time) ([]Revocation, error)
}
