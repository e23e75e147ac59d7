// Package sqlite keeps keys, revocations, roles and alerts in one SQLite file, the default store of the gateway. For
// most uses call [Open] with the data directory and give the [Store] to the guard's Config.
//
// It does not keep the audit log, and it does not lock the data directory against a second gateway: that is the work of
// whoever runs one. Its invariant: what a method has confirmed is on disk (WAL with synchronous=FULL), and each method is
// one transaction of one writer.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver, in pure Go

	"github.com/sallyport-mcp/sallyport/internal/apikey"
	"github.com/sallyport-mcp/sallyport/internal/detect"
	"github.com/sallyport-mcp/sallyport/internal/token"
	"github.com/sallyport-mcp/sallyport/policy"
)

var (
	_ apikey.Store      = (*Store)(nil)
	_ token.Revocations = (*Store)(nil)
	_ policy.RoleStore  = (*Store)(nil)
	_ detect.Alerts     = (*Store)(nil)
)

// FileName is the name of the database in the data directory.
const FileName = "sallyport.db"

// ErrNewer is wrapped by the error of Open when the schema is one this program does not know. Nothing was changed.
var ErrNewer = errors.New("the data directory was written by a newer version of Sallyport")

// Store is an open database. It is safe for concurrent use. Close it when nothing uses it any more.
type Store struct {
	write *sql.DB // one connection, so that writers queue here and not at SQLite's lock
	read  *sql.DB // several, which never write
}

// Open opens the database in dir, making directory (0700) and file (0600) where they are missing, and brings the schema
// up to date in one transaction. When it fails, whatever it made is gone again.
func Open(ctx context.Context, dir string) (*Store, error) {
	path := filepath.Join(dir, FileName)
	undo, err := prepare(dir, path)
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	s, err := open(ctx, path)
	if err != nil {
		undo()
		return nil, fmt.Errorf("opening the store %s: %w", path, err)
	}
	return s, nil
}

// prepare makes sure that the directory and a file of the right mode are there, before SQLite would make one of its own
// mode. Undo removes what was made here.
func prepare(dir, path string) (undo func(), err error) {
	_, err = os.Stat(dir)
	newDir := errors.Is(err, fs.ErrNotExist)
	if newDir {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	newFile := err == nil
	undo = func() {
		if newFile {
			for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
				_ = os.Remove(path + suffix) // not all of them exist
			}
		}
		if newDir {
			_ = os.Remove(dir) // stays when something else is in it
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return undo, tighten(path)
	}
	if err != nil {
		undo()
		return nil, err
	}
	if err := f.Close(); err != nil {
		undo()
		return nil, err
	}
	return undo, nil
}

// tighten takes the rights of group and others off a file that exists, and makes sure that it can be written.
func tighten(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return f.Chmod(0o600)
}

func open(ctx context.Context, path string) (*Store, error) {
	s := &Store{}
	var err error
	defer func() {
		if err != nil {
			_ = s.Close() // the first error is the one to tell
		}
	}()
	if s.write, err = connect(path, false); err != nil {
		return nil, err
	}
	s.write.SetMaxOpenConns(1)
	if err = migrate(ctx, s.write); err != nil {
		return nil, err
	}
	if s.read, err = connect(path, true); err != nil {
		return nil, err
	}
	s.read.SetMaxOpenConns(4)
	err = s.read.PingContext(ctx)
	return s, err
}

// connect sets what every connection needs: writers begin with BEGIN IMMEDIATE, so that two transactions never both read
// before they write; readers cannot write at all.
func connect(path string, readOnly bool) (*sql.DB, error) {
	pragmas := []string{"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "trusted_schema(0)"}
	q := url.Values{"_txlock": {"immediate"}}
	if readOnly {
		q = url.Values{}
		pragmas = append(pragmas, "query_only(1)")
	}
	q["_pragma"] = pragmas
	source := url.URL{Scheme: "file", Path: filepath.ToSlash(path), OmitHost: true, RawQuery: q.Encode()}
	switch {
	case filepath.VolumeName(path) != "":
		source.Path = "/" + source.Path
	case !filepath.IsAbs(path):
		source.Opaque = (&url.URL{Path: source.Path}).EscapedPath()
	}
	return sql.Open("sqlite", source.String())
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var version int
	if err := s.read.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("asking the store: %w", err)
	}
	return nil
}

// Close closes the database. A second call does nothing.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.read, s.write} { // the writer last: it folds the WAL into the file
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}
