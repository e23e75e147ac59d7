//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// attempt is one thing a child must not be able to do.
type attempt struct {
	name string
	try  func() error
}

// attempts are in an order that does no harm to later ones: what would end the gateway comes last.
func attempts(t Target, held []string) []attempt {
	all := append(files(t), others(t, held)...)
	return append(append(all, process(t)...), signals(t)...)
}

func files(t Target) []attempt {
	aside := filepath.Join(t.Scratch, "aside"+strconv.Itoa(os.Getpid()))
	link := aside + ".link"
	return []attempt{
		{"list the data directory", func() error { _, err := os.ReadDir(t.Data); return err }},
		{"read a key", func() error { return read(t.Key) }},
		{"read a key through a link", func() error { return errors.Join(os.Symlink(t.Key, link), read(link)) }},
		{"read a key through /proc/self/root", func() error { return read("/proc/self/root" + t.Key) }},
		{"read a key through a working directory", func() error { return errors.Join(os.Chdir(t.Data), read(filepath.Base(t.Key))) }},
		{"open a key for writing", func() error { return open(t.Key, os.O_WRONLY) }},
		{"empty a key", func() error { return os.Truncate(t.Key, 1<<20) }},
		{"link a key elsewhere", func() error { return os.Link(t.Key, aside+".hard") }},
		{"move a key elsewhere", func() error { return errors.Join(os.Rename(t.Key, aside), os.Rename(aside, t.Key)) }},
		{"make a file in the data directory", func() error { return os.WriteFile(filepath.Join(t.Data, "planted"), nil, 0o600) }},
		{"make a directory in the data directory", func() error { return os.Mkdir(filepath.Join(t.Data, "planted.d"), 0o700) }},
		{"move the data directory", func() error { return errors.Join(os.Rename(t.Data, t.Data+"x"), os.Rename(t.Data+"x", t.Data)) }},
		{"read the configuration", func() error { return read(t.Config) }},
		{"open the configuration for writing", func() error { return open(t.Config, os.O_WRONLY) }},
		{"replace the configuration", func() error {
			return errors.Join(os.WriteFile(aside+".yaml", nil, 0o600), os.Rename(aside+".yaml", t.Config))
		}},
		{"use the admin socket", func() error { return administer(t) }},
		{"remove the admin socket", func() error { return os.Remove(t.Socket) }},
	}
}

func read(path string) error { _, err := os.ReadFile(path); return err }

func open(path string, how int) error {
	f, err := os.OpenFile(path, how, 0)
	if err == nil {
		err = f.Close()
	}
	return err
}

// administer asks for the list of keys, with the token if that can be had.
func administer(t Target) error {
	token, _ := os.ReadFile(filepath.Join(t.Data, "admin.token"))
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", t.Socket)
	}}}
	req, err := http.NewRequest(http.MethodPost, "http://gateway/v1/keys.list", strings.NewReader("{}"))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+strings.Trim(string(token), "\n\x00"))
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%d %s", resp.StatusCode, body)
	}
	return nil
}

// others are attempts that go neither at the gateway's files nor at its process.
func others(t Target, held []string) []attempt {
	all := []attempt{
		{"see an inherited descriptor " + strings.Join(held, " "), func() error {
			if len(held) == 0 {
				return errors.New("none")
			}
			return nil
		}},
		{"gain privileges from a setuid program", func() error {
			out, err := exec.Command(t.Setuid, "-whoami").Output()
			if err == nil && string(out) != whole {
				err = fmt.Errorf("it ran as %s", out)
			}
			return err
		}},
		{"become root", func() error {
			if err := syscall.Setuid(0); err != nil || whoami() == whole {
				return err
			}
			return errors.New(whoami())
		}},
		{"mount", func() error { return unix.Mount(t.Data, t.Scratch, "", unix.MS_BIND, "") }},
		{"make a device", func() error {
			return unix.Mknod(filepath.Join(t.Scratch, "disk"), unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0)))
		}},
		{"configure the kernel", func() error { return open("/proc/sys/kernel/core_pattern", os.O_WRONLY) }},
		{"read a disk", readDisk},
	}
	if t.Abstract == "" {
		return all
	}
	return append(all, attempt{"connect to an abstract socket", func() error {
		c, err := net.Dial("unix", "@"+t.Abstract)
		if err == nil {
			err = c.Close()
		}
		return err
	}})
}

