package cli

import (
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// table aligns columns and escapes what others chose.
type table struct {
	w   *tabwriter.Writer
	err error // the first one
}

func newTable(w io.Writer, columns ...string) *table {
	t := &table{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	t.row(columns...)
	return t
}

func (t *table) row(cells ...string) {
	for i, c := range cells {
		if c = audit.Printable(c); c == "" {
			c = "-"
		}
		cells[i] = c
	}
	if _, err := io.WriteString(t.w, strings.Join(cells, "\t")+"\n"); t.err == nil {
		t.err = err
	}
}

func (t *table) flush() error {
	return firstOf(t.err, t.w.Flush)
}

// day is a date for a table; empty when there is none.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

// stamp is a time for people, in UTC.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
