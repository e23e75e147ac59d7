package apikey

import "errors"

// What Check says of a key it does not accept. The last three are said only of a key whose secret was right.
var (
	ErrMalformed = errors.New("not of the form of an API key")
	ErrUnknown   = errors.New("no API key with this id and secret")
	ErrRevoked   = errors.New("the API key is revoked")
	ErrExpired   = errors.New("the API key has expired")
	ErrNetwork   = errors.New("the API key may not be used from this address")
)
