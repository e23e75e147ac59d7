package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"sync"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/cli"
)

// upstreamHandler is an MCP server with one tool, echo, without an SDK. It takes only what this program sends, and so
// may look for bytes instead of parsing: it is there to cost little.
func upstreamHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "body", http.StatusBadRequest)
			return
		}
		id := between(body, `"id":`, ",")
		result := "{}"
		switch method := string(between(body, `"method":"`, `"`)); method {
		case "initialize":
			w.Header().Set("Mcp-Session-Id", "bench-session")
			result = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}`
		case "tools/list":
			result = `{"tools":[{"name":"echo","inputSchema":{"type":"object","properties":{"text":{"type":"string"}},"required":["text"]}}]}`
		case "tools/call":
			answer(w, id, between(body, `"arguments":{"text":"`, `"`))
			return
		case "server/discover":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, id)
			return
		}
		if id == nil {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result)
	})
}

// answer writes the result of the tool.
func answer(w http.ResponseWriter, id, text []byte) {
	out := appendResult(make([]byte, 0, len(text)+128), id, text)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	_, _ = w.Write(out) // the client counts what it misses
}

// appendResult appends the whole answer to a call of echo.
func appendResult(dst, id, text []byte) []byte {
	dst = append(append(dst, `{"jsonrpc":"2.0","id":`...), id...)
	dst = append(append(dst, `,"result":{"content":[{"type":"text","text":"`...), text...)
	return append(dst, `"}]}}`...)
}

// between returns what stands between two marks; nil when it is not there.
func between(b []byte, before, after string) []byte {
	_, rest, ok := bytes.Cut(b, []byte(before))
	found, _, ok2 := bytes.Cut(rest, []byte(after))
	if !ok || !ok2 {
		return nil
	}
	return found
}

// buffers is a pool for httputil.ReverseProxy: the baseline is given every chance.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

// baseline is the reverse proxy of the standard library with nothing in it. It reads each request whole before it sends
// it on, as the gateway does, since one that does not is known to lose answers (golang/go#40747).
func baseline(upstream string) error {
	target, err := url.Parse(upstream)
	if err != nil {
		return fmt.Errorf("reading the address of the upstream: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host },
		Transport:  &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true},
		BufferPool: &buffers{},
	}
	return serveChild(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "body", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
}

// gateway is the program itself, as its command line runs it, with a configuration file.
func gateway(ctx context.Context, o options) error {
	if o.profile != "" {
		out, err := os.Create(o.profile)
		if err != nil {
			return fmt.Errorf("making the profile: %w", err)
		}
		defer out.Close() //nolint:errcheck // a profile that is cut short shows
		if err := pprof.StartCPUProfile(out); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() {
		done <- cli.Run(ctx, []string{"serve", "--config", o.config}, os.Environ(), nil, io.Discard, io.Discard)
	}()
	err := answerUsage(o.config)
	stop()
	return errors.Join(err, <-done)
}

// configuration is a gateway's file and where the gateway then listens.
type configuration struct {
	file  string
	url   string // of the endpoint
	admin string // of the admin listener
}

// configure writes the configuration of a gateway with every layer on. Limits are drawn from, and high.
func configure(dir, mode, upstream string) (c configuration, err error) {
	listen, err1 := freeAddress()
	admin, err2 := freeAddress()
	if err := errors.Join(err1, err2); err != nil {
		return c, err
	}
	const high = "{capacity: 1000000, refill: 1000000}"
	text := fmt.Sprintf(`listen: %q
admin: {listen: %q}
data_dir: %q
servers:
  - {name: bench, url: %q}
permissions:
  - {server: bench, tool: "echo", require: "bench:say"}
roles:
  user: {permissions: ["bench:*"]}
limits: {global: %[5]s, address: %[5]s, failed_auth: %[5]s, principal_tool: %[5]s, tool: %[5]s, roles: {user: %[5]s}}
audit: {mode: %[6]s}
`, listen, admin, filepath.Join(dir, mode), upstream, high, mode)
	c = configuration{file: filepath.Join(dir, mode+".yaml"), url: "http://" + listen + "/bench/mcp", admin: "http://" + admin}
	if err := os.WriteFile(c.file, []byte(text), 0o600); err != nil {
		return c, fmt.Errorf("writing the configuration: %w", err)
	}
	return c, nil
}

// newKey makes an API key at the running gateway.
func (c configuration) newKey(ctx context.Context) (string, error) {
	var out bytes.Buffer
	args := []string{"key", "create", "--role", "user", "--name", "bench", "--config", c.file}
	if err := cli.Run(ctx, args, os.Environ(), nil, &out, os.Stderr); err != nil {
		return "", fmt.Errorf("making a key: %w", err)
	}
	key := shownKey.FindString(out.String())
	if key == "" {
		return "", fmt.Errorf("no key in %q", out.String())
	}
	return key, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// waitReady asks the admin listener until the gateway is ready.
func waitReady(ctx context.Context, admin string) error {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(admin + "/readyz")
		if err != nil {
			continue
		}
		_ = resp.Body.Close() // only the status counts
		if resp.StatusCode == http.StatusOK {
			return nil
		}
	}
	return errors.New("the gateway did not get ready")
}
