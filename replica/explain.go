package replica

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/transport"
)

// Codes of a Reason.
const (
	ReasonAbsent      = "absent"      // the record was never here
	ReasonHere        = "here"        // it is, with so many changes
	ReasonDeleted     = "deleted"     // it is deleted here
	ReasonUnseen      = "unseen"      // the same, and nobody is told of it, since nobody was shown that it was made
	ReasonDamaged     = "damaged"     // its history cannot be read
	ReasonPurged      = "purged"      // it was purged; the rest is about its marker
	ReasonForgotten   = "forgotten"   // it was forgotten here, or by the peer
	ReasonForked      = "forked"      // see Forks
	ReasonWaiting     = "waiting"     // something that came waits for changes of it, here or at the peer
	ReasonQuarantined = "quarantined" // this replica refused a change of it
	ReasonConflict    = "conflict"    // it holds several values; keeps nothing from syncing
	ReasonAlone       = "alone"       // no peer is known
	ReasonSynced      = "synced"      // the peer has all of it
	ReasonSending     = "sending"     // the peer is connected, and has not acknowledged all of it
	ReasonOffline     = "offline"     // the same, and it is not connected
	ReasonUnplaced    = "unplaced"    // it is not known how far the peer has read this log
	ReasonRefused     = "refused"     // the peer refused a change of it
	ReasonOutside     = "outside"     // the link does not carry the record
	ReasonCarrier     = "carrier"     // the peer is none, it hands on
)

// Reason is one thing that says where a record stands.
type Reason struct {
	Code string
	Peer crdt.ReplicaID // that it is about; zero if it is about the record
	Text string         // a sentence for people
}

// Explanation says why a record is synced with the known peers, or is not.
type Explanation struct {
	Key     crdt.Key
	Synced  bool     // every known peer has acknowledged all that is here, and nothing that came is kept out
	Reasons []Reason // about the record first, then about each peer
}

// String is the explanation as a paragraph.
func (e Explanation) String() string {
	var texts []string
	for _, r := range e.Reasons {
		texts = append(texts, r.Text)
	}
	return strings.Join(texts, " ")
}

func (e *Explanation) add(code string, peer crdt.ReplicaID, format string, args ...any) {
	e.Reasons = append(e.Reasons, Reason{code, peer, fmt.Sprintf(format, args...)})
}

// Explain says where a record stands with each known peer, and what keeps it from being
// synced. It reads what any process last wrote down; of the links of this process it
// knows more, such as what they carry and when they dial next. The options are those of
// a link that another process holds, and has not been connected under yet.
func (r *Replica) Explain(ctx context.Context, k crdt.Key, opts ...LinkOption) (Explanation, error) {
	e := Explanation{Key: k, Synced: true}
	t := terms{want: transport.Everything(), push: transport.Everything()}
	for _, o := range opts {
		o(&t)
	}
	given, err := carryOf(t.push)
	if err != nil {
		return e, recordError("explain", k, err)
	}
	err = r.read(ctx, "explain", k, func(rd *persist.Reader) error {
		x := &explainer{r: r, rd: rd, e: &e, given: given}
		if err := x.about(k); err != nil || x.kept {
			return err
		}
		return x.peers()
	})
	return e, err
}

// explainer gathers reasons.
type explainer struct {
	r     *Replica
	rd    *persist.Reader
	e     *Explanation
	given *carry // what the links carry, as the caller says

	rec  *persist.Record  // nil: never here
	kept bool             // from everybody, since nobody was shown it
	rows []persist.LogRow // of the record, the last one first
}

// keeps adds a reason for which the record is not synced.
func (x *explainer) keeps(code string, peer crdt.ReplicaID, format string, args ...any) {
	x.e.Synced = false
	x.e.add(code, peer, format, args...)
}

// about says what is to be said of the record itself.
func (x *explainer) about(k crdt.Key) (err error) {
	if x.rec, err = recordOf(x.rd, k); err != nil {
		return err
	}
	var none crdt.ReplicaID
	if purged, err := x.purged(k); purged || err != nil {
		return err
	}
	if x.rec == nil {
		x.keeps(ReasonAbsent, none, "%s was never here: no peer has sent it, or what it sent was not taken.", k)
	} else if err := x.held(); err != nil {
		return err
	}
	for _, step := range []func(crdt.Key) error{x.forks, x.waiting, x.quarantined} {
		if err := step(k); err != nil {
			return err
		}
	}
	return nil
}

// purged says that the record was purged, and goes on with the marker in its place: where
// that stands is what there is to be known.
func (x *explainer) purged(k crdt.Key) (bool, error) {
	p, err := x.rd.Purged(nameHash(k))
	if p == nil || err != nil {
		return false, err
	}
	x.e.add(ReasonPurged, crdt.ReplicaID{}, "%s was purged, which came here on %s: its data is gone for good, and its name cannot be used again. Replicas that have the marker of it have purged it too.", k, when(p.Time))
	if x.rec, err = x.rd.Record(purgedKey(p.Hash)); x.rec == nil || err != nil {
		return true, err
	}
	return true, x.gather()
}

