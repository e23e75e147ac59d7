package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/sallyport-mcp/sallyport/internal/secret"
)

// tour makes the scripted calls and tells what came back.
type tour struct {
	out  io.Writer
	base string // origin of the gateway
	keys map[string]secret.Text
}

// act is one scripted call.
type act struct {
	title     string
	who       string // whose key; "" presents a bad one
	tool      string
	arguments string
}

var errUnexpected = fmt.Errorf("the tour did not go as planned")

// walk runs the script. It fails when a layer does not answer as it should.
func (t *tour) walk(ctx context.Context) error {
	for _, step := range []struct {
		act
		status int
		show   string // must be in the answer
	}{
		{act{"An allowed call", "alice", "get_weather", `{"city":"Oslo"}`}, http.StatusOK, "Oslo"},
		{act{"A denied call", "alice", "write_file", `{"path":"/notes.txt","content":"hello"}`}, http.StatusForbidden, "files:write"},
		{act{"A name that does not exist is refused in the same words", "alice", "no_such_tool", `{}`}, http.StatusForbidden, "demo:no_such_tool"},
		{act{"An invalid argument", "alice", "get_weather", `{"city":42}`}, http.StatusBadRequest, "/city"},
	} {
		answer, err := t.call(ctx, step.act)
		if err != nil {
			return err
		}
		t.tell(step.act, answer)
		if answer.status != step.status || !strings.Contains(answer.body, step.show) {
			return fmt.Errorf("%w: %s: wanted %d and %q", errUnexpected, step.title, step.status, step.show)
		}
	}
	if err := t.exhaust(ctx); err != nil {
		return err
	}
	return t.guess(ctx)
}

// exhaust calls as a guest until the role's bucket (50 tokens, one a second) is empty.
func (t *tour) exhaust(ctx context.Context) error {
	a := act{"A rate-limited call", "visitor", "get_weather", `{"city":"Rome"}`}
	for n := 1; n <= 200; n++ {
		answer, err := t.call(ctx, a)
		if err != nil {
			return err
		}
		if answer.status == http.StatusOK {
			continue
		}
		a.title = fmt.Sprintf("%s (after %d allowed ones)", a.title, n-1)
		t.tell(a, answer)
		if answer.status != http.StatusTooManyRequests || answer.retryAfter == "" {
			return fmt.Errorf("%w: wanted 429 and Retry-After", errUnexpected)
		}
		return nil
	}
	return fmt.Errorf("%w: the bucket never ran empty", errUnexpected)
}

// guess presents bad credentials until the rule for failed logins fires.
func (t *tour) guess(ctx context.Context) error {
	a := act{title: "Five bad credentials", tool: "get_weather", arguments: `{"city":"Bern"}`}
	for n := 1; n <= 5; n++ {
		answer, err := t.call(ctx, a)
		if err != nil {
			return err
		}
		if n == 5 {
			t.tell(a, answer)
		}
		if answer.status != http.StatusUnauthorized {
			return fmt.Errorf("%w: wanted 401", errUnexpected)
		}
	}
	return nil
}

// answer is what the gateway said.
type answer struct {
	status     int
	retryAfter string
	body       string
}

// call makes one tools/call in the modern era: one request, no session.
func (t *tour) call(ctx context.Context, a act) (answer, error) {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s,"_meta":{`+
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},`+
		`"io.modelcontextprotocol/clientInfo":{"name":"demo","version":"1"}}}}`, a.tool, a.arguments)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, t.base+"/demo/mcp", strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	key := t.keys[a.who]
	if a.who == "" {
		key = secret.New("guess")
	}
	for name, value := range map[string]string{
		"Authorization": "Bearer " + key.Reveal(), "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": a.tool, "User-Agent": "sallyport-demo",
	} {
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read to its end
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return answer{status: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After"), body: plain(string(b))}, err
}

// plain takes the JSON out of an event stream.
func plain(body string) string {
	for line := range strings.Lines(body) {
		if data, ok := strings.CutPrefix(line, "data: "); ok && strings.TrimSpace(data) != "" {
			body = data
		}
	}
	return strings.TrimSpace(body)
}

func (t *tour) tell(a act, got answer) {
	who := a.who
	if who == "" {
		who = "a stranger"
	}
	_, _ = fmt.Fprintf(t.out, "%s\n  %s calls %s %s\n  HTTP %d", a.title, who, a.tool, a.arguments, got.status) // a lost reader ends the tour elsewhere
	if got.retryAfter != "" {
		_, _ = fmt.Fprintf(t.out, ", Retry-After: %s", got.retryAfter)
	}
	_, _ = fmt.Fprintf(t.out, "\n  %s\n\n", got.body)
}