// whole is what whoami says of root as it is.
const whole = "0, powerful"

// whoami says which user this process is, and whether it has capabilities beyond those for files of others.
func whoami() string {
	const overFiles = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&head, &have[0]); err != nil {
		return err.Error()
	}
	if (have[0].Permitted|have[0].Inheritable)&^overFiles|have[1].Permitted|have[1].Inheritable != 0 {
		return strconv.Itoa(os.Geteuid()) + ", powerful"
	}
	return strconv.Itoa(os.Geteuid())
}

func readDisk() error {
	disks, _ := filepath.Glob("/sys/class/block/*")
	err := errors.New("there is none")
	for _, d := range disks {
		if err = open(filepath.Join("/dev", filepath.Base(d)), os.O_RDONLY); err == nil {
			return nil
		}
	}
	return err
}

// inherited returns what lies behind the descriptors above stderr that this process was started with.
func inherited() (held []string) {
	for fd := 3; fd < 1024; fd++ {
		at := "/proc/self/fd/" + strconv.Itoa(fd)
		target, err := os.Readlink(at)
		runtimes := strings.HasPrefix(target, "anon_inode:") || strings.HasPrefix(target, "/sys/fs/cgroup/") // Go's own
		if err == nil && !runtimes {
			held = append(held, target)
		}
	}
	return held
}

func process(t Target) []attempt {
	proc := fmt.Sprintf("/proc/%d/", t.Gateway)
	return []attempt{
		{"read the gateway's environment", func() error { return read(proc + "environ") }},
		{"read the gateway's memory map", func() error { return read(proc + "maps") }},
		{"open the gateway's memory", func() error { return open(proc+"mem", os.O_RDWR) }},
		{"see what the gateway's descriptors are", func() error { _, err := os.Readlink(proc + "fd/0"); return err }},
		{"enter the gateway's root", func() error { _, err := os.ReadDir(proc + "root/"); return err }},
		{"take a descriptor of the gateway", func() error {
			pidfd, err := unix.PidfdOpen(t.Gateway, 0)
			if err == nil {
				_, err = unix.PidfdGetfd(pidfd, 0, 0)
			}
			return err
		}},
		{"copy the gateway's memory", func() error {
			var here [8]byte
			local := []unix.Iovec{{Base: &here[0], Len: 8}}
			_, err := unix.ProcessVMReadv(t.Gateway, local, []unix.RemoteIovec{{Base: 0x1000, Len: 8}}, 0)
			if errors.Is(err, unix.EFAULT) { // let in; only the address was bad
				err = nil
			}
			return err
		}},
		{"trace the gateway", func() error {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			return unix.PtraceSeize(t.Gateway) // ends with us
		}},
	}
}

func signals(t Target) []attempt {
	return []attempt{
		{"signal: find the gateway", func() error { return unix.Kill(t.Gateway, 0) }},
		{"signal: continue the gateway", func() error { return unix.Kill(t.Gateway, unix.SIGCONT) }},
		{"signal: its main thread", func() error { return unix.Tgkill(t.Gateway, t.Gateway, unix.SIGCONT) }},
		{"signal: through a descriptor", func() error {
			pidfd, err := unix.PidfdOpen(t.Gateway, 0)
			if err == nil {
				err = unix.PidfdSendSignal(pidfd, unix.SIGCONT, nil, 0)
			}
			return err
		}},
		{"signal: end the gateway", func() error { return unix.Kill(t.Gateway, unix.SIGTERM) }},
	}
}
