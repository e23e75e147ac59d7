package accept_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sallyport-mcp/sallyport/internal/sandbox"
)

// target is what the hostile program attacks; it has the same fields.
type target struct {
	Gateway  int    `json:"gateway"`
	Data     string `json:"data"`
	Key      string `json:"key"`
	Config   string `json:"config"`
	Socket   string `json:"socket"`
	Abstract string `json:"abstract"`
	Scratch  string `json:"scratch"`
	Setuid   string `json:"setuid"`
}

// outcomeOf is how one attempt ended; an empty Failed means that it worked.
type outcomeOf struct{ Name, Failed string }

// nobody is a user that owns nothing.
const nobody = 65534

// field is where a hostile child is let loose: directories that every user may enter, so that only what is under test
// keeps it out.
type field struct {
	dir, hostile, sallyport, setuid, scratch, abstract string
}

func newField(t *testing.T) field {
	t.Helper()
	if os.Geteuid() != 0 {
		if full() {
			t.Fatal("hostile children are tested as root")
		}
		t.Skip("NOT TESTED: hostile children under another user need root")
	}
	dir, err := os.MkdirTemp("", "hostile-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // the system's directory for such things
	f := field{dir: dir, scratch: filepath.Join(dir, "scratch"), abstract: filepath.Base(dir)}
	must(t, os.Chmod(dir, 0o755))
	must(t, os.Mkdir(f.scratch, 0o700))
	must(t, os.Chmod(f.scratch, 0o777))
	f.hostile = f.copyOf(t, build(t, "hostile", "./internal/accept/testdata/hostile"), "hostile", 0o755)
	f.setuid = f.copyOf(t, f.hostile, "setuid", 0o755|os.ModeSetuid)
	f.sallyport = f.copyOf(t, sallyport(t), "sallyport", 0o755)
	listener, err := net.Listen("unix", "@"+f.abstract)
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f field) copyOf(t *testing.T, program, name string, mode os.FileMode) string {
	t.Helper()
	bytes, err := os.ReadFile(program)
	must(t, err)
	path := filepath.Join(f.dir, name)
	must(t, os.WriteFile(path, bytes, 0o755))
	must(t, os.Chmod(path, mode))
	return path
}

// gateway starts a gateway over data and configuration that belong to a user, and as that user.
func (f field) gateway(t *testing.T, uid int, childUser string) (*gateway, target) {
	t.Helper()
	home, err := os.MkdirTemp(f.dir, "gateway-")
	must(t, err)
	listen, admin := freeAddress(t), freeAddress(t)
	g := &gateway{base: "http://" + listen, admin: "http://" + admin, config: filepath.Join(home, "sallyport.yaml"), data: filepath.Join(home, "data")}
	s := setup{open: true, servers: []guarded{{name: "child", command: []string{f.hostile}, user: childUser, sandbox: "landlock"}}}
	must(t, os.WriteFile(g.config, []byte(s.yaml(listen, admin, g.data)), 0o600))
	for _, path := range []string{home, g.config} {
		must(t, os.Chown(path, uid, uid))
	}
	must(t, os.Chmod(home, 0o755))
	must(t, os.Symlink("/", filepath.Join(home, "everything"))) // a rule for it would allow all
	args := []string{"serve", "--config", g.config}
	if uid != 0 { // becomes that user as a child would
		args = append([]string{"__child", "--user", fmt.Sprintf("%d:%d", uid, uid), "--", f.sallyport}, args...)
	}
	g.process = start(t, environment(t), f.sallyport, args...)
	waitFor(t, g.process, 30*time.Second, "the gateway is ready", func() bool {
		resp, err := http.Get(g.admin + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close() // Only the status counts.
		return resp.StatusCode == http.StatusOK
	})
	return g, f.target(g.cmd.Process.Pid, g.data, g.config, "admin.token")
}

func (f field) target(pid int, data, config, key string) target {
	return target{
		Gateway: pid, Data: data, Key: filepath.Join(data, key), Config: config, Socket: filepath.Join(data, "run", "admin.sock"),
		Abstract: f.abstract, Scratch: f.scratch, Setuid: f.setuid,
	}
}

// lettingLoose calls the hostile child's tool.
func lettingLoose(t *testing.T, g *gateway, what target) []outcomeOf {
	t.Helper()
	text, err := json.Marshal(what)
	must(t, err)
	var args map[string]any
	must(t, json.Unmarshal(text, &args))
	r, err := newClient(g.endpoint("child"), "", legacy).mustConnect(t).call(t.Context(), "attack", args)
	must(t, err)
	var result struct{ Content []struct{ Text string } }
	if err := json.Unmarshal(r.Result, &result); err != nil || len(result.Content) != 1 {
		t.Fatalf("the attack has no result: %v, %s", err, r)
	}
	return outcomes(t, result.Content[0].Text)
}

func outcomes(t *testing.T, text string) (all []outcomeOf) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) < 30 {
		t.Fatalf("the hostile program reported %d outcomes: %v\n%s", len(all), err, text)
	}
	return all
}

