package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sallyport-mcp/sallyport/internal/secret"
)

// maxSocketPath is the longest path every system takes for a unix socket, in bytes.
const maxSocketPath = 100

// socketPath is where the socket of a data directory lies: in it or, when that path is too long for a socket, in a
// directory under the system's temporary one that is named after it.
func socketPath(dataDir string) string {
	path := filepath.Join(dataDir, "run", "admin.sock")
	if len(path) <= maxSocketPath {
		return path
	}
	if abs, err := filepath.Abs(dataDir); err == nil {
		dataDir = abs
	}
	sum := sha256.Sum256([]byte(dataDir))
	return filepath.Join(os.TempDir(), "sallyport-"+hex.EncodeToString(sum[:8]), "admin.sock")
}

// SocketDir returns the directory of the socket: in the data directory or, where that path is too long, elsewhere.
// Whoever can write in it can pass for the gateway and be given the token.
func SocketDir(dataDir string) string { return filepath.Dir(socketPath(dataDir)) }

func tokenPath(dataDir string) string { return filepath.Join(dataDir, "admin.token") }

// Server serves verbs on the unix socket of a data directory.
type Server struct {
	http *http.Server
	path string
	done chan struct{} // closed when Serve has returned
}

// Serve starts serving o on the socket of dataDir, whose lock the caller must hold. Only processes of this user and of
// root are answered, and only with the token that lies in dataDir. Close ends it. Where the system cannot say which
// user is on the other end, the error is ErrUnsupported.
func Serve(dataDir string, o *Operations, log *slog.Logger) (*Server, error) {
	if !peersKnown {
		return nil, ErrUnsupported
	}
	path := socketPath(dataDir)
	if err := privateDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("making the directory of the admin socket: %w", err)
	}
	token, err := newToken(tokenPath(dataDir))
	if err != nil {
		return nil, fmt.Errorf("making the admin token: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) { // left behind by a crash: the lock is ours
		return nil, fmt.Errorf("removing an old admin socket: %w", err)
	}
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening on the admin socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = listener.Close() // the first error is the one that counts
		return nil, fmt.Errorf("closing the admin socket to others: %w", err)
	}
	s := &Server{path: path, done: make(chan struct{}), http: &http.Server{
		Handler:           handler(o, token, os.Getuid(), log),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(peerListener{listener}); err != nil && !errors.Is(err, http.ErrServerClosed) {
			log.Error("the admin socket stopped", "error", err)
		}
	}()
	return s, nil
}

// Path returns where the socket lies.
func (s *Server) Path() string { return s.path }

// Close answers what has begun, at most until ctx ends, and removes the socket.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close() // Shutdown's error is the one that counts
	}
	<-s.done
	return err
}

// privateDir makes a directory that only we can enter, or checks that it is one: nobody else may put a socket there.
func privateDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() || !owned(info) {
		return fmt.Errorf("%s is not a directory of this user", dir)
	}
	return os.Chmod(dir, 0o700)
}

// newToken writes a new random token, readable by us alone. It lives as long as the gateway.
func newToken(path string) (secret.Text, error) {
	token := secret.New(rand.Text() + rand.Text())
	tmp, err := os.CreateTemp(filepath.Dir(path), ".admin-*") // mode 0600
	if err != nil {
		return token, err
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // gone after the rename
	_, err = io.WriteString(tmp, token.Reveal()+"\n")
	if closed := tmp.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	return token, err
}

// peerListener gives every connection the user id of its other end as remote address.
type peerListener struct{ net.Listener }

func (l peerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	uid := -1 // nobody
	if u, ok := c.(*net.UnixConn); ok {
		if found, err := peerUID(u); err == nil {
			uid = found
		}
	}
	return peerConn{c, peerAddr(uid)}, nil
}

type peerConn struct {
	net.Conn
	addr peerAddr
}

func (c peerConn) RemoteAddr() net.Addr { return c.addr }

// peerAddr is a user id in the form of an address.
type peerAddr int

func (peerAddr) Network() string  { return "unix" }
func (a peerAddr) String() string { return strconv.Itoa(int(a)) }

// maxInput bounds what a verb is given, in bytes.
const maxInput = 1 << 20

// handler answers POST /v1/<verb> from the user self and root.
func handler(o *Operations, token secret.Text, self int, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, err := strconv.Atoi(r.RemoteAddr)
		if err != nil || (uid != self && uid != 0) {
			log.Warn("refused a process of another user at the admin socket", "uid", r.RemoteAddr)
			answer(w, nil, fault(Refused, "run the command as the user that runs the gateway", "the admin socket is not for this user"))
			return
		}
		given, isBearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !isBearer || !token.Equal(secret.New(given)) {
			log.Warn("refused a wrong token at the admin socket", "uid", uid)
			answer(w, nil, fault(Refused, "the token lies in the data directory: admin.token", "wrong admin token"))
			return
		}
		name, ok := strings.CutPrefix(r.URL.Path, "/v1/")
		if !ok || r.Method != http.MethodPost {
			answer(w, nil, fault(NotFound, "", "verbs are called with POST /v1/<verb>"))
			return
		}
		in, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxInput))
		if err != nil {
			answer(w, nil, fault(Invalid, "", "reading the input: %v", err))
			return
		}
		out, err := perform(r.Context(), o, Local(uid), name, in)
		if err != nil && asError(err).Code == Internal {
			log.Error("an administrator's act failed", "verb", name, "error", err)
		}
		answer(w, out, err)
	})
}

// answer writes what a verb returned. It is the only function that turns errors into responses here.
func answer(w http.ResponseWriter, out []byte, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err == nil {
		_, _ = w.Write(out) // a caller who left needs no answer
		return
	}
	e := asError(err)
	status := map[Code]int{NotFound: http.StatusNotFound, Invalid: http.StatusBadRequest, Refused: http.StatusForbidden}[e.Code]
	if status == 0 {
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
	body, _ := json.Marshal(e) // three strings
	_, _ = w.Write(body)
}

// ErrUnsupported means that this system cannot say which user is on the other end of a socket.
var ErrUnsupported = errors.New("the admin socket is not offered on this system")
