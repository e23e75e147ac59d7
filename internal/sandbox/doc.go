// Package sandbox confines the child processes that speak MCP over stdio: what they may open, signal and inherit, and
// whom they run as. The gateway starts itself again; that process reads a [Policy] from its arguments, gives up what
// the policy withholds and becomes the child with [Run]. A child that shares the gateway's user may still use everything
// else that user has: the package protects the gateway from its children, not the user from them.
//
// It is not a container: it makes no namespaces, filters no system calls and leaves the network alone.
//
// The one invariant: what a policy hides is unreachable by the child and everything it starts, on every system where
// [Look] says that nothing is missing; elsewhere Look names what a child can still do.
package sandbox
