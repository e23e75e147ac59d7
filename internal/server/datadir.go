package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"

	"github.com/sallyport-mcp/sallyport"
	"github.com/sallyport-mcp/sallyport/internal/admin"
	"github.com/sallyport-mcp/sallyport/store/sqlite"
)

// DataDir is a data directory in use by this process: its lock, its store and the guard over them. Nothing listens.
type DataDir struct {
	Guard *sallyport.Guard
	lock  *Lock
	store *sqlite.Store
}

// Use says what a data directory is opened for.
type Use struct {
	Purpose   string       // the reason in the records of start and stop
	ChildExec []string     // starts children; empty refuses servers that are commands
	Log       *slog.Logger // process log. Required.
}

// OpenDataDir takes the data directory of a configuration. When it fails it leaves nothing behind that was not there
// before.
func OpenDataDir(ctx context.Context, f *File, u Use) (_ *DataDir, err error) {
	d := &DataDir{}
	if d.lock, err = Acquire(f.DataDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Discard(context.WithoutCancel(ctx)))
		}
	}()
	if d.store, err = sqlite.Open(ctx, f.DataDir); err != nil {
		return nil, storeMistake(f.DataDir, err)
	}
	c := f.guardConfig()
	c.Store, c.ChildExec, c.Log, c.Purpose = d.store, u.ChildExec, u.Log, u.Purpose
	if d.Guard, err = sallyport.Open(ctx, c); err != nil {
		return nil, guardMistake(f.DataDir, err)
	}
	return d, nil
}

// guardMistake adds what to do where the audit log is the reason.
func guardMistake(dir string, err error) error {
	if !errors.Is(err, sallyport.ErrAuditLog) {
		return fmt.Errorf("starting the guard: %w", err)
	}
	return &Mistake{Err: err, Fix: "nothing was changed; see what is wrong with: sallyport audit verify. To go on with a new log, move " + filepath.Join(dir, "audit") + " away and keep it as evidence"}
}

func storeMistake(dir string, err error) error {
	if errors.Is(err, sqlite.ErrNewer) {
		return &Mistake{Err: fmt.Errorf("data directory %s: %w", dir, err), Fix: "run that version or a newer one, or choose another data directory; nothing was changed"}
	}
	return &Mistake{Err: fmt.Errorf("opening the store: %w", err), Fix: "check that " + filepath.Join(dir, sqlite.FileName) + " is readable and the disk has room"}
}

// Operations returns what an administrator may do here.
func (d *DataDir) Operations() *admin.Operations { return d.Guard.Operations() }

// Close ends the guard, closes the store and gives the directory to the next process.
func (d *DataDir) Close(ctx context.Context) error {
	return errors.Join(d.stop(ctx), d.lock.Release())
}

// Discard closes everything and removes the directory if OpenDataDir made it.
func (d *DataDir) Discard(ctx context.Context) error {
	return errors.Join(d.stop(ctx), d.lock.Discard())
}

func (d *DataDir) stop(ctx context.Context) error {
	var errs []error
	if d.Guard != nil {
		errs = append(errs, d.Guard.Close(ctx))
	}
	if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	return errors.Join(errs...)
}

// findCommands reports a program that is not there or cannot be executed.
func findCommands(f *File) error {
	for i := range f.Servers {
		s := &f.Servers[i]
		if len(s.Command) == 0 {
			continue
		}
		if _, err := exec.LookPath(s.Command[0]); err != nil {
			cause := err
			var lookup *exec.Error
			if errors.As(err, &lookup) {
				cause = lookup.Err
			}
			return &Mistake{
				Err: fmt.Errorf("server %q: %s does not start: %w", s.Name, s.Command[0], cause),
				Fix: "install it, or give its full path",
			}
		}
	}
	return nil
}
