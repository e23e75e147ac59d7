package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

var shownKey = regexp.MustCompile(`sp_[0-9A-Za-z_-]{20,}`)

// target is where load goes.
type target struct {
	name  string
	child *child
	url   *url.URL
	key   string // empty for the baseline
	idle  usage  // before any load

	callers []*caller // connected and in a session; kept from round to round
}

// result is what one round against one target came to.
type result struct {
	calls     int
	wrong     int
	elapsed   time.Duration
	latencies []time.Duration // sorted
}

func (r *result) perSecond() float64 { return float64(r.calls) / r.elapsed.Seconds() }

func (r *result) quantile(q float64) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[int(q*float64(len(r.latencies)-1))]
}

// load lets n callers call one after the other, each on a connection and in a session of its own, for a time. An error
// is one that makes a measurement impossible; a wrong answer is counted.
func (t *target) load(ctx context.Context, n, size int, d time.Duration) (*result, error) {
	for len(t.callers) < n {
		c, err := t.connect(ctx, len(t.callers))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
		t.callers = append(t.callers, c)
	}
	total := &result{}
	var mu sync.Mutex // guards total and failed
	var failed error
	var group sync.WaitGroup
	start := time.Now()
	for _, c := range t.callers[:n] {
		group.Go(func() {
			r, err := c.loop(ctx, size, start.Add(d))
			mu.Lock()
			defer mu.Unlock()
			total.calls, total.wrong = total.calls+r.calls, total.wrong+r.wrong
			total.latencies = append(total.latencies, r.latencies...)
			if err != nil {
				failed = fmt.Errorf("%s: %w", t.name, err)
			}
		})
	}
	group.Wait()
	total.elapsed = time.Since(start)
	slices.Sort(total.latencies)
	return total, failed
}

func (t *target) hangUp() {
	for _, c := range t.callers {
		_ = c.conn.Close() // nothing is owed to it
	}
	t.callers = nil
}

// caller is one client on one kept connection. It is used by one goroutine.
type caller struct {
	number int
	conn   net.Conn
	in     *bufio.Reader
	head   []byte // of every request, up to the length
	calls  uint64 // made so far; part of every id
	out    []byte // reused
	want   []byte // reused
	got    bytes.Buffer
}

// connect opens a connection and a session on it.
func (t *target) connect(ctx context.Context, number int) (*caller, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", t.url.Host)
	if err != nil {
		return nil, err
	}
	c := &caller{number: number, conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}
	head := "POST " + t.url.Path + " HTTP/1.1\r\nHost: " + t.url.Host + "\r\nContent-Type: application/json\r\n" +
		"Accept: application/json, text/event-stream\r\nUser-Agent: bench\r\n"
	if t.key != "" {
		head += "Authorization: Bearer " + t.key + "\r\n"
	}
	c.head = []byte(head + "Content-Length: ")
	resp, err := c.exchange([]byte(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}`))
	if err != nil {
		return nil, err
	}
	session := resp.Header.Get("Mcp-Session-Id")
	if resp.StatusCode != http.StatusOK || session == "" {
		return nil, fmt.Errorf("initialize: HTTP %d: %s", resp.StatusCode, c.got.Bytes())
	}
	c.head = []byte(head + "Mcp-Protocol-Version: 2025-11-25\r\nMcp-Session-Id: " + session + "\r\nContent-Length: ")
	resp, err = c.exchange([]byte(`{"jsonrpc":"2.0","method":"notifications/initialized"}`))
	if err == nil && resp.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("notifications/initialized: HTTP %d", resp.StatusCode)
	}
	return c, err
}

// exchange sends a body and reads the answer into got.
func (c *caller) exchange(body []byte) (*http.Response, error) {
	c.out = strconv.AppendInt(append(c.out[:0], c.head...), int64(len(body)), 10)
	c.out = append(append(c.out, "\r\n\r\n"...), body...)
	if err := c.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(c.out); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, err
	}
	c.got.Reset()
	_, err = c.got.ReadFrom(resp.Body)
	_ = resp.Body.Close() // read to its end
	return resp, err
}

// loop calls until the time has come. Every text is another, so that an answer to another call shows.
func (c *caller) loop(ctx context.Context, size int, until time.Time) (r result, err error) {
	text := []byte(strings.Repeat("The quick brown fox jumps over the lazy dog ", size/44+1)[:size])
	var body, id []byte
	for time.Now().Before(until) && ctx.Err() == nil {
		c.calls++
		id = strconv.AppendUint(id[:0], uint64(c.number)*1e9+c.calls, 10)
		copy(text[size-len(id):], id)
		body = append(append(body[:0], `{"jsonrpc":"2.0","id":`...), id...)
		body = append(append(body, `,"method":"tools/call","params":{"name":"echo","arguments":{"text":"`...), text...)
		body = append(body, `"}}}`...)
		start := time.Now()
		resp, err := c.exchange(body)
		if err != nil {
			return r, fmt.Errorf("call %s: %w", id, err)
		}
		r.latencies = append(r.latencies, time.Since(start))
		r.calls++
		if c.want = appendResult(c.want[:0], id, text); resp.StatusCode != http.StatusOK || !bytes.Equal(c.want, c.got.Bytes()) {
			r.wrong++
		}
	}
	return r, nil
}
