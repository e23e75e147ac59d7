package admin

import (
	"context"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// verb is one row of the table: a name and what it does with a JSON input.
type verb struct {
	name string
	run  func(ctx context.Context, o *Operations, who Actor, in jsontext.Value) (any, error)
}

// verbs is the table. A new verb is one row here and one method of Client.
func verbs() []verb {
	return []verb{
		row("keys.create", (*Operations).CreateKey),
		row("keys.list", (*Operations).ListKeys),
		row("keys.revoke", (*Operations).RevokeKey),
		row("tokens.issue", (*Operations).IssueToken),
		row("tokens.revoke", (*Operations).RevokeToken),
		row("roles.list", (*Operations).ListRoles),
		row("roles.show", (*Operations).ShowRole),
		row("roles.put", (*Operations).PutRole),
		row("roles.delete", (*Operations).DeleteRole),
		row("alerts.list", (*Operations).ListAlerts),
		row("audit.report", (*Operations).BuildReport),
		row("posture.show", (*Operations).ShowPosture),
	}
}

// row makes a table row of a method: input strict, unknown members refused.
func row[In, Out any](name string, method func(*Operations, context.Context, Actor, In) (Out, error)) verb {
	return verb{name, func(ctx context.Context, o *Operations, who Actor, in jsontext.Value) (any, error) {
		var input In
		if err := json.Unmarshal(in, &input, json.RejectUnknownMembers(true)); err != nil {
			return nil, fault(Invalid, "", "reading the input: %v", err)
		}
		return method(o, ctx, who, input)
	}}
}

// perform finds a verb and runs it.
func perform(ctx context.Context, o *Operations, who Actor, name string, in jsontext.Value) (jsontext.Value, error) {
	for _, v := range verbs() {
		if v.name != name {
			continue
		}
		out, err := v.run(ctx, o, who, in)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	}
	return nil, fault(NotFound, "use the same version of the command line and the gateway", "there is no verb %q", name)
}
