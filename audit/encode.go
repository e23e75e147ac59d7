package audit

import (
	"net/netip"
	"strconv"
	"time"
)

// AppendJSON appends the event as one JSON object on one line without a newline and returns the extended slice. Members
// come in a fixed order; time and kind are always there, every other only if it is not zero. Seq is left out: the log
// puts it and the previous record's hash in front (AppendLine).
//
// Text is cut to 1024 bytes (tool, method, user agent and names of details 256, kind and outcome 64), invalid UTF-8 is
// replaced by U+FFFD, and control, format and separator characters are escaped. Times are UTC with nanoseconds
// (RFC 3339), durations whole microseconds. The zone of an IPv6 address is left out: it means something on one host only.
func (e *Event) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"time":`...)
	dst = appendTime(dst, e.Time)
	dst = append(dst, `,"kind":`...)
	dst = appendText(dst, string(e.Kind), maxWord)
	dst = appendMember(dst, `,"outcome":`, string(e.Outcome), maxWord)
	dst = appendIdentity(dst, &e.Principal)
	dst = appendMember(dst, `,"claimed":`, e.Claimed, maxText)
	dst = appendMember(dst, `,"credential":`, e.Credential, maxText)
	dst = appendMember(dst, `,"client":`, e.Client, maxText)
	dst = appendIP(dst, e.IP)
	dst = appendMember(dst, `,"user_agent":`, e.UserAgent, maxShort)
	dst = appendMember(dst, `,"session":`, e.Session, maxText)
	dst = appendMember(dst, `,"server":`, e.Server, maxText)
	dst = appendMember(dst, `,"method":`, e.Method, maxShort)
	dst = appendMember(dst, `,"tool":`, e.Tool, maxShort)
	dst = appendMember(dst, `,"permission":`, e.Permission, maxText)
	dst = appendMember(dst, `,"rule":`, e.Rule, maxText)
	dst = appendMember(dst, `,"reason":`, e.Reason, maxText)
	if e.Ref != 0 {
		dst = append(dst, `,"ref":`...)
		dst = strconv.AppendUint(dst, e.Ref, 10)
	}
	dst = appendInt(dst, `,"status":`, int64(e.Status))
	dst = appendInt(dst, `,"duration_us":`, e.Duration.Microseconds())
	dst = appendInt(dst, `,"bytes_in":`, e.BytesIn)
	dst = appendInt(dst, `,"bytes_out":`, e.BytesOut)
	dst = appendInt(dst, `,"count":`, int64(e.Count))
	if !e.First.IsZero() {
		dst = append(dst, `,"first":`...)
		dst = appendTime(dst, e.First)
	}
	if e.Repeat {
		dst = append(dst, `,"repeat":true`...)
	}
	dst = appendDetails(dst, e.Details)
	return append(dst, '}')
}

func appendMember(dst []byte, name, value string, max int) []byte {
	if value == "" {
		return dst
	}
	return appendText(append(dst, name...), value, max)
}

func appendInt(dst []byte, name string, value int64) []byte {
	if value == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, name...), value, 10)
}

func appendIdentity(dst []byte, id *Identity) []byte {
	if *id == (Identity{}) {
		return dst
	}
	dst = append(dst, `,"principal":{`...)
	start := len(dst)
	dst = appendMember(dst, `,"iss":`, id.Issuer, maxText)
	dst = appendMember(dst, `,"sub":`, id.Subject, maxText)
	dst = appendMember(dst, `,"name":`, id.Name, maxText)
	dst = append(dst[:start], dst[start+1:]...) // the first comma
	return append(dst, '}')
}

func appendIP(dst []byte, ip netip.Addr) []byte {
	if !ip.IsValid() {
		return dst
	}
	dst = append(dst, `,"ip":"`...)
	dst = ip.WithZone("").AppendTo(dst)
	return append(dst, '"')
}

func appendDetails(dst []byte, details []Detail) []byte {
	if len(details) == 0 {
		return dst
	}
	left := 0
	if len(details) > MaxDetails {
		left = len(details) - (MaxDetails - 1)
		details = details[:MaxDetails-1]
	}
	dst = append(dst, `,"details":[`...)
	for i, d := range details {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendDetail(dst, d.Name, d.Value)
	}
	if left > 0 {
		dst = append(dst, ',')
		dst = appendDetail(dst, "left_out", strconv.Itoa(left))
	}
	return append(dst, ']')
}

func appendDetail(dst []byte, name, value string) []byte {
	dst = appendText(append(dst, `{"name":`...), name, maxShort)
	dst = appendText(append(dst, `,"value":`...), value, maxText)
	return append(dst, '}')
}

const timeLayout = "2006-01-02T15:04:05.000000000Z"

// appendTime appends t, brought into the years that RFC 3339 can write.
func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	switch y := t.Year(); {
	case y < 1:
		t = time.Time{}
	case y > 9999:
		t = time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC)
	}
	dst = append(dst, '"')
	dst = t.AppendFormat(dst, timeLayout)
	return append(dst, '"')
}
