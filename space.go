package sallyport

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

const (
	// leastSpace is the smallest default of Audit.MaxSize: on a disk that is nearly full the disk itself is the bound.
	leastSpace = 64 << 20
	// spaceEvery is the time after which making room is tried again when it did not work.
	spaceEvery = 10 * time.Second
)

// openLog opens the segment files in the data directory. The event tells of a torn tail that was cut.
func (g *Guard) openLog(c Config) (recovered *audit.Event, err error) {
	seed, err := loadKey(c.DataDir, "checkpoint")
	if err != nil {
		return nil, err
	}
	refuse, err := refuseWhenFull(c.Audit.WhenFull)
	if err != nil {
		return nil, err
	}
	most, err := g.maxSize(c)
	if err != nil {
		return nil, err
	}
	log, err := auditlog.Open(auditlog.Config{
		Dir: g.auditDir(), Key: ed25519.NewKeyFromSeed(seed), MaxSize: most, Refuse: refuse, Now: c.Now, Logger: c.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAuditLog, err)
	}
	g.log = log
	torn := log.Recovered()
	if torn == nil {
		return nil, nil
	}
	return &audit.Event{
		Time: c.Now().UTC(), Kind: audit.LogRecovered, Outcome: audit.Info,
		Reason: fmt.Sprintf("%d bytes of an unfinished record were cut from %s", torn.Bytes, torn.File),
	}, nil
}

func refuseWhenFull(whenFull string) (refuse bool, err error) {
	switch whenFull {
	case "", "delete":
		return false, nil
	case "refuse":
		return true, nil
	}
	return false, fmt.Errorf("audit: when full %q is not known: use delete or refuse", whenFull)
}

// maxSize returns the configured bound or half of what is free. What the log takes already counts as free, so that the
// bound does not shrink from start to start.
func (g *Guard) maxSize(c Config) (int64, error) {
	if c.Audit.MaxSize < 0 {
		return 0, fmt.Errorf("audit: the largest size %d is negative", c.Audit.MaxSize)
	}
	if c.Audit.MaxSize > 0 {
		return c.Audit.MaxSize, nil
	}
	free, err := auditlog.Free(c.DataDir)
	if err != nil {
		c.Log.Warn("the free space of the disk is not known, so the audit log has no largest size: set one", "err", err)
		return 0, nil
	}
	entries, err := os.ReadDir(g.auditDir())
	if err != nil && !os.IsNotExist(err) {
		return 0, fmt.Errorf("measuring the audit log: %w", err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			free += info.Size()
		}
	}
	return max(leastSpace, free/2), nil
}

// keepSpace watches the size of the log until ctx ends: it warns at 80 %, and at 100 % deletes the oldest records, or
// tells that calls are refused.
func (g *Guard) keepSpace(ctx context.Context, log *auditlog.Log, refuse bool) {
	k := spaceKeeper{refuse: refuse}
	for {
		var again <-chan time.Time
		if err := k.look(ctx, g, log); err != nil && ctx.Err() == nil {
			g.logger.Error("the audit log is full and no room could be made; it is tried again", "err", err)
			again = time.After(spaceEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-log.Levels():
		case <-again:
		}
	}
}

// spaceKeeper remembers what was said already.
type spaceKeeper struct {
	refuse  bool // never changes
	warned  bool
	refused time.Time // since when calls are refused; zero: they are not
}

func (k *spaceKeeper) look(ctx context.Context, g *Guard, log *auditlog.Log) error {
	level := log.Level()
	if level >= auditlog.LevelHigh && !k.warned {
		g.logger.Warn("the audit log has reached 80 % of its largest size", "bytes", log.Used(), "max_size", log.MaxSize())
		g.recorder.Note(&audit.Event{
			Time: g.now().UTC(), Kind: audit.AuditNearlyFull, Outcome: audit.Info, Rule: "audit",
			Reason:  "the log has reached 80 % of its largest size",
			Details: []audit.Detail{{Name: "bytes", Value: strconv.FormatInt(log.Used(), 10)}, {Name: "max_size", Value: strconv.FormatInt(log.MaxSize(), 10)}},
		})
	}
	k.warned = level >= auditlog.LevelHigh
	if k.refuse {
		k.tell(g, level == auditlog.LevelFull)
		return nil
	}
	if level < auditlog.LevelFull {
		return nil
	}
	through, err := log.Oldest(log.MaxSize() / 20 * 17)
	if err != nil {
		return err
	}
	if through == 0 {
		return errors.New("all records are in the file being written")
	}
	g.logger.Warn("the audit log has reached its largest size: the oldest records go before their time", "through", through)
	e := audit.RecordsDeletedEvent(through)
	e.Rule, e.Reason = "max_size", "the log reached its largest size: the oldest bodies are deleted before their time; their hashes stay"
	return g.deleteThrough(ctx, log, e, through)
}

// tell records that calls are refused for want of room, and that they are no more.
func (k *spaceKeeper) tell(g *Guard, full bool) {
	now := g.now().UTC()
	switch {
	case full && k.refused.IsZero():
		k.refused = now
		g.logger.Error("the audit log has reached its largest size: calls are refused")
		g.recorder.Note(&audit.Event{Time: now, Kind: audit.StoreDegraded, Outcome: audit.Failed, Rule: "max_size", Reason: "the log has reached its largest size: calls are refused"})
	case !full && !k.refused.IsZero():
		g.logger.Info("the audit log has room again")
		g.recorder.Note(&audit.Event{Time: now, Kind: audit.StoreRecovered, Outcome: audit.Info, First: k.refused, Rule: "max_size", Reason: "the log has room again"})
		k.refused = time.Time{}
	}
}
