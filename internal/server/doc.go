// Package server is the program: it reads sallyport.yaml, takes the data directory, listens, and stops in order.
//
// For most uses, call [ReadFile] and [Run]. It builds its guard only through the public [sallyport.Open], as any user of
// the library does, and decides nothing about calls.
//
// The one invariant: it either runs as the whole configuration says, or does not run and leaves nothing behind; a
// change of configuration is taken up as a whole or not at all.
package server
