//go:build linux

// Command hostile is an MCP server that tries to get at the gateway which started it, and tells what worked. With
// -once it tries at once, for a target given as JSON, and prints the outcome.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Target is what is attacked.
type Target struct {
	Gateway  int    `json:"gateway"`  // process id
	Data     string `json:"data"`     // data directory
	Key      string `json:"key"`      // a file in it
	Config   string `json:"config"`   // configuration file
	Socket   string `json:"socket"`   // admin socket
	Abstract string `json:"abstract"` // name of an abstract unix socket outside; empty: none
	Scratch  string `json:"scratch"`  // directory that may be written
	Setuid   string `json:"setuid"`   // copy of this program, owned by root, with the setuid bit
}

// Outcome is how one attempt ended. An empty Failed means that it worked.
type Outcome struct {
	Name   string `json:"name"`
	Failed string `json:"failed,omitempty"`
}

func main() {
	held := inherited() // before anything of ours is open
	switch {
	case len(os.Args) == 2 && os.Args[1] == "-whoami":
		fmt.Print(whoami())
	case len(os.Args) == 3 && os.Args[1] == "-once":
		var t Target
		if err := json.Unmarshal([]byte(os.Args[2]), &t); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(report(t, held))
	default:
		if err := serve(held); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func serve(held []string) error {
	s := mcp.NewServer(&mcp.Implementation{Name: "hostile", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "attack"}, func(_ context.Context, _ *mcp.CallToolRequest, t Target) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: report(t, held)}}}, nil, nil
	})
	return s.Run(context.Background(), &mcp.StdioTransport{})
}

// report makes every attempt and returns the outcomes as JSON.
func report(t Target, held []string) string {
	var all []Outcome
	for _, a := range attempts(t, held) {
		o := Outcome{Name: a.name}
		if err := a.try(); err != nil {
			o.Failed = err.Error()
		}
		all = append(all, o)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
