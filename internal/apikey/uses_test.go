package apikey_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/memstore"
	"github.com/sallyport-mcp/sallyport/internal/secret"
)

func TestLastUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{Store: memstore.New()}
		keys, err := apikey.New(t.Context(), apikey.Config{Store: s})
		if err != nil {
			t.Fatal(err)
		}
		text, _ := create(t, keys, apikey.Spec{})
		time.Sleep(time.Second) // so that it is listed first
		idle, _ := create(t, keys, apikey.Spec{Name: "idle"})
		keys.Peek(idle, address, time.Now())
		for range 300 { // five minutes of a use every second
			check(t, keys, text, address, time.Now(), nil)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := s.touched.Load(); n < 4 || n > 5 {
			t.Errorf("%d writes in five minutes, want one a minute", n)
		}
		last := time.Now()
		check(t, keys, text, address, last, nil)
		if err := keys.Close(); err != nil {
			t.Fatal(err)
		}
		stored, err := s.Keys(t.Context())
		if err != nil || !stored[0].LastUsed.Equal(last) || !stored[1].LastUsed.IsZero() {
			t.Errorf("stored last uses %v and %v, %v; want %v and none", stored[0].LastUsed, stored[1].LastUsed, err, last)
		}
		if got := keys.List()[0].LastUsed; !got.Equal(last) {
			t.Errorf("listed last use %v, want %v", got, last)
		}
	})
}

func TestLastUseIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{Store: memstore.New()}
		keys := service(t, s)
		text, _ := create(t, keys, apikey.Spec{})
		check(t, keys, text, address, start, nil)
		s.before.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		s.before.Store(false)
		time.Sleep(time.Minute)
		synctest.Wait()
		stored, err := s.Keys(t.Context())
		if err != nil || !stored[0].LastUsed.Equal(start) {
			t.Errorf("stored last use %v, %v; want %v", stored[0].LastUsed, err, start)
		}
		_ = keys.Close()
	})
}

func TestCloseEndsTheGoroutine(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	keys, err := apikey.New(t.Context(), apikey.Config{Store: memstore.New()})
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestConcurrent is for the race detector, and holds that a key is refused from the moment Revoke has returned.
func TestConcurrent(t *testing.T) {
	keys := service(t, memstore.New())
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			text, r := create(t, keys, apikey.Spec{Name: fmt.Sprint("n", n)})
			for range 50 {
				check(t, keys, text, address, start, nil)
				keys.List()
				if err := keys.Reload(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if _, err := keys.Revoke(t.Context(), r.ID); err != nil {
				t.Error(err)
			}
			check(t, keys, text, address, start, apikey.ErrRevoked)
		})
	}
	wg.Wait()
}

// FuzzParseID holds that a well-formed key is one that mint could have made: any other text of the same id, one that
// differs in a single character above all, is refused without a look at the store.
func FuzzParseID(f *testing.F) {
	keys := service(f, memstore.New())
	text, _ := create(f, keys, apikey.Spec{})
	good := text.Reveal()
	f.Add(good, 3, byte('b'))
	f.Add("sp_", 0, byte(0))
	f.Fuzz(func(t *testing.T, s string, at int, c byte) {
		if _, ok := apikey.ParseID(s); ok && len(s) != len(good) {
			t.Fatalf("%q has the form of a key", s)
		}
		if at < 0 || at >= len(good) || good[at] == c {
			return
		}
		changed := good[:at] + string([]byte{c}) + good[at+1:]
		if _, ok := apikey.ParseID(changed); ok {
			t.Fatalf("a key with character %d changed has the form of a key", at)
		}
		if keys.Peek(secret.New(changed), address, start) {
			t.Fatal("a changed key is accepted")
		}
	})
}

// Asks what a call with an API key costs: one hash, one look-up, no allocation.
func BenchmarkCheck(b *testing.B) {
	keys := service(b, memstore.New())
	text, _ := create(b, keys, apikey.Spec{Networks: []string{"192.0.2.0/24"}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := keys.Check(b.Context(), text, address, start); err != nil {
			b.Fatal(err)
		}
	}
}
