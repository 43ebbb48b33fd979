package replica

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// Metrics say what a replica, or all of a hub's, did since it was opened, and how it
// stands. Counts never decrease; what is marked so is a state. Labels are of a bounded
// number: nothing that a peer says becomes one unless it is known here.
type Metrics struct {
	Spaces   int // state: open
	Sessions int // state: past the handshake

	Ended           map[string]int64 // sessions, by why: "done", "canceled", or a transport.Code
	FramesSent      map[string]int64 // by transport.Kind
	FramesReceived  map[string]int64 // likewise
	BytesSent       map[string]int64 // on the wire, as far as links count them; by transport.Kind
	BytesReceived   int64            // likewise
	ChangesSent     int64
	ChangesReceived int64

	Lag    int64 // state: positions of the log that connected peers have not acknowledged, over all of them
	LagMax int64 // state: of the peer that is furthest behind

	Runs      map[string]int64 // reconciliations that this side led, by how they ended: "complete", "incomplete"
	Requests  int64            // of these, each a round trip
	Differing int64            // places at which these found the two sides to differ

	Refused  map[string]int64 // changes of peers, refused or parked here, by code
	Declined map[string]int64 // changes of ours, refused or parked by peers, by code

	Parked      int64 // state: sets that wait for a dependency
	Quarantined int64 // state: refused changes that are kept

	Commits Histogram // of transactions, in seconds, from asking until they were durable; failed ones not counted
}

// Histogram counts durations. Counts[i] are those of at most Bounds[i] seconds and of
// more than the bound before; the last is of those beyond all bounds.
type Histogram struct {
	Bounds []float64
	Counts []int64
	Sum    float64
}

// Results of Metrics.Ended and Metrics.Runs, and the label of what is not known.
const (
	resultDone       = "done"
	resultCanceled   = "canceled"
	resultComplete   = "complete"
	resultIncomplete = "incomplete"
	labelOther       = "other"
)

