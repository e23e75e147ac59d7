package wire

import (
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sallyport-mcp/sallyport/policy"
)

// Members of _meta that MCP defines (2026-07-28, basic; 2025-11-25, tasks).
const (
	metaVersion      = "io.modelcontextprotocol/protocolVersion"
	metaClient       = "io.modelcontextprotocol/clientInfo"
	metaServer       = "io.modelcontextprotocol/serverInfo"
	metaCapabilities = "io.modelcontextprotocol/clientCapabilities"
	metaLogLevel     = "io.modelcontextprotocol/logLevel"
	metaSubscription = "io.modelcontextprotocol/subscriptionId"
	metaTask         = "io.modelcontextprotocol/related-task"
)

const (
	maxVersion = 64  // bytes of a protocol version
	maxClient  = 128 // bytes kept of a client's name
)

// Sets of names that are compared folded. They are never changed.
var (
	bareNames   = namesOf("_meta")
	metaNames   = namesOf("progressToken", metaVersion, metaClient, metaServer, metaCapabilities, metaLogLevel, metaSubscription, metaTask)
	clientNames = namesOf("name", "version")
	refNames    = namesOf("type", "name", "uri")
	listenNames = namesOf("toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions", "taskIds")
)

const twinReason = "a member of params differs from a known one only by its spelling"

// readParams reads the known members of params. A nil row is a method this side does not know: only _meta is read.
func (m *Message) readParams(row *Method, fields []field) *ParseError {
	var known []member
	names := bareNames
	if row != nil {
		known, names = row.members, row.names
	}
	seen := 0
	for _, f := range fields {
		name := unquote(f.name)
		if string(name) == "_meta" {
			if refusal := m.readMeta(f); refusal != nil {
				return refusal
			}
			continue
		}
		i := indexMember(known, name)
		if i < 0 {
			if names.lookalike(name) {
				return refuse(CodeInvalidRequest, twinReason)
			}
			continue
		}
		if kinds := known[i].kinds; kinds != "" && strings.IndexByte(kinds, byte(jsontext.Value(f.value).Kind())) < 0 {
			return refuse(CodeInvalidParams, "a known member of params has the wrong type")
		}
		seen |= 1 << i
		if refusal := m.use(row, known[i].use, f); refusal != nil {
			return refusal
		}
	}
	return m.checkRequired(row, known, seen)
}

func indexMember(known []member, name []byte) int {
	for i := range known {
		if known[i].name == string(name) {
			return i
		}
	}
	return -1
}

// checkRequired refuses what lacks a member that the decision rests on. A method that the modern era removed is not found
// there, whatever it lacks.
func (m *Message) checkRequired(row *Method, known []member, seen int) *ParseError {
	for i := range known {
		if known[i].required && seen&(1<<i) == 0 {
			if m.Kind == Request && !row.Eras.Has(Modern) && isModern(m.MetaVersion) {
				return refuse(CodeMethodNotFound, "this method does not exist in this protocol revision")
			}
			return refuse(CodeInvalidParams, "params lack a member that this method needs")
		}
	}
	return nil
}

// use fills the field of the message that a member of params is for.
func (m *Message) use(row *Method, u use, f field) *ParseError {
	switch u {
	case asTarget:
		m.Target = policy.Named{Kind: row.Target, Name: string(unquote(f.value))}
	case asRef:
		return m.readRef(f.value)
	case asListen:
		return m.readListen(f.value)
	case asArguments:
		m.Arguments = f.value
	case asCursor:
		m.Cursor = m.text(f, cursorSpan)
	case asTask:
		m.Task = m.text(f, taskSpan)
	case asState:
		m.RequestState = m.text(f, stateSpan)
	case asVersion:
		return m.readVersion(f.value, false)
	case asClient:
		return m.readClient(f.value)
	case asCancels:
		m.Cancels = f.value
		return m.token(f, cancelsSpan)
	case asProgress:
		m.ProgressToken = f.value
		return m.token(f, tokenSpan)
	case asIs:
	}
	return nil
}

// text notes where a string is and returns it.
func (m *Message) text(f field, which int) *string {
	m.spans[which] = span{f.at, f.at + len(f.value)}
	text := string(unquote(f.value))
	return &text
}

// token notes where an id is.
func (m *Message) token(f field, which int) *ParseError {
	if !acceptableID(f.value) {
		return refuse(CodeInvalidParams, "an id in params must be a string or a number of at most 256 bytes")
	}
	m.spans[which] = span{f.at, f.at + len(f.value)}
	return nil
}

