package wire

// Defaults of [Limits].
const (
	defaultBytes   = 4 << 20
	defaultDepth   = 64
	defaultMembers = 100_000
)

// Limits bound one message. The zero value of each field means its default.
type Limits struct {
	Bytes   int64 // of the whole message; 0 means 4 MiB
	Depth   int   // nesting of objects and arrays, the message itself being the first; 0 means 64
	Members int   // object members and array elements in total; 0 means 100,000
}

// orDefaults returns the limits that apply.
func (l Limits) orDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = defaultBytes
	}
	if l.Depth <= 0 {
		l.Depth = defaultDepth
	}
	if l.Members <= 0 {
		l.Members = defaultMembers
	}
	return l
}
