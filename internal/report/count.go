package report

import (
	"cmp"
	"container/heap"
	"net/netip"
	"slices"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
)

// Bounds of what is kept while a report is built.
const (
	maxEvents    = 100     // high-risk events shown
	maxAlerts    = 100     // alerts shown
	maxThreats   = 100     // addresses shown as threats
	topAddresses = 20      // addresses shown
	maxAddresses = 10_000  // addresses told apart
	maxUsers     = 100_000 // users told apart
	maxPending   = 100_000 // calls without an outcome kept apart
	evidenceEach = 20      // records named from either end
)

// evidence keeps the first and last records it is given. The zero evidence is empty.
type evidence struct {
	records int
	first   []uint64
	last    []uint64 // a ring, oldest at records % evidenceEach once full
}

func (e *evidence) add(seq uint64) {
	switch {
	case len(e.first) < evidenceEach:
		e.first = append(e.first, seq)
	case len(e.last) < evidenceEach:
		e.last = append(e.last, seq)
	default:
		e.last[e.records%evidenceEach] = seq
	}
	e.records++
}

func (e *evidence) report() Evidence {
	r := Evidence{Records: e.records, First: slices.Clone(e.first)}
	if r.First == nil {
		r.First = []uint64{}
	}
	if len(e.last) == evidenceEach {
		at := e.records % evidenceEach
		r.Last = append(slices.Clone(e.last[at:]), e.last[:at]...)
	} else {
		r.Last = slices.Clone(e.last)
	}
	return r
}

// addresses counts the high-risk events of addresses, exactly while there are few. At the bound a new address takes
// the place of the one with the fewest events and starts at what that one had, so that an address with many events is
// never lost, whatever the order (the space-saving algorithm of Metwally, Agrawal and El Abbadi). What it started with
// is not told as its own.
type addresses struct {
	by   map[netip.Prefix]*addressCount
	heap addressHeap // fewest first
	full bool
}

type addressCount struct {
	net       netip.Prefix
	total     int // with what it started with
	inherited int
	by        [3]int // auth_failed, permission_denied, rate_limit_exceeded
	first     time.Time
	last      time.Time
	evidence  evidence
	at        int // in the heap
}

func (a *addresses) add(e *audit.Event, n int) {
	net, ok := network(e.IP)
	if !ok {
		return
	}
	if a.by == nil {
		a.by = map[netip.Prefix]*addressCount{}
	}
	c := a.by[net]
	if c == nil {
		c = a.take(net)
		c.first = e.Time
		if !e.First.IsZero() {
			c.first = e.First
		}
	}
	c.total += n
	c.last = e.Time
	c.by[slices.Index([]audit.Kind{audit.AuthFailed, audit.PermissionDenied, audit.RateLimitExceeded}, e.Kind)] += n
	c.evidence.add(e.Seq)
	heap.Fix(&a.heap, c.at)
}

// take makes room for an address.
func (a *addresses) take(net netip.Prefix) *addressCount {
	if len(a.heap) < maxAddresses {
		c := &addressCount{net: net}
		a.by[net] = c
		heap.Push(&a.heap, c)
		return c
	}
	a.full = true
	c := a.heap[0]
	delete(a.by, c.net)
	*c = addressCount{net: net, total: c.total, inherited: c.total, at: c.at}
	a.by[net] = c
	return c
}

// most returns all addresses, those with most events of their own first.
func (a *addresses) most() []*addressCount {
	list := slices.Clone(a.heap)
	slices.SortFunc(list, func(x, y *addressCount) int {
		return cmp.Or(cmp.Compare(y.own(), x.own()), x.net.Addr().Compare(y.net.Addr()))
	})
	return list
}

// own returns how many events are certainly the address's own.
func (c *addressCount) own() int { return c.total - c.inherited }

func (c *addressCount) name() string {
	if c.net.IsSingleIP() {
		return c.net.Addr().String()
	}
	return c.net.String()
}

// network returns an IPv4 address or IPv6 /64: whoever has one address of a /64 has all of them.
func network(ip netip.Addr) (netip.Prefix, bool) {
	ip = ip.Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	net, err := ip.Prefix(bits)
	return net, err == nil && ip.IsValid()
}

// addressHeap implements heap.Interface.
type addressHeap []*addressCount

func (h addressHeap) Len() int           { return len(h) }
func (h addressHeap) Less(i, j int) bool { return h[i].total < h[j].total }
func (h addressHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *addressHeap) Push(x any) {
	c := x.(*addressCount)
	c.at = len(*h)
	*h = append(*h, c)
}

func (h *addressHeap) Pop() any {
	old := *h
	c := old[len(old)-1]
	*h = old[:len(old)-1]
	return c
}
