package upstream_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/upstream"
	"github.com/sallyport-mcp/sallyport/internal/wire"
)

// TestEventOutlivesClose: what is being judged must not change under the judge when somebody closes the stream.
func TestEventOutlivesClose(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 1000 {
			fmt.Fprintf(w, "data: {\"n\":\"%04d\"}\n\n", i)
		}
	}))
	defer s.Close()
	u, err := upstream.NewRemote(upstream.RemoteConfig{URL: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close(context.Background())
	m, err := wire.ParseClient([]byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`), wire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := u.RoundTrip(t.Context(), &upstream.Request{Verb: "POST", Era: wire.Legacy, Message: m})
	if err != nil {
		t.Fatal(err)
	}
	e, err := r.Stream.Next()
	if err != nil {
		t.Fatal(err)
	}
	held := string(e.Data)
	_ = r.Stream.Close() // as the gateway's AfterFunc does, while the event is being judged
	time.Sleep(200 * time.Millisecond)
	if string(e.Data) != held {
		t.Errorf("the event was %s and is now %s", held, e.Data)
	}
}
