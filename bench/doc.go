// Bench measures what the gateway costs. One run starts, as processes of their own, a minimal MCP server, an empty
// buffered [net/http/httputil.ReverseProxy] as the baseline, and the gateway with every layer on, once with the audit
// log in async and once in durable mode; this process makes the load. Rounds are interleaved (baseline, gateway,
// baseline, gateway), and what counts is the ratio to the baseline of the same round: other work on the machine hits
// both. For most uses run "go run ./bench"; docs/performance.md says how to read what it prints.
//
// It is no test of correctness, but every answer is checked, and a wrong one is counted and makes the run fail.
package main
