package audit_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// nowhere is a Log that keeps nothing.
type nowhere struct{ next uint64 }

func (n *nowhere) Append(events []*audit.Event, _ [][]byte) error {
	n.next = events[len(events)-1].Seq + 1
	return nil
}
func (n *nowhere) NextSeq() uint64 { return max(1, n.next) }
func (n *nowhere) Close() error    { return nil }

// BenchmarkNoteRefusal is what one more refusal of a flood from fifty addresses costs.
func BenchmarkNoteRefusal(b *testing.B) {
	r := start(b, audit.RecorderConfig{Log: &nowhere{}})
	defer closeNow(b, r)
	now := time.Date(2026, 7, 28, 10, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r.Note(&audit.Event{
			Time: now, Kind: audit.AuthFailed, Outcome: audit.Denied, Status: 401, IP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 50)}),
			Server: "files", Claimed: "alice", UserAgent: "flood/1.0", Rule: "authentication", Reason: "the key is not known",
		})
	}
}
