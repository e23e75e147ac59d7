package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// report is what a run found. Times are in microseconds, memory in MiB.
type report struct {
	Machine string   `json:"machine"`
	Rounds  int      `json:"rounds"`
	Seconds float64  `json:"seconds"` // of one round against one target
	Rows    []*row   `json:"rows"`
	Memory  []memory `json:"memory"`
	Wrong   int      `json:"wrong"` // answers that were not what was asked for
}

// row is one case against one form of the gateway.
type row struct {
	Case     string  `json:"case"`
	Audit    string  `json:"audit"`
	Ratio    spread  `json:"ratio"` // calls a second, gateway to baseline of the same round
	Baseline spread  `json:"baseline_per_second"`
	Gateway  spread  `json:"gateway_per_second"`
	CPUBase  spread  `json:"baseline_cpu_us"` // of the proxy, a call
	CPU      spread  `json:"gateway_cpu_us"`
	P50      spread  `json:"gateway_p50_us"`
	P99      spread  `json:"gateway_p99_us"`
	P50Base  spread  `json:"baseline_p50_us"`
	P99Base  spread  `json:"baseline_p99_us"`
	Loaded   float64 `json:"gateway_loaded_mib"` // most seen after a round
}

// spread is the rounds of one figure.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	all    []float64
}

func (s *spread) add(v float64) {
	s.all = append(s.all, v)
	sorted := slices.Sorted(slices.Values(s.all))
	n := len(sorted)
	s.Min, s.Max, s.Median = sorted[0], sorted[n-1], (sorted[(n-1)/2]+sorted[n/2])/2
}

// memory is what one process holds.
type memory struct {
	Process string  `json:"process"`
	Idle    float64 `json:"idle_mib"` // before any load
	After   float64 `json:"after_mib"`
	Peak    float64 `json:"peak_mib"`
}

// add takes up one pair of rounds. A warm-up counts only for wrong answers.
func (r *report) add(c test, audit string, base, got *sample, warmUp bool) {
	r.Wrong += base.wrong + got.wrong
	if warmUp {
		return
	}
	i := slices.IndexFunc(r.Rows, func(w *row) bool { return w.Case == c.Name && w.Audit == audit })
	if i < 0 {
		r.Rows = append(r.Rows, &row{Case: c.Name, Audit: audit})
		i = len(r.Rows) - 1
	}
	w := r.Rows[i]
	w.Ratio.add(got.perSecond() / base.perSecond())
	w.Baseline.add(base.perSecond())
	w.Gateway.add(got.perSecond())
	w.CPUBase.add(us(base.cpu))
	w.CPU.add(us(got.cpu))
	w.P50Base.add(us(base.quantile(0.5)))
	w.P99Base.add(us(base.quantile(0.99)))
	w.P50.add(us(got.quantile(0.5)))
	w.P99.add(us(got.quantile(0.99)))
	w.Loaded = max(w.Loaded, mib(got.memory))
}

// addMemory asks every process what it holds after the load.
func (r *report) addMemory(f *field) error {
	for _, t := range append([]*target{f.baseline}, f.gateways...) {
		u, err := t.child.usage()
		if err != nil {
			return err
		}
		r.Memory = append(r.Memory, memory{Process: t.name, Idle: mib(t.idle.RSS), After: mib(u.RSS), Peak: mib(u.Peak)})
	}
	return nil
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
func mib(bytes int64) float64    { return float64(bytes) / (1 << 20) }

func machine() string {
	name, err := os.Hostname()
	if err != nil {
		name = "a machine"
	}
	return fmt.Sprintf("%s: %s/%s, %d processors, %s", name, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

// print writes the tables.
func (r *report) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s; %d rounds of %.1f s each\n\n", r.Machine, r.Rounds, r.Seconds)
	fmt.Fprintln(w, "case\taudit\tratio (min to max)\tcalls/s\tbaseline\tCPU us/call\tbaseline\tp50 ms\tp99 ms\tbaseline p99")
	for _, row := range r.Rows {
		fmt.Fprintf(w, "%s\t%s\t%.2f (%.2f to %.2f)\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\n", row.Case, row.Audit,
			row.Ratio.Median, row.Ratio.Min, row.Ratio.Max, row.Gateway.Median, row.Baseline.Median,
			row.CPU.Median, row.CPUBase.Median, row.P50.Median/1000, row.P99.Median/1000, row.P99Base.Median/1000)
	}
	fmt.Fprintln(w, "\nprocess\tidle MiB\tafter the load\tpeak")
	for _, m := range r.Memory {
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\n", m.Process, m.Idle, m.After, m.Peak)
	}
	fmt.Fprintf(w, "\nwrong answers: %d\n", r.Wrong)
	return w.Flush()
}
