package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	role     string // of a child of this program; empty for the program itself
	config   string // role gateway: its configuration file
	upstream string // role baseline: where to send
	profile  string // directory for CPU profiles of the gateways; empty: none
	only     string // part of the name of the cases to run; empty: all
	rounds   int
	duration time.Duration // of one round against one target
	json     bool
}

func main() {
	var o options
	flag.StringVar(&o.role, "role", "", "used by the program to start itself")
	flag.StringVar(&o.config, "config", "", "used by the program to start itself")
	flag.StringVar(&o.upstream, "upstream", "", "used by the program to start itself")
	flag.StringVar(&o.profile, "cpuprofile", "", "write CPU profiles of the gateways to this `directory`")
	flag.StringVar(&o.only, "only", "", "run only the cases with this `text` in their name")
	flag.IntVar(&o.rounds, "rounds", 5, "interleaved rounds of each case")
	flag.DurationVar(&o.duration, "duration", 1500*time.Millisecond, "length of one round against one target")
	flag.BoolVar(&o.json, "json", false, "print JSON instead of tables")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	switch o.role {
	case "upstream":
		return serveChild(upstreamHandler())
	case "baseline":
		return baseline(o.upstream)
	case "gateway":
		return gateway(ctx, o)
	case "":
		return measure(ctx, o)
	}
	return fmt.Errorf("no role %q", o.role)
}

// measure is the whole run. It is bounded: every case takes rounds x 4 x duration, and a target that hangs fails it.
func measure(ctx context.Context, o options) error {
	if o.rounds < 1 || o.duration <= 0 {
		return errors.New("rounds and duration must be positive")
	}
	limit := time.Minute + time.Duration(len(cases)*(o.rounds+1)*4)*(o.duration+5*time.Second)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	f, err := openField(ctx, o)
	if err != nil {
		return err
	}
	defer f.close()
	r := &report{Rounds: o.rounds, Seconds: o.duration.Seconds(), Machine: machine()}
	for _, c := range cases {
		if !strings.Contains(c.Name, o.only) {
			continue
		}
		if !o.json {
			fmt.Fprintf(os.Stderr, "%s ...\n", c.Name)
		}
		if err := f.play(ctx, o, c, r); err != nil {
			return err
		}
	}
	if err := r.addMemory(f); err != nil {
		return err
	}
	if o.json {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(r)
	} else {
		err = r.print(os.Stdout)
	}
	if r.Wrong > 0 {
		return fmt.Errorf("%d wrong answers", r.Wrong)
	}
	return err
}
