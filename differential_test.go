package sallyport_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/sallyport-mcp/sallyport"
)

// naive is a server that reads JSON in one of the ways that servers do, executes whatever it finds, and remembers it. It
// speaks both eras.
type naive struct {
	reading string // "first" or "last" duplicate, or "fold" (case-folding, last)

	mu       sync.Mutex
	requests int
	executed []string // tools and resources
	last     []byte   // body of the last request
}

// naiveReadings are the three ways.
var naiveReadings = []string{"first", "last", "fold"}

func (n *naive) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what is missing shows
	id, methods := n.take(body)
	if r.Method == http.MethodDelete || len(methods) == 0 || id == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	c := call{ID: id}
	switch methods[0] {
	case "initialize":
		w.Header().Set("Mcp-Session-Id", "naive-session")
		answerJSON(w, c, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"n","version":"1"}}`)
	case "server/discover":
		answerJSON(w, c, `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}`)
	case "tools/list":
		answerJSON(w, c, twoTools)
	default:
		answerJSON(w, c, `{"resultType":"complete","content":[]}`)
	}
}

// take reads a body and does what it says. It returns the id, in this reader's own rendering, and the methods.
func (n *naive) take(body []byte) (id json.RawMessage, methods []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.requests++
	n.last = bytes.Clone(body)
	for _, m := range n.messages(body) {
		method, _ := m["method"].(string)
		params, _ := m["params"].(map[string]any)
		methods = append(methods, method)
		switch n.name(method) {
		case n.name("tools/call"):
			n.executed = append(n.executed, fmt.Sprint(params["name"]))
		case n.name("resources/read"):
			n.executed = append(n.executed, fmt.Sprint(params["uri"]))
		}
		if v, ok := m["id"]; ok {
			if number, ok := v.(json.Number); ok && n.reading == "last" { // as JavaScript would
				if f, err := number.Float64(); err == nil {
					v = f
				}
			}
			id, _ = json.Marshal(v) // of what was just decoded
		}
	}
	return id, methods
}

// messages takes all the bytes hold: documents one after the other, with or without a byte order mark, and batches.
func (n *naive) messages(body []byte) (all []map[string]any) {
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff"))))
	dec.UseNumber()
	for {
		v, err := n.value(dec)
		if err != nil {
			return all
		}
		if batch, ok := v.([]any); ok {
			for _, one := range batch {
				if m, ok := one.(map[string]any); ok {
					all = append(all, m)
				}
			}
		} else if m, ok := v.(map[string]any); ok {
			all = append(all, m)
		}
	}
}

// value reads one value by tokens, so that duplicates are this reader's to choose from.
func (n *naive) value(dec *json.Decoder) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := n.value(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	case json.Delim('{'):
		object := map[string]any{}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			v, err := n.value(dec)
			if err != nil {
				return nil, err
			}
			name := n.name(fmt.Sprint(key))
			if _, had := object[name]; !had || n.reading != "first" {
				object[name] = v
			}
		}
		_, err = dec.Token()
		return object, err
	}
	return token, nil
}

// name is how this reader compares names: up to a NUL as C does, and in one way without case, marks and separators.
func (n *naive) name(s string) string {
	s, _, _ = strings.Cut(s, "\x00")
	if n.reading != "fold" {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r >= 0xff01 && r <= 0xff5e { // full width
			r -= 0xff01 - '!'
		}
		if r == '_' || r == '-' || unicode.In(r, unicode.Cf) {
			return -1
		}
		return unicode.ToLower(unicode.ToUpper(r))
	}, s)
}

func (n *naive) seen() (requests int, executed []string, last []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.requests, slices.Clone(n.executed), n.last
}

// framed sends one message in one framing and returns status, body and error code.
type framed struct {
	name   string
	client *http.Client
	base   string
	length bool // Content-Length; else the length is not said
	proto  int
}

// framings opens the three ways into one guard: HTTP/1.1 with a length, HTTP/1.1 in chunks, and HTTP/2.
func framings(t *testing.T, r *rig) []framed {
	t.Helper()
	front := httptest.NewUnstartedServer(r.guard.Handler())
	front.EnableHTTP2 = true
	front.StartTLS()
	t.Cleanup(front.Close)
	plain := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	t.Cleanup(plain.CloseIdleConnections)
	return []framed{
		{"content-length", plain, r.base, true, 1},
		{"chunked", plain, r.base, false, 1},
		{"HTTP/2", front.Client(), front.URL, false, 2},
	}
}

func (f framed) send(t *testing.T, key string, h http.Header, body string) (int, []byte) {
	t.Helper()
	var reader io.Reader = strings.NewReader(body)
	if !f.length {
		reader = io.MultiReader(strings.NewReader(body[:len(body)/2]), strings.NewReader(body[len(body)/2:]))
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.base+"/plain/mcp", reader)
	if err != nil {
		t.Fatal(err)
	}
	if f.length != (req.ContentLength > 0) && body != "" {
		t.Fatalf("%s: length %d", f.name, req.ContentLength)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	req.Header.Set("Authorization", "Bearer "+key)
	for name, values := range h {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	resp, err := f.client.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	if resp.ProtoMajor != f.proto {
		t.Fatalf("%s: spoken over HTTP/%d", f.name, resp.ProtoMajor)
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	return resp.StatusCode, answer
}

// answered is what an answer says.
type answered struct {
	ID    json.RawMessage
	Error *struct{ Code int }
}

// newNaive opens a guard in front of a naive server, with limits and the disk out of the way.
func newNaive(t *testing.T, reading string) (*naive, *rig, string) {
	t.Helper()
	n := &naive{reading: reading}
	server := httptest.NewServer(n)
	t.Cleanup(server.Close)
	r := newRig(t, sallyport.Server{URL: server.URL, MaxRequest: maxNaive}, func(c *sallyport.Config) {
		high := sallyport.Limit{Capacity: 1e6, Refill: 1e6}
		c.Limits = sallyport.Limits{Global: high, Address: high, FailedAuth: high, PrincipalTool: high, Tool: high, Roles: map[string]sallyport.Limit{"user": high}}
		c.Audit.Mode = "async"
	})
	session := r.begin(t)
	if status, body, _ := r.send(t, legacy(session, hostileBase)); status != 200 {
		t.Fatalf("an ordinary call: %d %s", status, body)
	}
	if status, body, _ := r.send(t, modern("echo", `{}`)); status != 200 {
		t.Fatalf("an ordinary call of the modern era: %d %s", status, body)
	}
	return n, r, session
}

// TestParserDifferentials sends every hostile message in every framing to a gateway in front of every naive reader.
// Nothing is executed and nothing arrives; status and code are what the table says, in each framing.
func TestParserDifferentials(t *testing.T) {
	table := differentials()
	if len(table) < 150 {
		t.Fatalf("only %d hostile messages", len(table))
	}
	for _, reading := range naiveReadings {
		t.Run(reading, func(t *testing.T) {
			t.Parallel()
			n, r, session := newNaive(t, reading)
			before, _, _ := n.seen()
			for _, f := range framings(t, r) {
				for _, row := range table {
					status, body := f.send(t, r.key, row.headers(session), row.body)
					var a answered
					if err := json.Unmarshal(body, &a); err != nil || a.Error == nil {
						t.Errorf("%s, %s: %d without an error: %.200s", row.name, f.name, status, body)
					} else if status != row.status || a.Error.Code != row.code {
						t.Errorf("%s, %s: %d %d, want %d %d", row.name, f.name, status, a.Error.Code, row.status, row.code)
					}
					if now, executed, last := n.seen(); now != before {
						t.Errorf("%s, %s: reached the server, which has executed %v: %.200s", row.name, f.name, executed, last)
						before = now
					}
				}
			}
			if _, executed, _ := n.seen(); slices.ContainsFunc(executed, func(what string) bool { return what != "echo" }) {
				t.Errorf("executed %v", executed)
			}
		})
	}
	t.Logf("%d hostile messages, each in 3 framings before 3 readers", len(table))
}

// TestNaiveReadersAreNaive shows that the table is dangerous: what each reader would execute if it were asked directly.
func TestNaiveReadersAreNaive(t *testing.T) {
	for _, reading := range naiveReadings {
		fooled := 0
		for _, row := range differentials() {
			n := &naive{reading: reading}
			n.take([]byte(row.body))
			if slices.ContainsFunc(n.executed, func(what string) bool { return what == "classified" || what == "file:///classified" }) {
				fooled++
			}
		}
		if fooled < 40 {
			t.Errorf("only %d messages would have a reader of kind %q execute what is forbidden", fooled, reading)
		}
		t.Logf("%s: %d messages would execute what is forbidden", reading, fooled)
	}
}

// TestOddMessagesArriveAsTheyAre: what is odd but well-formed reaches the server with its id and params byte for byte,
// and the answer comes back with the id byte for byte, however the server writes it.
func TestOddMessagesArriveAsTheyAre(t *testing.T) {
	for _, reading := range naiveReadings {
		t.Run(reading, func(t *testing.T) {
			t.Parallel()
			n, r, session := newNaive(t, reading)
			for _, f := range framings(t, r) {
				for _, row := range oddities() {
					status, body := f.send(t, r.key, row.headers(session), row.body)
					var sent, got, answer struct{ ID, Params, Result json.RawMessage }
					if err := json.Unmarshal(body, &answer); err != nil || status != 200 || answer.Result == nil {
						t.Errorf("%s, %s: %d %.300s", row.name, f.name, status, body)
						continue
					}
					_, _, last := n.seen()
					if err := errors.Join(json.Unmarshal([]byte(row.body), &sent), json.Unmarshal(last, &got)); err != nil {
						t.Fatalf("%s: %v", row.name, err)
					}
					if !bytes.Equal(sent.ID, got.ID) || !bytes.Equal(sent.Params, got.Params) {
						t.Errorf("%s, %s: sent %s %s\nbut the server got %s %s", row.name, f.name, sent.ID, sent.Params, got.ID, got.Params)
					}
					if !bytes.Equal(sent.ID, answer.ID) {
						t.Errorf("%s, %s: asked with id %s, answered with %s", row.name, f.name, sent.ID, answer.ID)
					}
				}
			}
		})
	}
}
