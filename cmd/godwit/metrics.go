package main

import (
	"context"
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/godwitdb/godwit/replica"
)

// collector reads a hub's metrics when Prometheus asks. What they mean stands with
// replica.Metrics; no label names a space or a peer.
type collector struct {
	hub *replica.Hub
	log *slog.Logger
}

// series is a metric's name, its help and its labels.
type series struct {
	name, help string
	labels     []string
}

func (s series) desc() *prometheus.Desc {
	return prometheus.NewDesc("godwit_"+s.name, s.help, s.labels, nil)
}

// The series, as functions of what is measured.
type (
	single struct {
		series
		kind prometheus.ValueType
		of   func(*replica.Metrics) float64
	}
	grouped struct {
		series
		of     func(*replica.Metrics) []map[string]int64 // one for each of values
		values []string                                  // of the first of two labels; nil: there is one label
	}
)

func singles() []single {
	gauge := func(name, help string, of func(*replica.Metrics) float64) single {
		return single{series{name, help, nil}, prometheus.GaugeValue, of}
	}
	counter := func(name, help string, of func(*replica.Metrics) float64) single {
		return single{series{name, help, nil}, prometheus.CounterValue, of}
	}
	return []single{
		gauge("spaces_open", "Spaces that are open.", func(m *replica.Metrics) float64 { return float64(m.Spaces) }),
		gauge("sessions", "Sessions with peers, past the handshake.", func(m *replica.Metrics) float64 { return float64(m.Sessions) }),
		gauge("lag_changes", "Changes that connected peers have not acknowledged, over all of them.", func(m *replica.Metrics) float64 { return float64(m.Lag) }),
		gauge("lag_changes_max", "Changes that the connected peer furthest behind has not acknowledged.", func(m *replica.Metrics) float64 { return float64(m.LagMax) }),
		gauge("parked_sets", "Change sets that wait for a dependency, in open spaces.", func(m *replica.Metrics) float64 { return float64(m.Parked) }),
		gauge("quarantined_changes", "Refused changes that are kept, in open spaces.", func(m *replica.Metrics) float64 { return float64(m.Quarantined) }),
		counter("received_bytes_total", "Bytes of frames from peers.", func(m *replica.Metrics) float64 { return float64(m.BytesReceived) }),
		counter("reconcile_requests_total", "Round trips of reconciliations.", func(m *replica.Metrics) float64 { return float64(m.Requests) }),
		counter("reconcile_differing_total", "Places at which reconciliations found replicas to differ.", func(m *replica.Metrics) float64 { return float64(m.Differing) }),
	}
}

func groups() []grouped {
	direction, both := "direction", []string{"sent", "received"}
	return []grouped{
		{series{"sessions_total", "Sessions that are over, by why.", []string{"result"}},
			func(m *replica.Metrics) []map[string]int64 { return []map[string]int64{m.Ended} }, nil},
		{series{"sent_bytes_total", "Bytes of frames to peers.", []string{"kind"}},
			func(m *replica.Metrics) []map[string]int64 { return []map[string]int64{m.BytesSent} }, nil},
		{series{"reconciliations_total", "Reconciliations led from here, by how they ended.", []string{"result"}},
			func(m *replica.Metrics) []map[string]int64 { return []map[string]int64{m.Runs} }, nil},
		{series{"frames_total", "Frames.", []string{direction, "kind"}},
			func(m *replica.Metrics) []map[string]int64 { return []map[string]int64{m.FramesSent, m.FramesReceived} }, both},
		{series{"changes_total", "Changes, those counted again that were sent again.", []string{direction}},
			func(m *replica.Metrics) []map[string]int64 {
				return []map[string]int64{{both[0]: m.ChangesSent, both[1]: m.ChangesReceived}}
			}, nil},
		{series{"refusals_total", "Changes that were not taken, by whom and why.", []string{"by", "code"}},
			func(m *replica.Metrics) []map[string]int64 { return []map[string]int64{m.Refused, m.Declined} }, []string{"us", "peer"}},
	}
}

var _ prometheus.Collector = (*collector)(nil)

func commits() series {
	return series{"commit_seconds", "Transactions, from asking until they were durable.", nil}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, s := range singles() {
		out <- s.desc()
	}
	for _, g := range groups() {
		out <- g.desc()
	}
	out <- commits().desc()
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), opsTimeout)
	defer cancel()
	m, err := c.hub.Metrics(ctx)
	if err != nil {
		c.log.Warn("read metrics", "error", err)
	}
	for _, s := range singles() {
		out <- prometheus.MustNewConstMetric(s.desc(), s.kind, s.of(&m))
	}
	for _, g := range groups() {
		g.collect(&m, out)
	}
	out <- histogram(commits().desc(), &m.Commits)
}

func (g *grouped) collect(m *replica.Metrics, out chan<- prometheus.Metric) {
	for i, counts := range g.of(m) {
		for label, n := range counts {
			labels := []string{label}
			if g.values != nil {
				labels = slices.Insert(labels, 0, g.values[i])
			}
			out <- prometheus.MustNewConstMetric(g.desc(), prometheus.CounterValue, float64(n), labels...)
		}
	}
}

func histogram(desc *prometheus.Desc, h *replica.Histogram) prometheus.Metric {
	count, buckets := uint64(0), map[float64]uint64{}
	for i, n := range h.Counts {
		count += uint64(n)
		if i < len(h.Bounds) {
			buckets[h.Bounds[i]] = count
		}
	}
	return prometheus.MustNewConstHistogram(desc, count, h.Sum, buckets)
}
