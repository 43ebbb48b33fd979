package httplink

import (
	"container/list"
	"math"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/godwitdb/godwit/transport"
)

const (
	maxIdle    = 10_000  // identities remembered that have no session
	minBytes   = 1 << 20 // bytes a second: with less, a large frame would look like a dead peer
	leastBurst = 16      // frames at once: what a session begins with
)

// Limits of one identity: the subject of a grant, or the address of a peer that
// has none (of IPv6 the /64). All its connections share them. What is zero is
// not limited.
type Limits struct {
	Requests float64 // HTTP requests a second, up to ten seconds' worth at once; beyond it 429 with Retry-After
	Sessions int     // open connections; beyond it the same
	Frames   float64 // frames a second that are read; beyond it reading slows down, and ends with CodeRate after 10 s without a pause
	Bytes    float64 // bytes a second that are read, at least 1 MiB; beyond it reading slows down

	// Failures a second of one address to show a credential that is accepted, up to ten
	// seconds' worth at once; beyond it all its requests get 429 with Retry-After, unseen.
	// Not for a server behind a proxy, to which all clients have one address.
	Failures float64
}

// identities keep the limits. They are safe for concurrent use.
type identities struct {
	limits Limits

	mu     sync.Mutex // guards what follows, and what identity says
	byName map[string]*identity
	idle   list.List // of *identity, without session, the longest idle first
}

// identity is what one peer has used.
type identity struct {
	limits                  *Limits
	requests, frames, bytes *rate.Limiter
	failures                *rate.Limiter

	name     string
	sessions int           // guarded by identities.mu
	element  *list.Element // in idle; guarded by identities.mu
}

// newIdentities returns nil when there is nothing to limit.
func newIdentities(l Limits) *identities {
	if l == (Limits{}) {
		return nil
	}
	return &identities{limits: l, byName: map[string]*identity{}}
}

// identityOf names whom the limits are for.
func identityOf(r *http.Request, g transport.Grant) string {
	if g.Subject != "" {
		return "subject " + g.Subject
	}
	return addressOf(r)
}

func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "address " + host
	}
	if ip = ip.Unmap(); ip.Is6() {
		if prefix, err := ip.WithZone("").Prefix(64); err == nil {
			ip = prefix.Addr()
		}
	}
	return "address " + ip.String()
}

// request accounts for a request; it returns how long to wait instead when there
// are too many.
func (l *identities) request(name string) (wait time.Duration) {
	if l == nil || l.limits.Requests <= 0 {
		return 0
	}
	now := time.Now()
	r := l.find(name).requests.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// barred returns for how long an address is not listened to, since it has failed too
// often.
func (l *identities) barred(r *http.Request) time.Duration {
	if l == nil || l.limits.Failures <= 0 {
		return 0
	}
	lacking := 1 - l.find(addressOf(r)).failures.Tokens()
	return time.Duration(max(0, lacking) / l.limits.Failures * float64(time.Second))
}

// failed accounts for a credential that was not accepted. Rights that have ended were
// good once.
func (l *identities) failed(r *http.Request, err error) {
	if l == nil || l.limits.Failures <= 0 {
		return
	}
	if no := refusalOf(err); no.status == http.StatusUnauthorized && no.code != transport.CodeExpired {
		l.find(addressOf(r)).failures.Allow()
	}
}

// begin accounts for a session; false when there are too many.
func (l *identities) begin(name string) bool {
	if l == nil {
		return true
	}
	id := l.find(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limits.Sessions > 0 && id.sessions >= l.limits.Sessions {
		return false
	}
	if id.sessions++; id.element != nil {
		l.idle.Remove(id.element)
		id.element = nil
	}
	l.byName[name] = id // it may have been forgotten between find and here
	return true
}

// end is for a session that begin has accounted for.
func (l *identities) end(name string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.byName[name] // with a session it is never forgotten
	if id.sessions--; id.sessions == 0 {
		l.rest(id)
	}
}

// find returns the identity of that name, new if there is none. It is nil when
// nothing is limited.
func (l *identities) find(name string) *identity {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.byName[name]
	if id == nil {
		id = &identity{
			limits: &l.limits, name: name, requests: limiter(l.limits.Requests, 10*l.limits.Requests),
			frames:   limiter(l.limits.Frames, max(l.limits.Frames, leastBurst)),
			bytes:    limiter(atLeast(l.limits.Bytes, minBytes), max(l.limits.Bytes, transport.MaxFrame)),
			failures: limiter(l.limits.Failures, 10*l.limits.Failures),
		}
		l.byName[name] = id
	}
	if id.sessions == 0 {
		l.rest(id)
	}
	return id
}

// rest puts an identity at the end of the idle ones, and forgets the first of
// them when they are too many. The caller holds mu.
func (l *identities) rest(id *identity) {
	if id.element != nil {
		l.idle.MoveToBack(id.element)
		return
	}
	id.element = l.idle.PushBack(id)
	if l.idle.Len() > maxIdle {
		oldest := l.idle.Remove(l.idle.Front()).(*identity)
		oldest.element = nil
		delete(l.byName, oldest.name)
	}
}

// limiter of so many a second; nil for no limit.
func limiter(perSecond, burst float64) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), int(math.Ceil(min(burst, math.MaxInt32))))
}

// atLeast is v, or least when v is below it and not 0.
func atLeast(v, least float64) float64 {
	if v <= 0 {
		return 0
	}
	return max(v, least)
}

// take accounts for a frame and bytes that were received, and returns how long
// to wait for each of the two.
func (id *identity) take(bytes int64) (forFrame, forBytes time.Duration) {
	now := time.Now()
	if id.frames != nil {
		forFrame = id.frames.ReserveN(now, 1).DelayFrom(now)
	}
	if id.bytes != nil && bytes > 0 {
		forBytes = id.bytes.ReserveN(now, int(min(bytes, int64(id.bytes.Burst())))).DelayFrom(now)
	}
	return forFrame, forBytes
}
