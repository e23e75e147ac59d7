package upstream_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/wire"
	"github.com/sallyport-mcp/sallyport/policy"
)

func TestNewRemoteRefuses(t *testing.T) {
	for _, c := range []upstream.RemoteConfig{
		{},
		{URL: "ftp://example.com/mcp"},
		{URL: "http:///mcp"},
		{URL: "http://user:pass@example.com/mcp"},
		{URL: "http://example.com/mcp#x"},
		{URL: "http://example.com/%zz"},
		{URL: "http://example.com", Header: http.Header{"Mcp-Session-Id": {"x"}}},
		{URL: "http://example.com", Header: http.Header{"idempotency-key": {"x"}}},
		{URL: "http://example.com", Header: http.Header{"Host": {"x"}}},
	} {
		if _, err := upstream.NewRemote(c); err == nil {
			t.Errorf("%+v was taken", c)
		} else if strings.Contains(err.Error(), "pass") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

// echoCall is a modern tools/call of echo.
func echoCall() *upstream.Request {
	return &upstream.Request{
		Verb: http.MethodPost, Era: wire.Modern, Version: "2026-07-28",
		Message: &wire.Message{
			Kind: wire.Request, ID: jsontext.Value(`1`), Method: "tools/call",
			Params: jsontext.Value(`{"name":"echo","arguments":{"a":1}}`),
			Target: policy.Named{Kind: policy.Tool, Name: "echo"},
		},
	}
}

// answering runs a server that gives one answer to everything.
func answering(t *testing.T, h http.HandlerFunc) upstream.Upstream {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	u := open(t, upstream.RemoteConfig{URL: s.URL})
	t.Cleanup(func() { _ = u.Close(context.Background()) })
	return u
}

func TestWhatIsSent(t *testing.T) {
	var got http.Header
	var length int64
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, length = r.Header.Clone(), r.ContentLength
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer s.Close()
	u := open(t, upstream.RemoteConfig{URL: s.URL, Header: http.Header{"authorization": {"Bearer operator"}, "Traceparent": {"operator"}}})
	defer u.Close(context.Background())
	r := echoCall()
	r.Message.Kind, r.Message.ID = wire.Notification, nil // so that 202 is in order
	r.Message.Target.Name = "naïve"
	r.Session = "abc"
	r.Header = http.Header{
		"Mcp-Param-City": {"Rome"}, "Traceparent": {"client"}, "Authorization": {"Bearer client"}, "Cookie": {"a=b"},
		"Idempotency-Key": {"1"}, "X-Idempotency-Key": {"1"}, "X-Forwarded-For": {"9.9.9.9"}, "Mcp-Method": {"lie"},
		"Content-Type": {"text/plain"}, "Transfer-Encoding": {"chunked"},
	}
	if _, err := u.RoundTrip(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	want := http.Header{
		"Accept": {"application/json, text/event-stream"}, "Content-Type": {"application/json"},
		"Authorization": {"Bearer operator"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"=?base64?bmHDr3Zl?="},
		"Mcp-Param-City": {"Rome"}, "Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Session-Id": {"abc"},
		"Traceparent": {"operator"}, "User-Agent": {"sallyport"}, "Content-Length": {fmt.Sprint(len(body))},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if want := string(r.Message.Append(nil)); string(body) != want || length != int64(len(want)) {
		t.Errorf("sent %q with length %d, want %q", body, length, want)
	}
}

// TestWhatCannotBeSent: a value that would break out of a header is refused, not sent.
func TestWhatCannotBeSent(t *testing.T) {
	var calls atomic.Int32
	u := answering(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) })
	for _, change := range []func(*upstream.Request){
		func(r *upstream.Request) { r.Session = "a\r\nX: y" },
		func(r *upstream.Request) { r.Version = "2026 07" },
		func(r *upstream.Request) { r.LastEventID = "é" },
		func(r *upstream.Request) { r.Message = nil },
		func(r *upstream.Request) { r.Verb = http.MethodPut },
	} {
		r := echoCall()
		change(r)
		if _, err := u.RoundTrip(context.Background(), r); !errors.Is(err, upstream.ErrProtocol) {
			t.Errorf("%+v: %v, want ErrProtocol", r, err)
		}
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("%d of them were sent", n)
	}
}

const rpcError = `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}`

func TestAnswers(t *testing.T) {
	long := strings.Repeat("x", 2<<20)
	for _, row := range []struct {
		name    string
		session string
		status  int
		kind    string
		body    string
		err     error
		want    string
	}{
		{"result", "", 200, "application/json", `{"jsonrpc":"2.0","id":1,"result":{}}`, nil, `{"jsonrpc":"2.0","id":1,"result":{}}`},
		{"charset", "", 200, "Application/JSON; charset=utf-8", `{}`, nil, `{}`},
		{"400 with an error", "", 400, "application/json", rpcError, nil, rpcError},
		{"404 with an error", "", 404, "application/json", rpcError, nil, rpcError},
		{"403 with an error", "", 403, "application/json", rpcError, nil, rpcError},
		{"404 of a session", "s", 404, "application/json", rpcError, upstream.ErrSessionGone, ""},
		{"404 without", "", 404, "text/plain", "not found", upstream.ErrProtocol, ""},
		{"400 without", "", 400, "application/json", `{"error":"bad"}`, upstream.ErrProtocol, ""},
		{"401", "", 401, "text/plain", "", upstream.ErrProtocol, ""},
		{"401 with an error", "", 401, "application/json", rpcError, upstream.ErrProtocol, ""},
		{"403", "", 403, "text/html", "<html>", upstream.ErrProtocol, ""},
		{"407", "", 407, "application/json", rpcError, upstream.ErrProtocol, ""},
		{"redirect", "", 307, "", "", upstream.ErrProtocol, ""},
		{"500", "", 500, "application/json", rpcError, upstream.ErrUnavailable, ""},
		{"503", "", 503, "", "", upstream.ErrUnavailable, ""},
		{"429", "", 429, "application/json", rpcError, upstream.ErrUnavailable, ""},
		{"html", "", 200, "text/html", "<html>", upstream.ErrProtocol, ""},
		{"no type", "", 200, "", "{}", upstream.ErrProtocol, ""},
		{"empty", "", 200, "application/json", "", upstream.ErrProtocol, ""},
		{"202 to a request", "", 202, "", "", upstream.ErrProtocol, ""},
		{"204 to a request", "", 204, "", "", upstream.ErrProtocol, ""},
		{"long", "", 200, "application/json", long, upstream.ErrTooLarge, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			u := answering(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Content-Type"] = []string{row.kind}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(row.status)
				_, _ = io.WriteString(w, row.body)
			})
			r := echoCall()
			r.Session = row.session
			resp, err := u.RoundTrip(context.Background(), r)
			if !errors.Is(err, row.err) {
				t.Fatalf("got %v, want %v", err, row.err)
			}
			if err == nil && (string(resp.Body) != row.want || resp.Status != row.status || resp.Stream != nil) {
				t.Errorf("got %d %s", resp.Status, resp.Body)
			}
		})
	}
}