// commitBounds are seconds.
func commitBounds() [commitBuckets - 1]float64 {
	return [...]float64{0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
}

const (
	maxKind       = 16
	commitBuckets = 16 // the last is beyond all bounds
)

// counters are what Metrics are read from. A hub's replicas share one, so that
// nothing is lost when a space is closed.
type counters struct {
	framesSent, framesReceived, bytesSent [maxKind]atomic.Int64
	bytesReceived                         atomic.Int64

	commits   [commitBuckets]atomic.Int64
	commitSum atomic.Int64 // ns

	changesSent, changesReceived atomic.Int64
	requests, differing          atomic.Int64

	mu                             sync.Mutex // guards what follows
	ended, runs, refused, declined map[string]int64
}

func newCounters() *counters {
	return &counters{ended: map[string]int64{}, runs: map[string]int64{}, refused: map[string]int64{}, declined: map[string]int64{}}
}

func (c *counters) committed(start time.Time) {
	took := time.Since(start)
	c.commitSum.Add(int64(took))
	bounds := commitBounds()
	i, _ := slices.BinarySearch(bounds[:], took.Seconds())
	c.commits[i].Add(1)
}

// over counts the end of a session.
func (c *counters) over(err error) {
	result := transport.CodeOf(err)
	var own *protocolError
	switch {
	case err == nil:
		result = resultDone
	case errors.As(err, &own):
		result = own.code
	case errors.Is(err, context.Canceled), errors.Is(err, ErrClosed):
		result = resultCanceled
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[label(result)]++
}

// reconciled counts a run that is over.
func (c *counters) reconciled(r *run) {
	c.requests.Add(int64(r.requests - 1)) // the last one was not made
	result := resultIncomplete
	if r.complete() {
		result = resultComplete
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs[result]++
}

func (c *counters) refuse(all []transport.Exception) { c.except(c.refused, all) }

func (c *counters) decline(all []transport.Exception) { c.except(c.declined, all) }

func (c *counters) except(into map[string]int64, all []transport.Exception) {
	if len(all) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range all {
		into[label(all[i].Code)]++
	}
}

// label returns a code if it is one that is known.
func label(code string) string {
	switch code {
	case resultDone, resultCanceled,
		transport.CodeProtocol, transport.CodeSpace, transport.CodeAuth, transport.CodeToken, transport.CodeExpired, transport.CodeRights,
		transport.CodeRate, transport.CodeTooLarge, transport.CodeMalformed, transport.CodeInternal, transport.CodeClosed, transport.CodeBusy, transport.CodeTimeout,
		crdt.CodeChunk, crdt.CodeSize, crdt.CodeEncoding, crdt.CodeActors, crdt.CodeOperation, crdt.CodeValue, crdt.CodeReference, crdt.CodeSequence,
		codeKey, codeForged, codeForked, codeParked, codeFull:
		return code
	}
	return labelOther
}

// metered counts what a connection carries.
type metered struct {
	transport.Conn
	c              *counters
	sent, received int64 // bytes that were counted: of whoever sends, of whoever receives
}

// Send implements transport.Conn.
func (m *metered) Send(ctx context.Context, f transport.Frame) error {
	err := m.Conn.Send(ctx, f)
	if err == nil {
		kind := f.Kind() % maxKind
		m.c.framesSent[kind].Add(1)
		sent, _ := m.Stats()
		m.c.bytesSent[kind].Add(sent - m.sent)
		m.sent = sent
	}
	return err
}

// Recv implements transport.Conn.
func (m *metered) Recv(ctx context.Context) (transport.Frame, error) {
	f, err := m.Conn.Recv(ctx)
	_, received := m.Stats()
	m.c.bytesReceived.Add(received - m.received)
	m.received = received
	if err == nil {
		m.c.framesReceived[f.Kind()%maxKind].Add(1)
	}
	return f, err
}

// Stats implements transport.Meter.
func (m *metered) Stats() (sent, received int64) {
	if c, ok := m.Conn.(transport.Meter); ok {
		return c.Stats()
	}
	return 0, 0
}

// OneShot implements transport.OneShot.
func (m *metered) OneShot() bool { return oneShot(m.Conn) }

// snapshot returns the counts, without what goes on.
func (c *counters) snapshot() Metrics {
	bounds := commitBounds()
	m := Metrics{
		ChangesSent: c.changesSent.Load(), ChangesReceived: c.changesReceived.Load(),
		FramesSent: byKind(&c.framesSent), FramesReceived: byKind(&c.framesReceived), BytesSent: byKind(&c.bytesSent),
		BytesReceived: c.bytesReceived.Load(), Requests: c.requests.Load(), Differing: c.differing.Load(),
		Commits: Histogram{Bounds: bounds[:], Sum: time.Duration(c.commitSum.Load()).Seconds()},
	}
	for i := range c.commits {
		m.Commits.Counts = append(m.Commits.Counts, c.commits[i].Load())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m.Ended, m.Runs, m.Refused, m.Declined = maps.Clone(c.ended), maps.Clone(c.runs), maps.Clone(c.refused), maps.Clone(c.declined)
	return m
}

func byKind(counts *[maxKind]atomic.Int64) map[string]int64 {
	m := map[string]int64{}
	for k := range counts {
		if n := counts[k].Load(); n > 0 {
			m[transport.Kind(k).String()] = n
		}
	}
	return m
}

// Metrics returns what the replica did since it was opened, and how it stands. They
// are cheap enough to be read every few seconds.
func (r *Replica) Metrics(ctx context.Context) (Metrics, error) {
	m := r.counters.snapshot()
	return m, r.measure(ctx, &m)
}

// measure adds how the replica stands.
func (r *Replica) measure(ctx context.Context, m *Metrics) error {
	var head crdt.LSN
	err := r.store.Read(ctx, func(rd *persist.Reader) error {
		parked, err := rd.ParkedCount()
		if err != nil {
			return err
		}
		quarantined, err := rd.QuarantinedCount()
		head = rd.Head().LSN
		m.Parked += int64(parked)
		m.Quarantined += quarantined
		return err
	})
	m.Spaces++
	r.sessMu.Lock()
	defer r.sessMu.Unlock()
	for s := range r.sessions {
		s.measure(head, m)
	}
	return translate(err)
}

func (s *session) measure(head crdt.LSN, m *Metrics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.Sessions++
	if s.compares() || s.out.none {
		return
	}
	lag := max(int64(head-s.acked.LSN), 0)
	m.Lag += lag
	m.LagMax = max(m.LagMax, lag)
}

// Metrics returns what the hub's replicas did since it was opened, those included
// that are closed again, and how the open ones stand.
func (h *Hub) Metrics(ctx context.Context) (Metrics, error) {
	m := h.opts.counters.snapshot()
	var errs []error
	for _, s := range h.hold() {
		errs = append(errs, s.r.measure(ctx, &m))
		h.release(s)
	}
	return m, errors.Join(errs...)
}

// hold returns the spaces that are open, each to be released.
func (h *Hub) hold() (all []*hosted) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.spaces {
		select {
		case <-s.ready:
		default:
			continue
		}
		if s.r != nil && s.err == nil {
			s.users++
			all = append(all, s)
		}
	}
	return all
}
