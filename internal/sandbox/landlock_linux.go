package sandbox

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Rights of Landlock (landlock(7)) by what they apply to. Those to make devices are in handled alone: nobody gets them.
const (
	readOnly  = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	makeNodes = unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
	onFiles   = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_READ_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	inDirectories = unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER
)

// abis lists what later versions of Landlock added, and what a child can do where the kernel lacks it.
var abis = [...]struct {
	abi     int
	rights  uint64
	scopes  uint64
	missing string
}{
	{2, unix.LANDLOCK_ACCESS_FS_REFER, 0, ""}, // without it moving and linking across directories is refused
	{3, unix.LANDLOCK_ACCESS_FS_TRUNCATE, 0, "empty hidden files (truncation, Linux 6.2)"},
	{5, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV, 0, ""}, // hidden files are no devices
	{6, 0, unix.LANDLOCK_SCOPE_SIGNAL, "send signals to the gateway (signal scope, Linux 6.12)"},
	{6, 0, unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, "connect to abstract unix sockets (socket scope, Linux 6.12)"},
}

// version returns the ABI of the kernel's Landlock, 0 where there is none or it is switched off.
func version() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

// Look returns what the running kernel can do.
func Look() Confinement { return look(version()) }

func look(abi int) Confinement {
	c := Confinement{ABI: abi}
	if abi < 1 {
		c.Missing = append(c.Missing, "read and write hidden files (no Landlock, Linux 5.13)")
	}
	for _, a := range abis {
		if abi < a.abi && a.missing != "" {
			c.Missing = append(c.Missing, a.missing)
		}
	}
	return c
}

// supported returns what a rule set of this ABI handles.
func supported(abi int) unix.LandlockRulesetAttr {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: onFiles | inDirectories | makeNodes}
	for _, a := range abis {
		if abi < a.abi {
			attr.Handled_access_fs &^= a.rights
		} else {
			attr.Scoped |= a.scopes
		}
	}
	return attr
}

// newRuleSet allows everything but the hidden paths, and returns the descriptor of the rule set; -1 without Landlock.
func newRuleSet(hidden []string, root bool) (int, error) {
	abi := version()
	if abi < 1 {
		return -1, nil
	}
	attr := supported(abi)
	size := unsafe.Sizeof(attr.Handled_access_fs)
	if abi >= 4 {
		size += unsafe.Sizeof(attr.Handled_access_net)
	}
	if abi >= 6 {
		size += unsafe.Sizeof(attr.Scoped)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return -1, errno
	}
	w := walk{set: int(fd), handled: attr.Handled_access_fs &^ makeNodes, hidden: hidden, root: root}
	top, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("opening /: %w", err)
	}
	defer unix.Close(top) //nolint:errcheck // opened for its place only
	return int(fd), w.open(top, "/")
}

// devices are what a child finds in /dev. A disk there would hold the hidden files too.
var devices = [...]string{"null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "dri", "snd"}

// walk adds rules to a set. Landlock only allows, and a rule for a directory holds for all below it: so the directories
// on the way to what is hidden get no rule, and everything that lies beside that way gets one of its own.
type walk struct {
	set     int
	handled uint64 // rights to give
	hidden  []string
	root    bool // the child stays root: what configures the kernel is not for it to write
}

// open goes through a directory on the way. Names that cannot be listed are not allowed; the way itself is known.
func (w *walk) open(dir int, path string) error {
	names := w.onTheWay(path)
	if path == "/dev" {
		names = append(names, devices[:]...)
	} else {
		names = append(names, list(dir)...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if err := w.entry(dir, filepath.Join(path, name), name); err != nil {
			return err
		}
	}
	return nil
}

// entry allows one entry of a directory on the way, or goes on along it. Links are never followed: whoever could change
// one would choose what is allowed.
func (w *walk) entry(dir int, path, name string) error {
	if slices.Contains(w.hidden, path) {
		return nil
	}
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil //nolint:nilerr // gone, or not ours to see: not allowed then
	}
	defer unix.Close(fd) //nolint:errcheck // opened for its place only
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil //nolint:nilerr // some mounts answer their owner alone: not allowed then
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFLNK, unix.S_IFBLK:
		return nil
	case unix.S_IFDIR:
		if path == "/dev" || len(w.onTheWay(path)) > 0 {
			return w.open(fd, path)
		}
		return w.allow(fd, path, w.rights(path))
	}
	return w.allow(fd, path, w.rights(path)&onFiles)
}

// rights returns what may be done at and below a path.
func (w *walk) rights(path string) uint64 {
	for _, kernel := range []string{"/proc", "/sys"} {
		if w.root && (path == kernel || strings.HasPrefix(path, kernel+"/")) {
			return readOnly
		}
	}
	return w.handled
}

func (w *walk) allow(fd int, path string, rights uint64) error {
	rule := unix.LandlockPathBeneathAttr{Allowed_access: rights & w.handled, Parent_fd: int32(fd)}
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(w.set), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 && !errors.Is(errno, unix.EBADFD) { // sockets' and pipes' own file systems take no rules
		return fmt.Errorf("allowing %s: %w", path, errno)
	}
	return nil
}

// onTheWay returns the names below a directory that lead to something hidden.
func (w *walk) onTheWay(path string) (names []string) {
	prefix := strings.TrimSuffix(path, "/") + "/"
	for _, h := range w.hidden {
		if rest, below := strings.CutPrefix(h, prefix); below && rest != "" {
			name, _, _ := strings.Cut(rest, "/")
			names = append(names, name)
		}
	}
	return names
}

// list returns the names in a directory, as far as it may be read.
func list(dir int) []string {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd) //nolint:errcheck // read only
	var names []string
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			return names
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
}
