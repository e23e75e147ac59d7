//go:build unix

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// used returns what this process has used so far (getrusage(2)). Memory is read from /proc, which Linux alone has.
func used() (u usage, err error) {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return u, fmt.Errorf("asking for the use of resources: %w", err)
	}
	u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return u, nil // no Linux: the time is there, the memory is shown as 0
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		switch {
		case err != nil:
		case fields[0] == "VmRSS:":
			u.RSS = n << 10
		case fields[0] == "VmHWM:":
			u.Peak = n << 10
		}
	}
	return u, nil
}