// once runs the hostile program to its end, by the command line before it.
func (f field) once(t *testing.T, what target, before ...string) []outcomeOf {
	t.Helper()
	text, err := json.Marshal(what)
	must(t, err)
	line := slices.Concat(before, []string{f.hostile, "-once", string(text)})
	cmd := exec.CommandContext(t.Context(), line[0], line[1:]...)
	cmd.Env, cmd.Dir = environment(t), "/"
	held, err := os.Open(filepath.Join(what.Data, filepath.Base(what.Key)))
	must(t, err)
	defer held.Close()
	cmd.ExtraFiles = []*os.File{held}                    // what a careless gateway would leave open
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as the gateway does: within a session all may send SIGCONT
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v\n%s", line, err, errs.String())
	}
	return outcomes(t, string(out))
}

// TestAcceptHostileChild lets a hostile child loose on the gateway that started it: as the same user under Landlock, as
// another user, and both at once. Nothing may work.
func TestAcceptHostileChild(t *testing.T) {
	f := newField(t)
	can := sandbox.Look()
	t.Logf("this kernel: Landlock ABI %d, missing: %q", can.ABI, can.Missing)
	for _, row := range []struct {
		name     string
		uid      int
		user     string
		landlock bool // the only thing that keeps the child out
		says     string
	}{
		{"same user", nobody, "", true, "this user under Landlock"},
		{"root", 0, "", true, "root under Landlock"},
		{"another user", 0, "nobody", false, "runs as user nobody"},
	} {
		t.Run(row.name, func(t *testing.T) {
			g, what := f.gateway(t, row.uid, row.user)
			want := row.says
			if row.landlock && can.ABI == 0 {
				want = "this system cannot confine it"
			} else if row.landlock && len(can.Missing) > 0 { // named, not skipped
				want = can.Missing[0]
			}
			if out := g.command(t, "check"); !strings.Contains(out, want) {
				t.Errorf("check does not say %q:\n%s", want, out)
			}
			for _, o := range lettingLoose(t, g, what) {
				switch {
				case o.Failed != "":
				case row.landlock && excused(o.Name, can.ABI):
					t.Logf("MISSING in this kernel (Landlock ABI %d): the child could %s", can.ABI, o.Name)
				case o.Name == "connect to an abstract socket" && can.ABI < 6:
				default:
					t.Errorf("the child could %s", o.Name)
				}
			}
			if g.ended() {
				t.Error("the gateway was ended by its child")
			}
		})
	}
}

// excused reports whether an attempt may work under a Landlock of this ABI. What may is what sandbox.Look names.
func excused(attempt string, abi int) bool {
	switch {
	case strings.HasPrefix(attempt, "signal: "), attempt == "connect to an abstract socket":
		return abi < 6
	case attempt == "empty a key":
		return abi < 3
	}
	return abi < 1 && !strings.Contains(attempt, "privileges") && !strings.HasPrefix(attempt, "see an inherited descriptor")
}

