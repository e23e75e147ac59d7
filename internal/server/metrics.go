package server

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sallyport-mcp/sallyport/internal/admin"
)

// metrics reads the guard's figures when it is asked. Labels are bounded: configured servers, kinds and outcomes.
type metrics struct {
	stats   func() admin.Stats
	expires func() time.Time // of the certificate; nil without TLS

	events, seconds, queued, lost, streams, children, expiry *prometheus.Desc
}

var _ prometheus.Collector = (*metrics)(nil)

func newMetrics(stats func() admin.Stats, expires func() time.Time) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("sallyport_"+name, help, labels, nil)
	}
	return &metrics{
		stats: stats, expires: expires,
		events:   desc("events_total", "Audit events since the start: one per decision.", "server", "kind", "outcome"),
		seconds:  desc("event_seconds_total", "Sum of the durations of events; of call_completed, the time of calls.", "server", "kind", "outcome"),
		queued:   desc("audit_queue", "Audit events that wait for the disk."),
		lost:     desc("audit_lost_total", "Audit events that could not be kept."),
		streams:  desc("streams", "Open streams of clients."),
		children: desc("children", "Running child processes."),
		expiry:   desc("certificate_expiry_seconds", "When the TLS certificate in use ends, in seconds since 1970."),
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.stats()
	for _, e := range s.Events {
		labels := []string{e.Server, string(e.Kind), string(e.Outcome)}
		ch <- prometheus.MustNewConstMetric(m.events, prometheus.CounterValue, float64(e.Count), labels...)
		if e.Seconds > 0 {
			ch <- prometheus.MustNewConstMetric(m.seconds, prometheus.CounterValue, e.Seconds, labels...)
		}
	}
	ch <- prometheus.MustNewConstMetric(m.queued, prometheus.GaugeValue, float64(s.AuditQueued))
	ch <- prometheus.MustNewConstMetric(m.lost, prometheus.CounterValue, float64(s.AuditLost))
	ch <- prometheus.MustNewConstMetric(m.streams, prometheus.GaugeValue, float64(s.Streams))
	ch <- prometheus.MustNewConstMetric(m.children, prometheus.GaugeValue, float64(s.Children))
	if m.expires != nil {
		ch <- prometheus.MustNewConstMetric(m.expiry, prometheus.GaugeValue, float64(m.expires().Unix()))
	}
}

// adminHandler serves health, readiness and metrics. ready says why the program cannot serve, or nil.
func adminHandler(m *metrics, ready func(context.Context) error) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if err := ready(ctx); err != nil {
			reply(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
			return
		}
		reply(w, http.StatusOK, "ready")
	})
	return localOnly(mux)
}

func reply(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // a caller who left needs no answer
}

// localOnly refuses what a web page could send here: names that resolve to loopback (DNS rebinding) and other origins.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if loopback, ok := isLoopback(hostPort(r.Host)); !ok || !loopback || r.Header.Get("Origin") != "" {
			reply(w, http.StatusForbidden, "only from this machine")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostPort adds a port to a Host header without one.
func hostPort(host string) string {
	if _, ok := isLoopback(host); ok {
		return host
	}
	return host + ":80"
}
