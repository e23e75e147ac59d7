package sandbox

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLookNamesWhatIsMissing: for every version of the kernel's Landlock.
func TestLookNamesWhatIsMissing(t *testing.T) {
	for abi, want := range []string{
		0: "no Landlock truncation signal abstract", 1: "truncation signal abstract", 2: "truncation signal abstract",
		3: "signal abstract", 4: "signal abstract", 5: "signal abstract", 6: "", 7: "", 8: "",
	} {
		c := look(abi)
		all := strings.Join(c.Missing, "; ")
		for _, word := range []string{"no Landlock", "truncation", "signal", "abstract"} {
			if strings.Contains(want, word) != strings.Contains(all, word) {
				t.Errorf("ABI %d: %q, want %q", abi, all, want)
			}
		}
	}
}

// TestRuleSetAsksForWhatTheKernelKnows: an older kernel refuses a rule set with a right it has never heard of.
func TestRuleSetAsksForWhatTheKernelKnows(t *testing.T) {
	for abi, want := range map[int]struct{ rights, scopes uint64 }{
		1: {0x1fff, 0}, 2: {0x3fff, 0}, 3: {0x7fff, 0}, 4: {0x7fff, 0}, 5: {0xffff, 0}, 6: {0xffff, 3}, 7: {0xffff, 3},
	} {
		got := supported(abi)
		if got.Handled_access_fs != want.rights || got.Scoped != want.scopes || got.Handled_access_net != 0 {
			t.Errorf("ABI %d: %+v", abi, got)
		}
	}
}

// TestRootMayNotConfigureTheKernel: writing there lets root start programs outside.
func TestRootMayNotConfigureTheKernel(t *testing.T) {
	for path, kernel := range map[string]bool{"/proc": true, "/proc/sys": true, "/sys": true, "/process": false, "/srv/proc": false, "/": false} {
		w := walk{handled: supported(7).Handled_access_fs, root: true}
		if got := w.rights(path)&unix.LANDLOCK_ACCESS_FS_WRITE_FILE == 0; got != kernel {
			t.Errorf("%s: read only is %v", path, got)
		}
		if w.root = false; w.rights(path)&unix.LANDLOCK_ACCESS_FS_WRITE_FILE == 0 {
			t.Errorf("%s: the user's own rights decide for others than root", path)
		}
	}
}
