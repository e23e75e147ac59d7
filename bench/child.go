package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// usage is what a process has used so far.
type usage struct {
	CPU  time.Duration // user and system
	RSS  int64         // resident now, in bytes; 0 where it is not to be had
	Peak int64         // most ever resident, in bytes; 0 where it is not to be had
}

// child is a process of this program in another role. It answers every line on its standard input with its usage, and
// ends at the end of that input.
type child struct {
	name string
	url  string // of its endpoint
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

// startChild runs this program with arguments and waits for the address it prints.
func startChild(ctx context.Context, name string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	c := &child{name: name, cmd: exec.CommandContext(ctx, self, args...)}
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s did not start: %w", name, err), c.close())
	}
	c.url = strings.TrimSpace(line)
	return c, nil
}

// usage asks the child.
func (c *child) usage() (u usage, err error) {
	if _, err := io.WriteString(c.in, "\n"); err != nil {
		return u, fmt.Errorf("asking %s: %w", c.name, err)
	}
	line, err := c.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &u)
	}
	if err != nil {
		return u, fmt.Errorf("asking %s: %w", c.name, err)
	}
	return u, nil
}

func (c *child) close() error {
	_ = c.in.Close() // it may be gone already
	return c.cmd.Wait()
}

// answerUsage is the child's side: it prints the address and answers until the end of the input.
func answerUsage(url string) error {
	fmt.Println(url)
	for in := bufio.NewReader(os.Stdin); ; {
		if _, err := in.ReadString('\n'); err != nil {
			return nil // the end of the input is the end of the run
		}
		u, err := used()
		if err != nil {
			return err
		}
		line, err := json.Marshal(u)
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", line)
	}
}

// serveChild serves a handler on loopback for as long as the input lasts.
func serveChild(h http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	err = answerUsage("http://" + l.Addr().String() + "/mcp")
	_ = server.Close() // connections of the load are still open
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		return served
	}
	return err
}
