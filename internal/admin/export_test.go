package admin

// Handler and SocketPath are for tests: no test can connect as another user.
var (
	Handler    = handler
	SocketPath = socketPath
)
