package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/guard"
	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// speaks checks that the upstream speaks the era of the request. Nothing is translated: a client that tries the other
// era first is told which revisions there are, and falls back (MCP 2026-07-28, versioning).
func (x *exchange) speaks(ctx context.Context) error {
	f, err := x.gateway.defs.facts(ctx, x.endpoint)
	if err != nil {
		return err
	}
	if x.era == wire.Legacy && (f.Legacy != "" || x.message == nil || x.message.Method != "initialize") {
		return nil
	}
	version := ""
	if x.message != nil {
		version = x.message.Version
	}
	if version == "" { // a notification says it in the header alone
		version = x.r.Header.Get("Mcp-Protocol-Version")
	}
	if x.era == wire.Modern && f.Modern && slices.Contains(wire.ModernVersions(), version) {
		return nil
	}
	var supported []string
	if f.Modern {
		supported = append(supported, wire.ModernVersions()...)
	}
	for _, v := range wire.LegacyVersions() {
		if v <= f.Legacy {
			supported = append(supported, v)
		}
	}
	e := refused(http.StatusBadRequest, wire.CodeUnsupportedVersion, "unsupported protocol version")
	e.data = encode(map[string]any{"supported": supported, "requested": version})
	return e
}

// checkMirrors compares the arguments that a tool wants mirrored in headers with the headers (MCP 2026-07-28, custom
// headers): whoever is between us and the server may go by them.
func (x *exchange) checkMirrors() error {
	if x.era == wire.Legacy || x.message.Kind != wire.Request {
		return nil
	}
	return wire.CheckMirrors(x.r.Header, x.message, x.endpoint.facts.mirrors(x.message.Target))
}

// finish records how the granted request ended.
func (x *exchange) finish(ctx context.Context, err error) {
	result := guard.Result{Outcome: audit.Allowed, Status: x.status, BytesOut: x.bytes}
	if err != nil {
		result.Outcome, result.Reason = audit.Failed, err.Error()
		if x.status == 0 {
			result.Status = describe(err).status
		}
	}
	if errors.Is(context.Cause(ctx), errRevoked) {
		x.grant.Note(audit.StreamEnded, errRevoked.Error())
	}
	x.grant.Finish(result)
}
