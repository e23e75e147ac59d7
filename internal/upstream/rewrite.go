package upstream

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// replaceAt returns the object raw with the value at path replaced; every other byte stays. When the path leads nowhere
// it returns raw. It serves the one place where a result names its call (the result of subscriptions/listen); what
// params hold is found by the parse.
func replaceAt(raw, fresh jsontext.Value, path ...string) jsontext.Value {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	for _, name := range path {
		if t, err := d.ReadToken(); err != nil || t.Kind() != '{' || !seek(d, name) {
			return raw
		}
	}
	old, err := d.ReadValue()
	if err != nil {
		return raw
	}
	end := int(d.InputOffset())
	out := make(jsontext.Value, 0, len(raw)+len(fresh))
	out = append(out, raw[:end-len(old)]...)
	out = append(out, fresh...)
	return append(out, raw[end:]...)
}

// seek moves d, inside an object, to the value of the member name. Names are compared exactly.
func seek(d *jsontext.Decoder, name string) bool {
	for {
		t, err := d.ReadToken()
		if err != nil || t.Kind() != '"' {
			return false
		}
		if t.String() == name {
			return true
		}
		if d.SkipValue() != nil {
			return false
		}
	}
}
