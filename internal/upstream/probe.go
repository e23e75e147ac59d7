package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// Bounds of a probe, so that a server cannot keep one going or fill memory.
const (
	maxProbePages = 100
	maxProbeTools = 10_000
	maxProbeBytes = 16 << 20 // of all pages together
)

// Revisions named in a probe.
const (
	modernVersion = "2026-07-28"
	legacyVersion = "2025-11-25"
)

// Parameters of the messages of a probe. No capability is claimed: the probe could serve no request of the server.
const (
	probeClient = `{"name":"sallyport","version":"1"}`
	probeMeta   = `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + modernVersion + `",` +
		`"io.modelcontextprotocol/clientInfo":` + probeClient + `,"io.modelcontextprotocol/clientCapabilities":{}}`
	probeInitialize = `{"protocolVersion":"` + legacyVersion + `","capabilities":{},"clientInfo":` + probeClient + `}`
)

// roundTripper is as much of an Upstream as a probe needs.
type roundTripper interface {
	RoundTrip(ctx context.Context, r *Request) (*Response, error)
}

// probe asks the server at u which eras it speaks and for its tools. Each era is asked for a bounded time, so that a
// server that is silent to what it does not know cannot hide the other. The legacy era comes first: its first
// message is one that every server expects to be first, and by the time it is answered the server has started.
func probe(ctx context.Context, u roundTripper, forLegacy, forModern time.Duration) (Facts, error) {
	legacy, legacyErr := probeEra(ctx, u, forLegacy, wire.Legacy)
	modern, modernErr := probeEra(ctx, u, forModern, wire.Modern)
	switch {
	case ctx.Err() != nil:
		return Facts{}, fmt.Errorf("probing: %w", callerLeft(ctx))
	case legacyErr == nil:
		legacy.Modern = modernErr == nil
		return legacy, nil
	case modernErr == nil:
		return modern, nil
	case errors.Is(legacyErr, ErrProtocol) && !errors.Is(modernErr, ErrProtocol):
		return Facts{}, fmt.Errorf("probing: %w", modernErr) // it may come back; a broken one does not
	}
	return Facts{}, fmt.Errorf("probing: initialize: %w; server/discover: %w", legacyErr, modernErr)
}

func probeEra(ctx context.Context, u roundTripper, patience time.Duration, era wire.Era) (Facts, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	p := &prober{u: u, era: era}
	if era == wire.Modern {
		return p.modern(ctx)
	}
	return p.legacy(ctx)
}

// prober is one conversation.
type prober struct {
	u       roundTripper
	era     wire.Era
	session string
	version string // MCP-Protocol-Version to send
	ids     int
	bytes   int // of results so far
}

func (p *prober) modern(ctx context.Context) (Facts, error) {
	p.version = modernVersion
	raw, _, err := p.ask(ctx, "server/discover", "{"+probeMeta+"}")
	if err != nil {
		return Facts{}, err
	}
	var discovered struct {
		SupportedVersions []string                  `json:"supportedVersions"`
		Capabilities      map[string]jsontext.Value `json:"capabilities"`
		Meta              struct {
			ServerInfo serverInfo `json:"io.modelcontextprotocol/serverInfo"`
		} `json:"_meta"`
	}
	if err := json.Unmarshal(raw, &discovered); err != nil {
		return Facts{}, fmt.Errorf("%w: reading its answer to server/discover: %w", ErrProtocol, err)
	}
	if !slices.Contains(discovered.SupportedVersions, modernVersion) {
		return Facts{}, fmt.Errorf("%w: it does not list %s", ErrProtocol, modernVersion)
	}
	f := Facts{Modern: true, Name: discovered.Meta.ServerInfo.Name}
	_, f.HasTools = discovered.Capabilities["tools"]
	if f.HasTools {
		f.Tools, err = p.tools(ctx)
	}
	return f, err
}

func (p *prober) legacy(ctx context.Context) (f Facts, err error) {
	raw, session, err := p.ask(ctx, "initialize", probeInitialize)
	if err != nil {
		return Facts{}, err
	}
	p.session = session
	defer p.leave(ctx)
	var initialized struct {
		ProtocolVersion string                    `json:"protocolVersion"`
		Capabilities    map[string]jsontext.Value `json:"capabilities"`
		ServerInfo      serverInfo                `json:"serverInfo"`
	}
	if err := json.Unmarshal(raw, &initialized); err != nil {
		return Facts{}, fmt.Errorf("%w: reading its answer to initialize: %w", ErrProtocol, err)
	}
	if v := initialized.ProtocolVersion; !slices.Contains([]string{"2024-11-05", "2025-03-26", "2025-06-18", legacyVersion}, v) {
		return Facts{}, fmt.Errorf("%w: it answers initialize with version %q", ErrProtocol, clip(v))
	}
	p.version = initialized.ProtocolVersion
	f = Facts{Legacy: p.version, Name: initialized.ServerInfo.Name}
	if err := p.tell(ctx, "notifications/initialized"); err != nil {
		return Facts{}, err
	}
	if _, f.HasTools = initialized.Capabilities["tools"]; f.HasTools {
		f.Tools, err = p.tools(ctx)
	}
	return f, err
}

