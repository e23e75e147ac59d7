package upstream

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// Header names in canonical form, so that they can be set without being canonicalised each time.
const (
	headerVersion = "Mcp-Protocol-Version"
	headerSession = "Mcp-Session-Id"
	headerMethod  = "Mcp-Method"
	headerName    = "Mcp-Name"
	headerParam   = "Mcp-Param-" // prefix
	headerEvent   = "Last-Event-Id"
)

// maxSession is the longest session id taken from a server, in bytes.
const maxSession = 1 << 10

// request builds the HTTP request for r: the message as emitted from its parse and headers of our own making.
func (u *remote) request(r *Request) (*http.Request, error) {
	req := &http.Request{
		Method: r.Verb, URL: u.url, Host: u.url.Host, Header: make(http.Header, 8+len(u.header)+len(r.Header)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	switch {
	case r.Verb == http.MethodPost && r.Message != nil:
		setBody(req, r.Message)
	case r.Verb == http.MethodGet, r.Verb == http.MethodDelete:
	default:
		return nil, fmt.Errorf("%w: %s without a message cannot be sent", ErrProtocol, r.Verb)
	}
	if err := setHeaders(req.Header, r, u.header); err != nil {
		return nil, err
	}
	return req, nil
}

// setBody gives req the bytes of m. GetBody lets net/http send them once more on another connection, which it does for
// a POST only when nothing was written on the first (net/http.Transport: "no bytes written"); it never repeats a POST
// that may have arrived, because no Idempotency-Key is ever sent.
func setBody(req *http.Request, m *wire.Message) {
	body := m.Append(make([]byte, 0, 256+len(m.Params)+len(m.Result)+len(m.Error)))
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.Body, _ = open()
	req.GetBody = open
	req.ContentLength = int64(len(body))
}

// setHeaders writes first what was let through from the client, then the operator's, then the protocol's, so that each
// overrides the one before.
func setHeaders(h http.Header, r *Request, operator http.Header) error {
	for name, values := range r.Header {
		if name = http.CanonicalHeaderKey(name); passes(name) {
			h[name] = values
		}
	}
	for name, values := range operator {
		h[http.CanonicalHeaderKey(name)] = values
	}
	switch r.Verb {
	case http.MethodPost:
		h["Content-Type"] = []string{"application/json"}
		h["Accept"] = []string{"application/json, text/event-stream"}
	case http.MethodGet:
		h["Accept"] = []string{"text/event-stream"}
	}
	if h["User-Agent"] == nil {
		h["User-Agent"] = []string{"sallyport"}
	}
	if r.Era == wire.Modern && r.Message != nil {
		setModern(h, r.Message)
	}
	return setPlain(h, r)
}

// setPlain sets the headers that take a value of the request as it is. A value that no header can carry is an error,
// not something to be cut.
func setPlain(h http.Header, r *Request) error {
	for _, f := range [...]struct{ name, value string }{
		{headerVersion, r.Version}, {headerSession, r.Session}, {headerEvent, r.LastEventID},
	} {
		if f.value == "" {
			continue
		}
		if !visible(f.value) {
			return fmt.Errorf("%w: a value of %s is not visible ASCII", ErrProtocol, f.name)
		}
		h[f.name] = []string{f.value}
	}
	return nil
}

// setModern sets what MCP 2026-07-28 (basic/transports/streamable-http, standard headers) wants repeated from the body.
func setModern(h http.Header, m *wire.Message) {
	if m.Method == "" {
		return
	}
	h[headerMethod] = []string{wire.EncodeHeader(m.Method)}
	if name, ok := m.MirroredName(); ok {
		h[headerName] = []string{wire.EncodeHeader(name)}
	}
}

// passes says whether a header of the client may reach the upstream. The list is closed: credentials, cookies and
// addresses are not on it, nor is Idempotency-Key, which would let net/http send a call twice.
func passes(canonical string) bool {
	switch canonical {
	case "Traceparent", "Tracestate", "Baggage":
		return true
	}
	return strings.HasPrefix(canonical, headerParam)
}

// checkOperatorHeader refuses configured headers that belong to the protocol or the connection.
func checkOperatorHeader(h http.Header) error {
	for name := range h {
		switch c := http.CanonicalHeaderKey(name); c {
		case "Accept", "Accept-Encoding", "Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding",
			"Connection", "Keep-Alive", "Te", "Trailer", "Upgrade", "Expect", "Host", "Cookie", "Origin",
			"Idempotency-Key", "X-Idempotency-Key", headerEvent:
			return fmt.Errorf("upstream header %s cannot be configured", c)
		default:
			if strings.HasPrefix(c, "Mcp-") {
				return fmt.Errorf("upstream header %s cannot be configured", c)
			}
		}
	}
	return nil
}

// visible says whether s is of visible ASCII only (0x21 to 0x7e), as MCP wants session ids.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// mintedSession reads the session id of an initialize answer; empty when there is none.
func mintedSession(h http.Header) (string, error) {
	values := h[headerSession]
	if len(values) == 0 {
		return "", nil
	}
	if s := values[0]; len(values) == 1 && len(s) > 0 && len(s) <= maxSession && visible(s) {
		return s, nil
	}
	return "", fmt.Errorf("%w: its session id is not 1 to %d visible ASCII characters", ErrProtocol, maxSession)
}
