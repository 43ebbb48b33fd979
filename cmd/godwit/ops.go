package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/godwitdb/godwit/replica"
)

// opsTimeout bounds what a probe or a scrape may take.
const opsTimeout = 5 * time.Second

// opsFlags are what whoever runs a server needs.
type opsFlags struct {
	OpsListen    string        `placeholder:"ADDR" help:"Answer /healthz, /readyz and /metrics here, HOST:PORT, to whoever asks."`
	Pprof        bool          `help:"Answer /debug/pprof/ there too."`
	LogFormat    string        `default:"text" enum:"text,json" help:"Log as text or json."`
	LogLevel     slog.Level    `default:"info" placeholder:"LEVEL" help:"Log from this level on: debug, info, warn, error."`
	DrainTimeout time.Duration `default:"10s" placeholder:"TIME" help:"When terminated, let sessions have this long to get acknowledged what is under way."`
}

const opsHelp = `
When it is terminated it lets go of its peers in order: new sessions are refused, they come back later; running ones end when
what is under way is acknowledged. A second signal ends it at once, which loses nothing either: peers send again what was not
acknowledged. With --ops-listen ADDR, which is not for clients and asks nobody for a token: /healthz says that the process is
up, /readyz that spaces can be written and that it is not being terminated (else 503), /metrics is for Prometheus.
`

func (f *opsFlags) check() error {
	if f.Pprof && f.OpsListen == "" {
		return usagef("--pprof needs --ops-listen")
	}
	if f.DrainTimeout < 0 {
		return usagef("--drain-timeout is negative")
	}
	return nil
}

func (f *opsFlags) logger(w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: f.LogLevel}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}

// ops answers questions about a running server. nil answers none.
type ops struct {
	hub      *replica.Hub
	log      *slog.Logger
	addr     net.Addr
	server   *http.Server
	served   chan error
	draining atomic.Bool
}

// start listens, if the flags say so.
func (f *opsFlags) start(hub *replica.Hub, log *slog.Logger) (*ops, error) {
	if f.OpsListen == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", f.OpsListen)
	if err != nil {
		return nil, err
	}
	o := &ops{hub: hub, log: log, addr: listener.Addr(), served: make(chan error, 1)}
	if host, ok := o.addr.(*net.TCPAddr); ok && !host.IP.IsLoopback() {
		log.Warn("whoever reaches this address reads metrics", "ops", o.addr.String(), "pprof", f.Pprof)
	}
	o.server = &http.Server{
		Handler: o.handler(f.Pprof), ReadHeaderTimeout: opsTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go func() { o.served <- o.server.Serve(listener) }()
	return o, nil
}

func (o *ops) handler(profiles bool) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		&collector{hub: o.hub, log: o.log}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", o.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: opsTimeout}))
	if profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func (o *ops) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), opsTimeout)
	defer cancel()
	if o.draining.Load() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	if err := o.hub.Ready(ctx); err != nil {
		o.log.Warn("not ready", "error", err)
		http.Error(w, "not ready, see the log", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// drain says that the server is not ready any more.
func (o *ops) drain() {
	if o != nil {
		o.draining.Store(true)
	}
}

func (o *ops) url() string { return "http://" + o.addr.String() }

// close ends the answers.
func (o *ops) close() error {
	if o == nil {
		return nil
	}
	err := o.server.Close()
	if ended := <-o.served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// drain lets the sessions end in order, as far as there is time.
func (h *host) drain(most time.Duration) {
	h.ops.drain()
	h.links.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	if err := h.hub.Drain(ctx); err != nil {
		h.log.Warn("sessions are cut short, peers will send again what was not acknowledged", "error", err)
	}
}
