// Package house holds the tests that keep the repository in order: which package may import which, what the import
// graph of a library user may contain, how large a file may grow, which words may not appear, and that the documents
// name tests that exist and show code that compiles.
//
// It has no code of its own and nothing imports it. Its invariant is that every rule is checked against the tree as it
// is, so that a new package or a new file is held to the rules without being added to a list.
package house