// TestHostileChildAsAnotherUserAlone: without Landlock the user must be enough.
func TestHostileChildAsAnotherUserAlone(t *testing.T) {
	f := newField(t)
	_, what := f.gateway(t, 0, "nobody")
	what.Abstract = "" // belongs to no user
	for _, o := range f.once(t, what, f.sallyport, "__child", "--user", "nobody", "--") {
		if o.Failed == "" {
			t.Errorf("the child could %s", o.Name)
		}
	}
}

// TestGatewayIsClosedToItsUser: a process of the same user that nothing confines cannot look into the gateway, since it
// is not dumpable. That holds where there is no Landlock too.
func TestGatewayIsClosedToItsUser(t *testing.T) {
	f := newField(t)
	_, what := f.gateway(t, nobody, "")
	tried := 0
	for _, o := range f.once(t, what, f.sallyport, "__child", "--user", "nobody", "--") {
		if !strings.Contains(o.Name, "the gateway's") && o.Name != "trace the gateway" && o.Name != "take a descriptor of the gateway" {
			continue
		}
		if tried++; o.Failed == "" {
			t.Errorf("a process of the same user could %s", o.Name)
		}
	}
	if tried < 8 {
		t.Errorf("only %d attempts were made", tried)
	}
}

// TestConfinedChildWorks: what an ordinary child does goes on beside what is hidden, within its limits.
func TestConfinedChildWorks(t *testing.T) {
	dir := t.TempDir()
	data, beside := filepath.Join(dir, "data"), filepath.Join(dir, "beside")
	for _, path := range []string{data, beside} {
		must(t, os.Mkdir(path, 0o700))
	}
	const script = `set -e
cd "$1"; mkdir a b; echo text >a/f; mv a/f b/g; ln b/g h; cat h; rm -r a b; ls
echo >/dev/null; head -c 1 /dev/urandom >/dev/null; cat /etc/passwd >/dev/null
ls "$2" 2>/dev/null && echo listed; touch "$2/x" 2>/dev/null && echo touched; touch "$2/../new" 2>/dev/null && echo made
ulimit -c; ulimit -n; grep NoNewPrivs /proc/self/status`
	cmd := exec.CommandContext(t.Context(), sallyport(t), "__child", "--hide", data, "--", "sh", "-c", script, "sh", beside, data)
	cmd.Env = environment(t)
	out, err := cmd.CombinedOutput()
	const want = "text\nh\n0\n4096\nNoNewPrivs:\t1\n"
	if sandbox.Look().ABI >= 2 && (err != nil || string(out) != want) {
		t.Errorf("%v\n%s\nwant\n%s", err, out, want)
	}
}

// TestHostileAttemptsAreReal: each attempt works where nothing confines it, against a decoy. Those that some machines
// refuse to root itself are left out.
func TestHostileAttemptsAreReal(t *testing.T) {
	f := newField(t)
	data := filepath.Join(f.dir, "decoy")
	config := filepath.Join(f.dir, "decoy.yaml")
	must(t, os.MkdirAll(filepath.Join(data, "run"), 0o700))
	for _, path := range []string{config, filepath.Join(data, "admin.token")} {
		must(t, os.WriteFile(path, []byte("decoy"), 0o600))
	}
	listener, err := net.Listen("unix", filepath.Join(data, "run", "admin.sock"))
	must(t, err)
	admin := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") })}
	go func() { _ = admin.Serve(listener) }() // ends with Close
	t.Cleanup(func() { _ = admin.Close() })
	victim := start(t, environment(t), "sleep", "60")
	for _, o := range f.once(t, f.target(victim.cmd.Process.Pid, data, config, "admin.token")) {
		if o.Failed != "" && !slices.Contains([]string{"mount", "make a device", "configure the kernel", "read a disk"}, o.Name) {
			t.Errorf("an attempt proves nothing, since it fails without a sandbox too: %s: %s", o.Name, o.Failed)
		}
	}
}
