package memstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/memstore"
	"github.com/sallyport-mcp/sallyport/internal/ratelimit"
	"github.com/sallyport-mcp/sallyport/internal/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Store { return memstore.New() })
}

func TestBuckets(t *testing.T) {
	storetest.Buckets(t, func(_ *testing.T, max int) ratelimit.Buckets {
		return memstore.NewBuckets(memstore.BucketsConfig{Max: max})
	})
}

// Asks what the layers of limits cost one call: the global bucket, an address, a principal and a tool.
func BenchmarkTakeFour(b *testing.B) {
	buckets := memstore.NewBuckets(memstore.BucketsConfig{})
	draws := fourDraws("alice")
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if v, err := buckets.Take(b.Context(), now, draws); err != nil || !v.OK {
			b.Fatal(v, err)
		}
	}
}

// Asks the same of many callers at once, who share the global bucket only.
func BenchmarkTakeFourParallel(b *testing.B) {
	buckets := memstore.NewBuckets(memstore.BucketsConfig{})
	now := time.Now()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		draws := fourDraws(fmt.Sprintf("%p", pb))
		for pb.Next() {
			if v, err := buckets.Take(b.Context(), now, draws); err != nil || !v.OK {
				b.Fatal(v, err)
			}
		}
	})
}

// Asks what a flood of new keys costs a full table, where every Take must make room.
func BenchmarkTakeNewKeys(b *testing.B) {
	buckets := memstore.NewBuckets(memstore.BucketsConfig{Max: 10_000})
	now, limit := time.Now(), ratelimit.Limit{Capacity: 10, Refill: 0.001}
	ids := make([]string, 100_000)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		draws := [1]ratelimit.Draw{{Key: ratelimit.Key{Layer: ratelimit.Address, ID: ids[n%len(ids)]}, Limit: limit, Cost: 1}}
		if _, err := buckets.Take(b.Context(), now, draws[:]); err != nil {
			b.Fatal(err)
		}
	}
}

func fourDraws(id string) []ratelimit.Draw {
	limit := ratelimit.Limit{Capacity: 1e9, Refill: 1e6}
	return []ratelimit.Draw{
		{Key: ratelimit.Key{Layer: ratelimit.Global}, Limit: limit, Cost: 1e-3},
		{Key: ratelimit.Key{Layer: ratelimit.Address, ID: id}, Limit: limit, Cost: 1e-3},
		{Key: ratelimit.Key{Layer: ratelimit.PrincipalLayer, ID: id}, Limit: limit, Cost: 1e-3},
		{Key: ratelimit.Key{Layer: ratelimit.PrincipalTool, ID: id, Sub: "read_file"}, Limit: limit, Cost: 1e-3},
	}
}
