package wire

import (
	"slices"

	"github.com/sallyport-mcp/sallyport/policy"
)

// Eras is a set of eras.
type Eras uint8

// Sets of eras.
const (
	InLegacy Eras = 1 << iota
	InModern
	InBoth = InLegacy | InModern
)

// Has reports whether era is in the set.
func (s Eras) Has(era Era) bool {
	return era == Legacy && s&InLegacy != 0 || era == Modern && s&InModern != 0
}

// Sides is a set of the parties that may send a method.
type Sides uint8

// Sets of senders.
const (
	FromClient Sides = 1 << iota
	FromServer
	FromEither = FromClient | FromServer
)

// Method is one row of the table of MCP methods.
type Method struct {
	Name         string
	Eras         Eras
	From         Sides
	Notification bool          // has no id; all others must have one
	Target       policy.Target // kind of thing it names, or lists
	List         string        // list methods: the member of the result that holds the entries
	Entry        string        // list methods: the member that names an entry
	NameHeader   bool          // the modern era mirrors what it names in Mcp-Name
	Cached       bool          // its modern result carries ttlMs and cacheScope
	members      []member      // known members of params besides _meta
	names        names         // of members, and _meta
}

// use says which field of Message a member fills.
type use uint8

const (
	asIs use = iota
	asTarget
	asRef
	asListen
	asArguments
	asCursor
	asVersion
	asClient
	asCancels
	asProgress
	asTask
	asState
)

// member is one known member of params.
type member struct {
	name     string
	kinds    string // accepted kinds as jsontext names them: " string, 0 number, { object, [ array, t boolean; empty: any
	use      use
	required bool
}

// Members that several methods share.
var (
	cursorMember  = []member{{"cursor", `"`, asCursor, false}}
	taskMember    = []member{{"taskId", `"`, asTask, true}}
	roundMembers  = []member{{"inputResponses", "{", asIs, false}, {"requestState", `"`, asState, false}} // multi-round-trip
	uriMember     = []member{{"uri", `"`, asTarget, true}}
	cancelMembers = []member{{"requestId", `"0`, asCancels, false}, {"reason", `"`, asIs, false}}
	tickMembers   = []member{
		{"progressToken", `"0`, asProgress, true},
		{"progress", "0", asIs, false},
		{"total", "0", asIs, false},
		{"message", `"`, asIs, false},
	}
)

