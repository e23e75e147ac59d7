package policy

// Role is a named set of permission patterns.
type Role struct {
	Name        string   `json:"name"`
	Permissions []string `json:"permissions"`        // patterns: "files:read_*", "*"
	Inherits    []string `json:"inherits,omitempty"` // names of other roles
}

// Rule maps a tool, prompt, resource or method of a server to the permission it needs. Exactly one of Tool, Prompt,
// Resource and Method is set; each is a pattern in which * stands for any run of characters. The first rule that
// matches decides.
type Rule struct {
	Server   string `json:"server"`
	Tool     string `json:"tool,omitempty"`
	Prompt   string `json:"prompt,omitempty"`
	Resource string `json:"resource,omitempty"`
	Method   string `json:"method,omitempty"`
	Require  string `json:"require"` // a literal permission
}