// readMeta reads the members of _meta that MCP defines; all others are free.
func (m *Message) readMeta(meta field) (refusal *ParseError) {
	if meta.value[0] != '{' {
		return refuse(CodeInvalidParams, "_meta must be an object")
	}
	fieldsOf(meta.value, func(f field) bool {
		f.at += meta.at
		switch name := unquote(f.name); string(name) {
		case "progressToken":
			if m.spans[tokenSpan].end == 0 { // notifications/progress has its own
				m.ProgressToken = f.value
				refusal = m.token(f, tokenSpan)
			}
		case metaSubscription:
			m.SubscriptionID = f.value
			refusal = m.token(f, subscriptionSpan)
		case metaVersion:
			refusal = m.readVersion(f.value, true)
		case metaClient:
			refusal = m.readClient(f.value)
		default:
			if metaNames.lookalike(name) {
				refusal = refuse(CodeInvalidRequest, "a member of _meta differs from a known one only by its spelling")
			}
		}
		return refusal == nil
	})
	return refusal
}

// readVersion reads a protocol version. The one in _meta wins over the one of initialize.
func (m *Message) readVersion(raw []byte, inMeta bool) *ParseError {
	version := string(unquote(raw))
	if raw[0] != '"' || version == "" || len(version) > maxVersion || strings.ContainsFunc(version, notVisible) {
		return refuse(CodeInvalidParams, "protocolVersion must be a string of 1 to 64 visible ASCII characters")
	}
	if inMeta {
		m.MetaVersion = version
	}
	if inMeta || m.MetaVersion == "" {
		m.Version = version
	}
	return nil
}

func notVisible(r rune) bool { return r < 0x21 || r > 0x7e }

// readClient reads the name out of a clientInfo object.
func (m *Message) readClient(raw []byte) (refusal *ParseError) {
	if raw[0] != '{' {
		return refuse(CodeInvalidParams, "clientInfo must be an object")
	}
	fieldsOf(raw, func(f field) bool {
		switch name := unquote(f.name); {
		case string(name) == "name" && f.value[0] != '"':
			refusal = refuse(CodeInvalidParams, "clientInfo.name must be a string")
		case string(name) == "name":
			m.ClientName = cut(string(unquote(f.value)), maxClient)
		case clientNames.lookalike(name):
			refusal = refuse(CodeInvalidRequest, twinReason)
		}
		return refusal == nil
	})
	return refusal
}

// cut shortens text to at most n bytes, between characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// readRef reads what completion/complete is about: exactly one of a prompt's name and a resource's URI or template.
func (m *Message) readRef(raw []byte) (refusal *ParseError) {
	var kind, name, uri []byte
	fieldsOf(raw, func(f field) bool {
		switch member := unquote(f.name); string(member) {
		case "type":
			kind = f.value
		case "name":
			name = f.value
		case "uri":
			uri = f.value
		default:
			if refNames.lookalike(member) {
				refusal = refuse(CodeInvalidRequest, twinReason)
			}
		}
		return refusal == nil
	})
	if refusal != nil {
		return refusal
	}
	switch {
	case string(unquote(kind)) == "ref/prompt" && uri == nil && isText(name):
		m.Target = policy.Named{Kind: policy.Prompt, Name: string(unquote(name))}
	case string(unquote(kind)) == "ref/resource" && name == nil && isText(uri):
		m.Target = policy.Named{Kind: policy.Resource, Name: string(unquote(uri))}
	default:
		return refuse(CodeInvalidParams, "ref must name exactly one prompt or one resource")
	}
	return nil
}

func isText(raw []byte) bool { return len(raw) > 0 && raw[0] == '"' }

// readListen reads the resources that subscriptions/listen names; each needs its own permission.
func (m *Message) readListen(raw []byte) (refusal *ParseError) {
	fieldsOf(raw, func(f field) bool {
		name := unquote(f.name)
		switch {
		case string(name) == "resourceSubscriptions":
			if f.value[0] != '[' || !elementsOf(f.value, m.listenTo) {
				refusal = refuse(CodeInvalidParams, "resourceSubscriptions must be an array of strings")
			}
		case listenNames.lookalike(name):
			refusal = refuse(CodeInvalidRequest, twinReason)
		}
		return refusal == nil
	})
	return refusal
}

func (m *Message) listenTo(uri []byte) bool {
	if !isText(uri) {
		return false
	}
	m.More = append(m.More, policy.Named{Kind: policy.Resource, Name: string(unquote(uri))})
	return true
}
