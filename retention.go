package sallyport

import (
	"context"
	"time"

	"github.com/sallyport-mcp/sallyport/audit"
	"github.com/sallyport-mcp/sallyport/internal/auditlog"
)

const (
	// recordsKept is how long bodies of records are kept where the configuration does not say.
	recordsKept = 90 * 24 * time.Hour
	// alertsKept is how long alerts are kept.
	alertsKept = 30 * 24 * time.Hour
	// retentionEvery is the time between two looks for what is past its time.
	retentionEvery = time.Hour
)

// keepRetention deletes what is past its time, now and every hour until ctx ends.
func (g *Guard) keepRetention(ctx context.Context) {
	tick := time.NewTicker(retentionEvery)
	defer tick.Stop()
	for {
		if err := g.expire(ctx); err != nil && ctx.Err() == nil {
			g.logger.Error("retention could not be kept; it is tried again in an hour", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// expire deletes records and alerts past their time. That records are deleted is on record before they are; their hashes
// stay, so that the log still verifies.
func (g *Guard) expire(ctx context.Context) error {
	now := g.now()
	if _, err := g.store.DeleteAlertsBefore(ctx, now.Add(-alertsKept)); err != nil {
		return err
	}
	log, ok := g.log.(*auditlog.Log)
	if !ok {
		return nil // a log of the library's user keeps its own
	}
	through, err := log.Expired(now.Add(-g.retention))
	if err != nil || through == 0 {
		return err
	}
	return g.deleteThrough(ctx, log, audit.RecordsDeletedEvent(through), through)
}

// deleteThrough deletes records once the event that says so is on disk.
func (g *Guard) deleteThrough(ctx context.Context, log *auditlog.Log, e *audit.Event, through uint64) error {
	e.Time = g.now().UTC()
	if err := g.recorder.Record(ctx, e); err != nil {
		return err
	}
	return log.DeleteThrough(through)
}
