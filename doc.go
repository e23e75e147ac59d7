// Package sallyport guards Model Context Protocol servers: it authenticates, authorizes, limits, validates and records
// every call before the server sees it.
//
// For most uses, [Open] a [Guard] with the servers to protect and serve [Guard.Handler]:
//
//	guard, err := sallyport.Open(ctx, sallyport.Config{
//		DataDir: "data",
//		Servers: []sallyport.Server{{Name: "files", Path: "/mcp", Handler: mcpHandler}},
//	})
//
// The gateway program is built on this package: the library over HTTP is the gateway with a server in the same process.
// Nothing here listens, reads a configuration file or needs a database; store/sqlite keeps keys and roles on disk.
//
// The one invariant: a handler of a guarded server runs only for a call that was allowed and whose record is kept.
package sallyport