// methods is the table: one row per method of MCP (2024-11-05 to 2026-07-28, and the tasks extension). It is never
// changed.
var methods = index([]Method{
	{Name: "initialize", Eras: InLegacy, From: FromClient, members: []member{
		{"protocolVersion", `"`, asVersion, false}, {"capabilities", "{", asIs, false}, {"clientInfo", "{", asClient, false},
	}},
	{Name: "notifications/initialized", Eras: InBoth, From: FromClient, Notification: true},
	{Name: "ping", Eras: InLegacy, From: FromEither},
	{Name: "server/discover", Eras: InModern, From: FromClient, Cached: true},
	{Name: "logging/setLevel", Eras: InLegacy, From: FromClient, members: []member{{"level", `"`, asIs, true}}},
	{Name: "notifications/cancelled", Eras: InBoth, From: FromEither, Notification: true, members: cancelMembers},
	{Name: "notifications/progress", Eras: InBoth, From: FromEither, Notification: true, members: tickMembers},
	{Name: "notifications/roots/list_changed", Eras: InLegacy, From: FromClient, Notification: true},

	{Name: "tools/list", Eras: InBoth, From: FromClient, Target: policy.Tool, List: "tools", Entry: "name", Cached: true, members: cursorMember},
	{Name: "tools/call", Eras: InBoth, From: FromClient, Target: policy.Tool, NameHeader: true, members: slices.Concat([]member{
		{"name", `"`, asTarget, true}, {"arguments", "{", asArguments, false}, {"task", "{", asIs, false},
	}, roundMembers)},
	{Name: "prompts/list", Eras: InBoth, From: FromClient, Target: policy.Prompt, List: "prompts", Entry: "name", Cached: true, members: cursorMember},
	{Name: "prompts/get", Eras: InBoth, From: FromClient, Target: policy.Prompt, NameHeader: true, members: slices.Concat([]member{
		{"name", `"`, asTarget, true}, {"arguments", "{", asArguments, false},
	}, roundMembers)},
	{Name: "resources/list", Eras: InBoth, From: FromClient, Target: policy.Resource, List: "resources", Entry: "uri", Cached: true, members: cursorMember},
	{Name: "resources/templates/list", Eras: InBoth, From: FromClient, Target: policy.Resource, List: "resourceTemplates", Entry: "uriTemplate", Cached: true, members: cursorMember},
	{Name: "resources/read", Eras: InBoth, From: FromClient, Target: policy.Resource, NameHeader: true, Cached: true, members: slices.Concat(uriMember, roundMembers)},
	{Name: "resources/subscribe", Eras: InLegacy, From: FromClient, Target: policy.Resource, members: uriMember},
	{Name: "resources/unsubscribe", Eras: InLegacy, From: FromClient, Target: policy.Resource, members: uriMember},
	{Name: "completion/complete", Eras: InBoth, From: FromClient, members: []member{
		{"ref", "{", asRef, true}, {"argument", "{", asIs, false}, {"context", "{", asIs, false},
	}},
	{Name: "subscriptions/listen", Eras: InModern, From: FromClient, members: []member{{"notifications", "{", asListen, true}}},

	{Name: "tasks/list", Eras: InLegacy, From: FromEither, members: cursorMember},
	{Name: "tasks/get", Eras: InBoth, From: FromEither, NameHeader: true, members: taskMember},
	{Name: "tasks/result", Eras: InLegacy, From: FromEither, members: taskMember},
	{Name: "tasks/cancel", Eras: InBoth, From: FromEither, NameHeader: true, members: taskMember},
	{Name: "tasks/update", Eras: InModern, From: FromClient, NameHeader: true, members: slices.Concat(taskMember, roundMembers)},
	{Name: "notifications/tasks/status", Eras: InLegacy, From: FromEither, Notification: true, members: taskMember},
	{Name: "notifications/tasks", Eras: InModern, From: FromServer, Notification: true, members: taskMember},

	{Name: "sampling/createMessage", Eras: InLegacy, From: FromServer, members: []member{
		{"messages", "[", asIs, false}, {"maxTokens", "0", asIs, false}, {"systemPrompt", `"`, asIs, false}, {"tools", "[", asIs, false},
	}},
	{Name: "elicitation/create", Eras: InLegacy, From: FromServer, members: []member{
		{"mode", `"`, asIs, false}, {"message", `"`, asIs, false}, {"requestedSchema", "{", asIs, false}, {"url", `"`, asIs, false}, {"elicitationId", `"`, asIs, false},
	}},
	{Name: "roots/list", Eras: InLegacy, From: FromServer},
	{Name: "notifications/message", Eras: InBoth, From: FromServer, Notification: true, members: []member{
		{"level", `"`, asIs, false}, {"logger", `"`, asIs, false}, {"data", "", asIs, false},
	}},
	{Name: "notifications/tools/list_changed", Eras: InBoth, From: FromServer, Notification: true},
	{Name: "notifications/prompts/list_changed", Eras: InBoth, From: FromServer, Notification: true},
	{Name: "notifications/resources/list_changed", Eras: InBoth, From: FromServer, Notification: true},
	{Name: "notifications/resources/updated", Eras: InBoth, From: FromServer, Notification: true, Target: policy.Resource, members: uriMember},
	{Name: "notifications/elicitation/complete", Eras: InLegacy, From: FromServer, Notification: true, members: []member{{"elicitationId", `"`, asIs, false}}},
	{Name: "notifications/subscriptions/acknowledged", Eras: InModern, From: FromServer, Notification: true, members: []member{{"notifications", "{", asIs, false}}},
})

func index(rows []Method) map[string]*Method {
	table := make(map[string]*Method, len(rows))
	for i := range rows {
		row := &rows[i]
		known := []string{"_meta"}
		for _, m := range row.members {
			known = append(known, m.name)
		}
		row.names = namesOf(known...)
		table[row.Name] = row
	}
	return table
}

// Lookup returns the row of a method. Names are compared exactly.
func Lookup(name string) (Method, bool) {
	row, ok := methods[name]
	if !ok {
		return Method{}, false
	}
	return *row, true
}

// Known reports whether name is a method that a client may send. All others are answered by the gateway itself.
func Known(name string) bool {
	row, ok := methods[name]
	return ok && row.From&FromClient != 0
}

// firstModern is the first revision of the modern era. Revisions are dates and compare as text; a version that is no
// date but sorts behind it is modern as well, and unsupported.
const firstModern = "2026-07-28"

// LegacyVersions returns the supported revisions of the legacy era, newest first.
func LegacyVersions() []string {
	return []string{"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"}
}

// ModernVersions returns the supported revisions of the modern era, newest first.
func ModernVersions() []string { return []string{firstModern} }
