// Package accept holds the acceptance tests: they run the built program as its users do, in front of real MCP servers,
// with real MCP clients and the published conformance suite.
//
// Each TestAccept… is one line of a finished piece of work; scripts/accept.sh runs them by name with full counts. What
// can be tested inside one process is tested in the package it belongs to, not here. The package has no code of its own
// and nothing imports it. Its invariant is that whatever a test starts listens on loopback only and has ended when the
// test has.
//
// Two variables of the environment change how the tests run: SALLYPORT_TEST_FULL=1 makes a test fail, not skip, when
// Node or a program for it is missing, and SALLYPORT_TEST_COUNTS=full runs the full counts instead of a tenth.
package accept
