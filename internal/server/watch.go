package server

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// settle is how long files must be quiet before they are read: editors and tools write several times.
	settle = 200 * time.Millisecond
	// poll is how often files are looked at even without a notification, which links to elsewhere do not give.
	poll = 30 * time.Second
)

// watch calls changed from one goroutine, soon after something happened in the directories of paths, after every value
// from asked, and now and then. changed must find out itself whether anything is new; forced is true after a value from
// asked. It ends with ctx, and the returned channel is closed then.
func watch(ctx context.Context, paths []string, asked <-chan struct{}, changed func(forced bool)) (<-chan struct{}, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watching files: %w", err)
	}
	for _, p := range paths {
		if err := watcher.Add(filepath.Dir(p)); err != nil { // the directory: a file is often replaced, not written
			_ = watcher.Close() // the first error is the one that counts
			return nil, fmt.Errorf("watching %s: %w", filepath.Dir(p), err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer watcher.Close() //nolint:errcheck // nothing is written through it
		quiet := time.NewTimer(poll)
		defer quiet.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-watcher.Events:
				quiet.Reset(settle)
			case <-watcher.Errors: // an overflow: something happened
				quiet.Reset(settle)
			case <-asked:
				changed(true)
			case <-quiet.C:
				changed(false)
				quiet.Reset(poll)
			}
		}
	}()
	return done, nil
}