type serverInfo struct {
	Name string `json:"name"`
}

// leave ends the legacy session, even when ctx has just ended. A server that keeps it harms only itself.
func (p *prober) leave(ctx context.Context) {
	if p.session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_, _ = p.u.RoundTrip(ctx, &Request{Verb: http.MethodDelete, Era: wire.Legacy, Session: p.session, Version: p.version})
}

// tools lists all pages.
func (p *prober) tools(ctx context.Context) ([]jsontext.Value, error) {
	var all []jsontext.Value
	var cursor *string
	for range maxProbePages {
		raw, _, err := p.ask(ctx, "tools/list", p.page(cursor))
		if err != nil {
			return nil, err
		}
		var page struct {
			Tools      []jsontext.Value `json:"tools"`
			NextCursor *string          `json:"nextCursor"`
		}
		if err := json.Unmarshal(raw, &page); err != nil {
			return nil, fmt.Errorf("%w: reading its answer to tools/list: %w", ErrProtocol, err)
		}
		if all = append(all, page.Tools...); len(all) > maxProbeTools {
			return nil, fmt.Errorf("%w: more than %d tools", ErrTooLarge, maxProbeTools)
		}
		if page.NextCursor == nil {
			return all, nil
		}
		cursor = page.NextCursor
	}
	return nil, fmt.Errorf("%w: more than %d pages of tools", ErrTooLarge, maxProbePages)
}

// page is the params of tools/list.
func (p *prober) page(cursor *string) string {
	params := ""
	if p.era == wire.Modern {
		params = probeMeta
	}
	if cursor != nil {
		quoted, _ := jsontext.AppendQuote(nil, *cursor) // invalid UTF-8 was refused when it was read
		if params != "" {
			params += ","
		}
		params += `"cursor":` + string(quoted)
	}
	return "{" + params + "}"
}

// ask sends a request and returns its result and the session minted by it.
func (p *prober) ask(ctx context.Context, method, params string) (jsontext.Value, string, error) {
	p.ids++
	id := strconv.Itoa(p.ids)
	resp, err := p.u.RoundTrip(ctx, p.request(&wire.Message{
		Kind: wire.Request, ID: jsontext.Value(id), Method: method, Params: jsontext.Value(params),
	}))
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", method, err)
	}
	if resp.Stream == nil {
		result, err := p.result(resp.Body, id)
		return result, resp.Session, err
	}
	defer resp.Stream.Close()
	for {
		e, err := resp.Stream.Next()
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: the stream ended without an answer", ErrProtocol)
		}
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", method, err)
		}
		result, err := p.result(e.Data, id)
		if result != nil || err != nil {
			return result, resp.Session, err
		}
	}
}

// tell sends a notification.
func (p *prober) tell(ctx context.Context, method string) error {
	resp, err := p.u.RoundTrip(ctx, p.request(&wire.Message{Kind: wire.Notification, Method: method}))
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if resp.Stream != nil {
		return resp.Stream.Close()
	}
	return nil
}

func (p *prober) request(m *wire.Message) *Request {
	return &Request{Verb: http.MethodPost, Era: p.era, Message: m, Session: p.session, Version: p.version}
}

// result returns the result of the answer to id; nil for any other message.
func (p *prober) result(data []byte, id string) (jsontext.Value, error) {
	if p.bytes += len(data); p.bytes > maxProbeBytes {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, maxProbeBytes)
	}
	if len(data) == 0 {
		return nil, nil
	}
	var m struct {
		ID     jsontext.Value `json:"id"`
		Method string         `json:"method"`
		Result jsontext.Value `json:"result"`
		Error  *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(data, &m); {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	case m.Method != "":
		return nil, nil
	case m.Error != nil:
		return nil, fmt.Errorf("%w: it said %d %q", ErrProtocol, m.Error.Code, clip(m.Error.Message))
	case string(m.ID) != id:
		return nil, nil
	case m.Result == nil:
		return nil, fmt.Errorf("%w: an answer without a result", ErrProtocol)
	}
	return m.Result, nil
}

// isErrorMessage says whether body is a JSON-RPC error object (JSON-RPC 2.0 §5).
func isErrorMessage(body []byte) bool {
	var m struct {
		Version string         `json:"jsonrpc"`
		Error   jsontext.Value `json:"error"`
	}
	return json.Unmarshal(body, &m) == nil && m.Version == "2.0" && m.Error.Kind() == '{'
}
