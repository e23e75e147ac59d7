package apikey

import (
	"context"
	"time"
)

const (
	usesEvery   = time.Minute     // between two writes of the last use of one key
	usesTimeout = 5 * time.Second // for one round of writes
)

// Close writes the last uses that are not written yet and ends the goroutine. The Service can still check keys.
// A second call does nothing.
func (s *Service) Close() error {
	s.stop()
	<-s.stopped
	return nil
}

// writeUses is the goroutine that Close ends.
func (s *Service) writeUses(ctx context.Context) {
	defer close(s.stopped)
	ticker := time.NewTicker(usesEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.writeOnce(ctx)
		case <-ctx.Done():
			s.writeOnce(context.WithoutCancel(ctx))
			return
		}
	}
}

// writeOnce writes every last use that is new. A failing store costs no call anything: it is logged once a round and
// tried again in the next.
func (s *Service) writeOnce(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, usesTimeout)
	defer cancel()
	for _, k := range s.used() {
		at := k.lastUsed.Load()
		if err := s.store.TouchKey(ctx, k.record.ID, time.Unix(0, at).UTC()); err != nil {
			s.logger.Warn("the last use of API keys could not be written", "error", err)
			return
		}
		k.written.Store(at)
	}
}

// used returns the keys whose last use is not written.
func (s *Service) used() []*key {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var keys []*key
	for _, k := range s.keys {
		if k.lastUsed.Load() != k.written.Load() {
			keys = append(keys, k)
		}
	}
	return keys
}
