package upstream_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/upstreamtest"
)

// childMode is the environment variable that turns the test binary into a stdio server, with the behaviour it names.
const childMode = "SALLYPORT_TEST_CHILD"

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		os.Exit(child(mode))
	}
	os.Exit(m.Run())
}

// child is what runs in a child process.
func child(mode string) int {
	fake := &upstreamtest.Fake{Legacy: mode != "modern", Modern: mode != "legacy"}
	switch mode {
	case "deaf": // reads nothing, says nothing
		time.Sleep(time.Minute)
	case "stubborn": // ignores the end of stdin and SIGTERM
		signal.Ignore(syscall.SIGTERM)
		fmt.Fprintf(os.Stderr, "pid %d\n", os.Getpid())
		fake.ServeStdio(os.Stdin, os.Stdout)
		time.Sleep(time.Minute)
	case "family": // has a child of its own that holds its pipes
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childMode+"=deaf")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Start(); err != nil {
			return 1
		}
		fmt.Fprintf(os.Stderr, "pid %d\n", cmd.Process.Pid)
		fake.ServeStdio(os.Stdin, os.Stdout)
	case "sdk": // a server of the official Go SDK, which speaks both eras here
		if err := sdkServer().Run(context.Background(), &mcp.StdioTransport{}); err != nil {
			return 1
		}
	case "neither": // understands nothing
		(&upstreamtest.Fake{}).ServeStdio(os.Stdin, os.Stdout)
	case "gateway": // has a child, and is killed
		u, err := upstream.NewStdio(upstream.StdioConfig{Command: []string{os.Args[0]}, Env: map[string]string{childMode: "stubborn"}})
		if err != nil {
			return 1
		}
		_, _ = u.Probe(context.Background()) // two children, one after the other; the first lives for a while
		time.Sleep(time.Minute)
	case "crash":
		fmt.Fprintln(os.Stderr, "no configuration")
		return 7
	case "tell": // tells what it was given
		for _, v := range os.Environ() {
			fmt.Fprintf(os.Stderr, "env %s\n", v)
		}
		dir, _ := os.Getwd()
		fmt.Fprintf(os.Stderr, "dir %s\nargs %q\n", dir, os.Args[1:])
		if open, err := os.ReadDir("/proc/self/fd"); err == nil {
			for _, f := range open {
				target, _ := os.Readlink("/proc/self/fd/" + f.Name())
				fmt.Fprintf(os.Stderr, "fd %s %s\n", f.Name(), target)
			}
		}
		fmt.Fprintf(os.Stderr, "%s\x1b[31mred\n", strings.Repeat("z", 5000))
		fmt.Fprintln(os.Stderr, "\x1b[31mred")
		fake.ServeStdio(os.Stdin, os.Stdout)
	case "seen": // writes what it reads to stderr
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			fmt.Fprintf(os.Stderr, "read %s\n", lines.Text())
			if strings.Contains(lines.Text(), `"initialize"`) {
				fmt.Println(`{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}`)
			}
		}
	default:
		fake.ServeStdio(os.Stdin, os.Stdout)
	}
	return 0
}
