// Package apikey makes, checks and revokes API keys. For most uses make a [Service] with [New] and ask [Service.Check].
//
// It does not say what a key may do (package policy) nor how it was presented (package peer). Its invariant: the text of
// a key is known to its holder alone; memory and store have the SHA-256 of it, and a revoked key is refused from the
// moment Revoke returns.
package apikey
