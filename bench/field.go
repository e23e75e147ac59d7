package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// test is one load: what issue and documents call a case.
type test struct {
	Name    string
	Callers int
	Bytes   int // of the argument
}

// cases are the loads that are measured.
var cases = []test{
	{"64 B, 16 callers", 16, 64},
	{"64 B, 64 callers", 64, 64},
	{"64 KiB, 16 callers", 16, 64 << 10},
}

// field is everything that was started: an upstream and the three ways to it.
type field struct {
	dir      string
	upstream *child
	baseline *target
	gateways []*target // async, durable
	children []*child  // in the order of starting
}

// openField starts all processes. What was started is stopped again when it fails.
func openField(ctx context.Context, o options) (_ *field, err error) {
	f := &field{}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if f.dir, err = os.MkdirTemp("", "sallyport-bench-"); err != nil {
		return nil, fmt.Errorf("making a directory: %w", err)
	}
	if f.upstream, err = f.start(ctx, "upstream", "-role", "upstream"); err != nil {
		return nil, err
	}
	c, err := f.start(ctx, "baseline", "-role", "baseline", "-upstream", f.upstream.url)
	if err != nil {
		return nil, err
	}
	if f.baseline, err = newTarget(c, c.url, ""); err != nil {
		return nil, err
	}
	for _, mode := range []string{"async", "durable"} {
		if err := f.startGateway(ctx, o, mode); err != nil {
			return nil, err
		}
	}
	time.Sleep(time.Second) // what starting needed is given back
	for _, t := range append(f.gateways, f.baseline) {
		if t.idle, err = t.child.usage(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *field) start(ctx context.Context, name string, args ...string) (*child, error) {
	c, err := startChild(ctx, name, args...)
	if err == nil {
		f.children = append(f.children, c)
	}
	return c, err
}

func (f *field) startGateway(ctx context.Context, o options, mode string) error {
	config, err := configure(f.dir, mode, f.upstream.url)
	if err != nil {
		return err
	}
	args := []string{"-role", "gateway", "-config", config.file}
	if o.profile != "" {
		args = append(args, "-cpuprofile", filepath.Join(o.profile, mode+".prof"))
	}
	c, err := f.start(ctx, mode, args...)
	if err != nil {
		return err
	}
	if err := waitReady(ctx, config.admin); err != nil {
		return err
	}
	key, err := config.newKey(ctx)
	if err != nil {
		return err
	}
	t, err := newTarget(c, config.url, key)
	f.gateways = append(f.gateways, t)
	return err
}

func newTarget(c *child, address, key string) (*target, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("reading the address of %s: %w", c.name, err)
	}
	return &target{name: c.name, child: c, url: u, key: key}, nil
}

// close stops everything in the reverse order of starting.
func (f *field) close() {
	for _, t := range append(f.gateways, f.baseline) {
		if t != nil {
			t.hangUp()
		}
	}
	for i := len(f.children) - 1; i >= 0; i-- {
		if err := f.children[i].close(); err != nil {
			fmt.Fprintf(os.Stderr, "stopping %s: %v\n", f.children[i].name, err)
		}
	}
	if f.dir != "" {
		_ = os.RemoveAll(f.dir) // a temporary directory
	}
}

// play runs the rounds of one case and adds them to the report. The first round only warms up.
func (f *field) play(ctx context.Context, o options, c test, r *report) error {
	for round := range o.rounds + 1 {
		for _, g := range f.gateways {
			base, err := f.one(ctx, f.baseline, c, o.duration)
			if err != nil {
				return err
			}
			got, err := f.one(ctx, g, c, o.duration)
			if err != nil {
				return err
			}
			r.add(c, g.name, base, got, round == 0)
		}
	}
	return nil
}

// sample is one round against one target with what it cost.
type sample struct {
	*result
	cpu    time.Duration // of the target, a call
	memory int64         // resident after the round
}

func (f *field) one(ctx context.Context, t *target, c test, d time.Duration) (*sample, error) {
	before, err := t.child.usage()
	if err != nil {
		return nil, err
	}
	got, err := t.load(ctx, c.Callers, c.Bytes, d)
	if err != nil {
		return nil, err
	}
	after, err := t.child.usage()
	if err != nil {
		return nil, err
	}
	return &sample{result: got, cpu: (after.CPU - before.CPU) / time.Duration(max(got.calls, 1)), memory: after.RSS}, nil
}