// gather reads the record's rows.
func (x *explainer) gather() error {
	for row, err := range x.rd.ChangesBack(x.rec.RID) {
		if err != nil {
			return err
		}
		x.rows = append(x.rows, row)
	}
	return nil
}

// held says what is here of the record.
func (x *explainer) held() error {
	var none crdt.ReplicaID
	if err := x.gather(); err != nil {
		return err
	}
	if err := x.stub(); err != nil || len(x.rows) == 0 {
		return err
	}
	what := "exists here"
	if x.rec.Deleted {
		what = "is deleted here"
	}
	text := fmt.Sprintf("%s %s, with %s, the last of %s.", x.rec.Key, what, changes(len(x.rows)), when(x.rec.Updated))
	var err error
	if x.kept, err = x.rd.Unseen(x.rec.RID); err != nil {
		return err
	}
	if x.kept {
		x.e.add(ReasonUnseen, none, "%s Nothing of it is sent: it was made and deleted while no peer was connected and no bundle or backup was written, so nobody else knows of it.", text)
	} else if x.rec.Deleted {
		x.e.add(ReasonDeleted, none, "%s The deletion is a change like any other.", text)
	} else {
		x.e.add(ReasonHere, none, "%s", text)
	}
	if _, err := loadHistory(x.rd, x.rec); err != nil {
		x.keeps(ReasonDamaged, none, "Its history cannot be read (%v), so it is not sent: doctor --repair fetches it from a peer.", err)
	}
	if n := x.rec.Conflicts; n > 0 {
		x.e.add(ReasonConflict, none, "%d of its fields hold several values at once, which keeps nothing from syncing: see conflicts.", n)
	}
	return nil
}

// stub says that the record was forgotten here, wholly or but for what has come back.
func (x *explainer) stub() error {
	f, err := x.rd.Forgotten(x.rec.RID)
	if err != nil || f == nil {
		return err
	}
	if f.Damaged {
		x.keeps(ReasonDamaged, crdt.ReplicaID{}, "Changes of %s were damaged here, as was found on %s: they come back from any peer that has them.", x.rec.Key, when(f.Time))
		return nil
	}
	what := "whoever holds it has all of it, and fetch brings it back."
	if f.Wanted {
		what = "it is to come back, from any peer that has it, and is not edited before all of it has."
	}
	x.keeps(ReasonForgotten, crdt.ReplicaID{}, "%s was forgotten here on %s: %s", x.rec.Key, when(f.Time), what)
	return nil
}

func (x *explainer) forks(k crdt.Key) error {
	for f, err := range x.rd.ForksOf(k) {
		if err != nil || f.Settled {
			return err
		}
		where := "at the peer, with doctor --repair there"
		if lesser(f) == f.Got {
			where = "here, with doctor --repair"
		}
		x.keeps(ReasonForked, crdt.ReplicaID{}, "It is forked: actor %s has two changes with sequence %d, which no history holds both of. It is to be repaired %s.",
			f.Actor, f.Seq, where)
		return nil
	}
	return nil
}

func (x *explainer) waiting(k crdt.Key) error {
	n, reason := 0, ""
	for p, err := range x.rd.ParkedOn(k) {
		if err != nil {
			return err
		}
		if n++; reason == "" {
			reason = p.Reason
		}
	}
	if n > 0 {
		x.keeps(ReasonWaiting, crdt.ReplicaID{}, "%s that came wait here for changes of it that did not (%s): they come in with those, from any peer that has them.",
			count(n, "change set"), reason)
	}
	return nil
}

func (x *explainer) quarantined(k crdt.Key) error {
	for q, err := range x.rd.Quarantined(persist.AllPeers) {
		if err != nil {
			return err
		}
		if q.Key != k || x.holds(q.Hash) {
			continue
		}
		from := ""
		if q.Peer != 0 {
			p, err := x.rd.PeerByID(q.Peer)
			if err != nil {
				return err
			}
			from = " from " + p.Replica.String()
		}
		x.keeps(ReasonQuarantined, crdt.ReplicaID{}, "This replica refused the change %s of it%s on %s: %s: %s.", q.Hash, from, when(q.Time), q.Code, q.Detail)
	}
	return nil
}

// holds reports whether the change is in the record's history.
func (x *explainer) holds(h crdt.Hash) bool {
	for i := range x.rows {
		if x.rows[i].Hash == h {
			return true
		}
	}
	return false
}

func changes(n int) string { return count(n, "change") }

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// when is a time in ms since 1970, for people.
func when(ms int64) string { return time.UnixMilli(ms).Format(time.DateTime) }