// rawServer answers each connection with exactly these bytes once the request head has come, and then closes it.
func rawServer(t *testing.T, answer string) upstream.Upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			_, _ = io.WriteString(c, answer)
			_ = c.Close()
		}
	}()
	u := open(t, upstream.RemoteConfig{URL: "http://" + l.Addr().String()})
	t.Cleanup(func() { _ = u.Close(context.Background()) })
	return u
}

func TestBrokenAnswers(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: "
	for _, row := range []struct {
		name, answer string
		err          error
	}{
		{"nothing", "", upstream.ErrUnavailable},
		{"not HTTP", "SSH-2.0-x\r\n\r\n", upstream.ErrProtocol},
		{"cut JSON", head + "application/json\r\nContent-Length: 50\r\n\r\n{\"jsonrpc\":", upstream.ErrProtocol},
		{"cut chunk", head + "application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"js", upstream.ErrProtocol},
		{"claimed too large", head + "application/json\r\nContent-Length: 99999999999\r\n\r\n{", upstream.ErrTooLarge},
		{"cut stream", head + "text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: {}\n", upstream.ErrProtocol},
		{"endless event", head + "text/event-stream\r\n\r\ndata: " + strings.Repeat("x", 1<<20), upstream.ErrTooLarge},
		{"two session ids", head + "application/json\r\nMcp-Session-Id: a\r\nMcp-Session-Id: b\r\nContent-Length: 2\r\n\r\n{}", upstream.ErrProtocol},
		{"odd session id", head + "application/json\r\nMcp-Session-Id: a b\r\nContent-Length: 2\r\n\r\n{}", upstream.ErrProtocol},
		{"long session id", head + "application/json\r\nMcp-Session-Id: " + strings.Repeat("a", 1025) + "\r\nContent-Length: 2\r\n\r\n{}", upstream.ErrProtocol},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := echoCall()
			r.Message.Method = "initialize"
			resp, err := rawServer(t, row.answer).RoundTrip(context.Background(), r)
			if err == nil && resp.Stream != nil {
				_, err = resp.Stream.Next()
				_ = resp.Stream.Close()
			}
			if !errors.Is(err, row.err) {
				t.Errorf("got %+v, %v, want %v", resp, err, row.err)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	u := open(t, upstream.RemoteConfig{URL: "http://" + l.Addr().String()})
	defer u.Close(context.Background())
	if _, err := u.RoundTrip(context.Background(), echoCall()); !errors.Is(err, upstream.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if _, err := u.Probe(context.Background()); !errors.Is(err, upstream.ErrUnavailable) {
		t.Errorf("probing: %v, want ErrUnavailable", err)
	}
}

// TestNeverTwice: a server that takes the call and drops the reused connection must not be asked again.
func TestNeverTwice(t *testing.T) {
	var calls atomic.Int32
	u := answering(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if calls.Add(1) == 1 {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "{}")
			return
		}
		panic(http.ErrAbortHandler)
	})
	if _, err := u.RoundTrip(context.Background(), echoCall()); err != nil {
		t.Fatal(err)
	}
	if _, err := u.RoundTrip(context.Background(), echoCall()); !errors.Is(err, upstream.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("the server was called %d times, want 2", n)
	}
}

// TestSlowStream: the wait between events is bounded, and a slow reader of ours is not the server's fault.
func TestSlowStream(t *testing.T) {
	u := answering(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {}\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	resp, err := u.RoundTrip(context.Background(), echoCall())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Stream.Close()
	time.Sleep(time.Second) // longer than the timeout: real sockets know no other clock
	if _, err := resp.Stream.Next(); err != nil {
		t.Fatalf("the reader was slow: %v", err)
	}
	if _, err := resp.Stream.Next(); !errors.Is(err, upstream.ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
}

// TestSequentialStreams is the regression test for golang/go#40747: no answer lost or cut over keep-alive connections.
func TestSequentialStreams(t *testing.T) {
	calls := 9000
	if testing.Short() {
		calls = 900
	}
	padding := strings.Repeat("p", 64<<10)
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "data: {\"event\":%d,\"read\":%d}\n\n", i, n)
			w.(http.Flusher).Flush()
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	u := open(t, upstream.RemoteConfig{URL: s.URL})
	defer u.Close(context.Background())
	for i := range calls {
		r := echoCall()
		if i%20 == 0 {
			r.Message.Params = jsontext.Value(`{"name":"echo","arguments":{"p":"` + padding + `"}}`)
		}
		resp, err := u.RoundTrip(context.Background(), r)
		if err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		for k := range 3 {
			e, err := resp.Stream.Next()
			if want := fmt.Sprintf(`{"event":%d,"read":%d}`, k, len(r.Message.Append(nil))); err != nil || string(e.Data) != want {
				t.Fatalf("call %d event %d: %s, %v", i, k, e.Data, err)
			}
		}
		if _, err := resp.Stream.Next(); !errors.Is(err, io.EOF) {
			t.Fatalf("call %d: %v, want io.EOF", i, err)
		}
	}
	if n := connections.Load(); n > 8 {
		t.Errorf("%d connections for sequential calls", n)
	}
}
