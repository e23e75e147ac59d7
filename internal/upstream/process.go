package upstream

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// How long a child is waited for at each step of its end.
const (
	graceAfterStdin = time.Second            // an MCP server ends when its stdin does
	graceAfterTerm  = 5 * time.Second        // to clean up
	graceAtOnce     = 500 * time.Millisecond // instead of both when access was withdrawn
	graceForPipes   = time.Second            // for what a dead child has left in its pipes
)

// process is one child with its three pipes. The child leads a process group of its own, which is killed whole.
type process struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	stderr *os.File
	exited chan struct{} // closed when the child is gone and its group killed
	state  string        // how it ended; read after exited

	drained chan struct{} // closed by the owner when it has read both pipes to their ends

	mu     sync.Mutex
	reaped bool // guarded by mu
}

// spawner starts processes from one thread that lives as long as it: the kernel sends a child its parent-death signal
// when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG), so that thread must not be one that the runtime
// may retire.
type spawner struct {
	requests chan func()
	stopped  chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan func()), stopped: make(chan struct{})}
	go func() {
		defer close(s.stopped)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for f := range s.requests {
			f()
		}
	}()
	return s
}

// start runs cmd.Start on the spawner's thread. It must not be called after stop.
func (s *spawner) start(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	s.requests <- func() { done <- cmd.Start() }
	return <-done
}

// stop is called once, when no child lives any more.
func (s *spawner) stop() {
	close(s.requests)
	<-s.stopped
}

// launch starts argv. The child inherits the three pipes and nothing else, and its environment is env.
func launch(s *spawner, argv, env []string, dir string) (*process, error) {
	cmd := exec.Command(argv[0], argv[1:]...) // no shell; argv comes from configuration only
	cmd.Env, cmd.Dir = env, dir
	isolate(cmd)
	p := &process{cmd: cmd, exited: make(chan struct{}), drained: make(chan struct{})}
	theirs, err := p.pipes()
	if err == nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
		sealDescriptors()
		err = s.start(cmd)
	}
	for _, f := range theirs {
		_ = f.Close() // the child has its own copy
	}
	if err != nil {
		p.closePipes()
		return nil, fmt.Errorf("starting %s: %w", argv[0], err)
	}
	go p.wait()
	return p, nil
}

// pipes makes the three pipes, keeps our ends and returns the child's.
func (p *process) pipes() (theirs []*os.File, err error) {
	var r, w *os.File
	if r, p.stdin, err = os.Pipe(); err != nil {
		return nil, err
	}
	theirs = append(theirs, r)
	for _, ours := range []**os.File{&p.stdout, &p.stderr} {
		if *ours, w, err = os.Pipe(); err != nil {
			return theirs, err
		}
		theirs = append(theirs, w)
	}
	return theirs, nil
}

func (p *process) closePipes() {
	for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
		if f != nil {
			_ = f.Close() // already closed is fine
		}
	}
}

// wait takes the child's exit, and closes our ends of the pipes once all that was in them has been read, or after a
// grace in case a descendant that escaped the group still holds the others.
func (p *process) wait() {
	p.state = "exit status 0"
	if err := p.reap(); err != nil {
		p.state = err.Error()
	}
	close(p.exited)
	t := time.NewTimer(graceForPipes)
	defer t.Stop()
	select {
	case <-p.drained:
	case <-t.C:
	}
	p.closePipes()
}

// signal gives the group a signal unless its number may by now belong to somebody else.
func (p *process) signal(send func(*exec.Cmd)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		send(p.cmd)
	}
}

// stop ends the child: stdin is closed, then the group gets SIGTERM, then SIGKILL. It returns when the child is gone.
func (p *process) stop(atOnce bool) {
	_ = p.stdin.Close() // already closed is fine
	if !atOnce && p.gone(graceAfterStdin) {
		return
	}
	p.signal(terminateGroup)
	grace := graceAfterTerm
	if atOnce {
		grace = graceAtOnce
	}
	if !p.gone(grace) {
		p.signal(killGroup)
		<-p.exited
	}
}

func (p *process) gone(within time.Duration) bool {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-p.exited:
		return true
	case <-t.C:
		return false
	}
}

// environment is what a child gets: four harmless variables of ours and those configured for it, which win.
func environment(configured map[string]string) []string {
	all := make(map[string]string)
	for _, name := range inherited {
		if v, ok := os.LookupEnv(name); ok {
			all[name] = v
		}
	}
	for name, v := range configured {
		all[name] = v
	}
	env := make([]string, 0, len(all))
	for name, v := range all {
		env = append(env, name+"="+v)
	}
	slices.Sort(env)
	return env
}

// checkEnvironment refuses variables that no environment can hold.
func checkEnvironment(configured map[string]string) error {
	for name, v := range configured {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(v, "\x00") {
			return errors.New("environment variable " + name + " has an empty name, '=' or NUL")
		}
	}
	return nil
}
