package cli_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rogpeppe/go-internal/testscript"
	_ "modernc.org/sqlite"

	"github.com/sallyport-mcp/sallyport/internal/cli"
	"github.com/sallyport-mcp/sallyport/internal/server"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sallyport": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			os.Exit(cli.ExitCode(cli.Run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)))
		},
		"mcp-server-example": example,
		"ends-at-once":       func() { os.Exit(3) },
	})
}

// example is an MCP server over stdio with two tools.
func example() {
	s := mcp.NewServer(&mcp.Implementation{Name: "example", Version: "1"}, nil)
	for _, name := range []string{"greet", "shout"} {
		mcp.AddTool(s, &mcp.Tool{Name: name, Description: name}, func(context.Context, *mcp.CallToolRequest, struct{}) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: name + " " + os.Getenv("GREETING")}}}, nil, nil
		})
	}
	_ = s.Run(context.Background(), &mcp.StdioTransport{}) // ends with its input
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			// A socket's path is short; the script's directory is not always.
			e.Setenv("TMPDIR", os.TempDir())
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"fails":  fails,
			"occupy": occupy,
			"free":   free,
			"hold":   hold,
			"newer":  newer,
			"await":  await,
			"find":   find,
			"call":   call,
		},
	})
}

// fails runs a command that must end with the exit code given first. Its output can be looked at afterwards.
func fails(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != want {
		ts.Fatalf("%s ended with %v, want exit status %d", strings.Join(args[1:], " "), err, want)
	}
}

// occupy listens on a loopback port and puts its address in a variable.
func occupy(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() }) // the end of the test
	ts.Setenv(args[0], l.Addr().String())
}

// free puts a loopback address that was free a moment ago in a variable.
func free(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	ts.Check(l.Close())
}

// hold locks a data directory in this process and puts its id in a variable.
func hold(ts *testscript.TestScript, _ bool, args []string) {
	lock, err := server.Acquire(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { _ = lock.Release() }) // the end of the test
	ts.Setenv(args[1], strconv.Itoa(os.Getpid()))
}

// newer makes the store of a data directory one of a later version.
func newer(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite", filepath.Join(ts.MkAbs(args[0]), "sallyport.db"))
	ts.Check(err)
	_, err = db.Exec("PRAGMA user_version = 9999")
	ts.Check(err)
	ts.Check(db.Close())
}

// await waits until a file matches a pattern.
func await(ts *testscript.TestScript, _ bool, args []string) {
	pattern := regexp.MustCompile(args[1])
	for deadline := time.Now().Add(20 * time.Second); ; <-time.After(20 * time.Millisecond) {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && pattern.Match(text) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s never matched %s:\n%s", args[0], args[1], text)
		}
	}
}

// find puts the first match of a pattern in a file in a variable.
func find(ts *testscript.TestScript, _ bool, args []string) {
	match := regexp.MustCompile(args[2]).FindString(ts.ReadFile(args[1]))
	if match == "" {
		ts.Fatalf("%s does not match %s", args[1], args[2])
	}
	ts.Setenv(args[0], match)
}

// call opens a session with a key and calls a tool: call URL KEY TOOL WORDS. What comes back must contain the words.
func call(ts *testscript.TestScript, _ bool, args []string) {
	text, err := callTool(args[0], args[1], args[2])
	ts.Check(err)
	if !strings.Contains(text, args[3]) {
		ts.Fatalf("calling %s: %s", args[2], text)
	}
}

func callTool(url, key, tool string) (string, error) {
	session, first, err := post(url, key, "", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	if err != nil || session == "" {
		return first, err
	}
	if _, _, err := post(url, key, session, `{"jsonrpc":"2.0","method":"notifications/initialized"}`); err != nil {
		return "", err
	}
	_, text, err := post(url, key, session, fmt.Sprintf(`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":%q,"arguments":{}}}`, tool))
	return text, err
}

func post(url, key, session, body string) (opened, text string, err error) {
	request, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return "", "", err
	}
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, text/event-stream")
	if session != "" {
		request.Header.Set("Mcp-Session-Id", session)
		request.Header.Set("MCP-Protocol-Version", "2025-11-25")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = response.Body.Close() }() // read to its end
	answer, err := io.ReadAll(response.Body)
	return response.Header.Get("Mcp-Session-Id"), response.Status + " " + string(answer), err
}
