package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/detect"
	"github.com/sallyport-mcp/sallyport/internal/report"
	"github.com/sallyport-mcp/sallyport/policy"
)

// ErrNoGateway means that no gateway runs on a data directory.
var ErrNoGateway = errors.New("no gateway runs on this data directory")

// Client calls verbs, over the socket or in this process. It is safe for concurrent use.
type Client struct {
	call func(ctx context.Context, verb string, in jsontext.Value) (jsontext.Value, error)
}

// Within returns a client of operations in this process.
func Within(o *Operations, who Actor) *Client {
	return &Client{call: func(ctx context.Context, verb string, in jsontext.Value) (jsontext.Value, error) {
		return perform(ctx, o, who, verb, in)
	}}
}

// Dial returns a client of the gateway that runs on a data directory. The error wraps ErrNoGateway when none does.
func Dial(ctx context.Context, dataDir string) (*Client, error) {
	path := socketPath(dataDir)
	token, err := os.ReadFile(tokenPath(dataDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNoGateway, dataDir)
	} else if err != nil {
		return nil, fmt.Errorf("reading the admin token: %w", err)
	}
	connection, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: %s", ErrNoGateway, dataDir)
	} else if err != nil {
		return nil, fmt.Errorf("reaching the admin socket: %w", err)
	}
	_ = connection.Close() // only to see that somebody listens
	c := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // a command makes one call
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	bearer := "Bearer " + strings.TrimSpace(string(token))
	return &Client{call: func(ctx context.Context, verb string, in jsontext.Value) (jsontext.Value, error) {
		return post(ctx, c, bearer, verb, in)
	}}, nil
}

// maxAnswer bounds what a verb may answer, in bytes.
const maxAnswer = 64 << 20

func post(ctx context.Context, c *http.Client, bearer, verb string, in jsontext.Value) (jsontext.Value, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://admin/v1/"+verb, bytes.NewReader(in))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", bearer)
	request.Header.Set("Content-Type", "application/json")
	response, err := c.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the gateway: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // read to its end or given up
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the gateway's answer: %w", err)
	}
	if response.StatusCode == http.StatusOK {
		return body, nil
	}
	var e Error
	if err := json.Unmarshal(body, &e); err != nil || e.Message == "" {
		return nil, fmt.Errorf("the gateway answered %s", response.Status)
	}
	return nil, &e
}

// ask calls a verb with typed input and output.
func ask[Out any](ctx context.Context, c *Client, verb string, in any) (out Out, err error) {
	input, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	answer, err := c.call(ctx, verb, input)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return out, fmt.Errorf("reading the answer of %s: %w", verb, err)
	}
	return out, nil
}

// CreateKey makes an API key.
func (c *Client) CreateKey(ctx context.Context, in KeySpec) (NewKey, error) {
	return ask[NewKey](ctx, c, "keys.create", in)
}

// Keys lists all API keys, oldest first.
func (c *Client) Keys(ctx context.Context) ([]apikey.Record, error) {
	return ask[[]apikey.Record](ctx, c, "keys.list", struct{}{})
}

// RevokeKey takes a key back and reports whether it was valid before.
func (c *Client) RevokeKey(ctx context.Context, id string) (bool, error) {
	out, err := ask[Changed](ctx, c, "keys.revoke", ID{id})
	return out.Changed, err
}

// IssueToken issues an access token.
func (c *Client) IssueToken(ctx context.Context, in TokenSpec) (NewToken, error) {
	return ask[NewToken](ctx, c, "tokens.issue", in)
}

// RevokeToken takes a token back and reports whether it was valid before.
func (c *Client) RevokeToken(ctx context.Context, idOrText string) (bool, error) {
	out, err := ask[Changed](ctx, c, "tokens.revoke", ID{idOrText})
	return out.Changed, err
}

// Roles lists the roles in force.
func (c *Client) Roles(ctx context.Context) ([]Role, error) {
	return ask[[]Role](ctx, c, "roles.list", struct{}{})
}

// Role shows one role.
func (c *Client) Role(ctx context.Context, name string) (Role, error) {
	return ask[Role](ctx, c, "roles.show", ID{name})
}

// PutRole creates or replaces a stored role.
func (c *Client) PutRole(ctx context.Context, r policy.Role) error {
	_, err := ask[Changed](ctx, c, "roles.put", r)
	return err
}

// DeleteRole removes a stored role.
func (c *Client) DeleteRole(ctx context.Context, name string) error {
	_, err := ask[Changed](ctx, c, "roles.delete", ID{name})
	return err
}

// Alerts lists the alerts of a range, newest first.
func (c *Client) Alerts(ctx context.Context, in Span) ([]detect.Alert, error) {
	return ask[[]detect.Alert](ctx, c, "alerts.list", in)
}

// Report builds the security report for a range.
func (c *Client) Report(ctx context.Context, timeRange string) (*report.Report, error) {
	return ask[*report.Report](ctx, c, "audit.report", Range{timeRange})
}

// Posture returns how far the running configuration is from the defaults.
func (c *Client) Posture(ctx context.Context) ([]Finding, error) {
	return ask[[]Finding](ctx, c, "posture.show", struct{}{})
}
