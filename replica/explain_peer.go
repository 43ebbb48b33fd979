package replica

import (
	"fmt"
	"slices"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// peers says where the record stands with each peer.
func (x *explainer) peers() error {
	all, err := x.rd.Peers()
	if err != nil {
		return err
	}
	latest := map[crdt.ReplicaID]persist.Peer{} // of a peer with several lives
	for _, p := range all {
		if p.Seen >= latest[p.Replica].Seen {
			latest[p.Replica] = p
		}
	}
	if len(all) == 0 {
		x.keeps(ReasonAlone, crdt.ReplicaID{}, "No peer is known: this replica was never connected to another.")
	}
	for _, p := range all {
		if latest[p.Replica].ID != p.ID {
			continue
		}
		if err := x.peer(p); err != nil {
			return err
		}
	}
	return nil
}

// peer says where the record stands with a peer.
func (x *explainer) peer(p persist.Peer) error {
	path, live := x.r.pathTo(p.ID, p.Name)
	if live {
		p.State = StateConnected
	}
	if len(x.rows) == 0 { // absent, or forgotten: there is nothing to be acknowledged
		x.e.add(x.reach(p.State == StateConnected), p.Replica, "%s %s.", name(p), path.state(p))
		return nil
	}
	agreed, err := carriedTo(&p)
	if err != nil {
		return err
	}
	if live {
		agreed = x.given
	}
	for _, c := range append([]*carry{x.given, agreed}, path.carries...) {
		in, err := c.holds(x.r, x.rd, x.rec.Key)
		if err != nil {
			return err
		}
		if !in {
			x.keeps(ReasonOutside, p.Replica, "%s is not sent it: %s.", name(p), outside(c))
			return nil
		}
	}
	if refused, err := x.refused(p); refused || err != nil {
		return err
	}
	return x.receipts(p, path)
}

func outside(c *carry) string {
	if c.none {
		return "the link sends nothing in this direction"
	}
	return "the link carries a selection, and the record is not in it, or not as its fields are now"
}

// reach is the code for a peer that lacks something.
func (x *explainer) reach(connected bool) string {
	if connected {
		return ReasonSending
	}
	return ReasonOffline
}

// refused says what the peer refused of the record, or together with it: a change set
// is taken whole or not at all.
func (x *explainer) refused(p persist.Peer) (found bool, err error) {
	gone := false
	for f, err := range x.rd.Refusals(p.ID) {
		if err != nil {
			return found, err
		}
		if f.Code == codeForgotten { // it has taken the rest of the set
			if f.Key == x.rec.Key && !gone {
				x.keeps(ReasonForgotten, p.Replica, "%s has forgotten it, and takes no changes of it until it fetches it back.", name(p))
				found, gone = true, true
			}
			continue
		}
		what := "the change " + f.Hash.String()
		if f.Key != x.rec.Key {
			together, err := x.together(f)
			if err != nil {
				return found, err
			}
			if !together {
				continue
			}
			what = fmt.Sprintf("the change set that it shares with %s", f.Key)
		}
		if f.Code == codeParked {
			found = true
			x.keeps(ReasonWaiting, p.Replica, "%s has %s, which waits there for another that it lacks.", name(p), what)
			continue
		}
		again, err := x.again(f)
		if err != nil {
			return found, err
		}
		found = true
		x.keeps(ReasonRefused, p.Replica, "%s refused %s on %s: %s: %s. %s.", name(p), what, when(f.Time), f.Code, f.Detail, again)
	}
	return found, nil
}

// together reports whether the refused change of another record is in a change set with
// one of this record.
func (x *explainer) together(f *persist.Refusal) (bool, error) {
	rec, err := x.rd.Record(f.Key)
	if err != nil || rec == nil {
		return false, err
	}
	for row, err := range x.rd.ChangesBack(rec.RID) {
		if err != nil {
			return false, err
		}
		if row.Hash == f.Hash {
			return slices.ContainsFunc(x.rows, func(own persist.LogRow) bool { return own.Set == row.Set }), nil
		}
	}
	return false, nil
}

// again says when a refused change is offered again.
func (x *explainer) again(f *persist.Refusal) (string, error) {
	rec, err := x.rd.Record(f.Key)
	if err != nil || rec == nil || rec.LSN == f.LSN {
		return fmt.Sprintf("It is offered again when %s changes, or when the peer lets this replica write more", f.Key), err
	}
	return fmt.Sprintf("%s has changed since, so it is offered again with the next exchange", f.Key), nil
}

// receipts says what the peer has acknowledged.
func (x *explainer) receipts(p persist.Peer, path pathTo) error {
	at, ok := x.rd.CursorAt(p.Acked.LSN)
	if p.Acked.LSN > 0 && (!ok || at != p.Acked) {
		x.keeps(ReasonUnplaced, p.Replica, "How far %s has read this log is not known, since one of the two files was put back from a copy: both compare what they hold when they meet next. It %s.",
			name(p), path.state(p))
		return nil
	}
	missing := 0
	for i := range x.rows {
		if x.rows[i].LSN > p.Acked.LSN && x.rows[i].Source != p.ID {
			missing++
		}
	}
	switch {
	case missing > 0:
		x.keeps(x.reach(p.State == StateConnected), p.Replica, "%s has not acknowledged %s of it. It %s.", name(p), changes(missing), path.state(p))
	case p.Carrier:
		x.keeps(ReasonCarrier, p.Replica, "%s was handed all of it, but is a carrier and no replica: that is no receipt.", name(p))
	default:
		x.e.add(ReasonSynced, p.Replica, "%s has all of it, and was seen last on %s.", name(p), when(p.Seen))
	}
	return nil
}

func name(p persist.Peer) string {
	if p.Name == "" {
		return "Peer " + p.Replica.String()
	}
	return fmt.Sprintf("Peer %s (%s)", p.Replica, p.Name)
}

// pathTo is what this process knows of the ways to a peer.
type pathTo struct {
	carries []*carry    // of the session or the links
	link    *LinkStatus // of a link that is down
}

// pathTo looks for a session with the peer, or else for the links that led to it.
func (r *Replica) pathTo(peer int64, link string) (path pathTo, live bool) {
	r.sessMu.Lock()
	defer r.sessMu.Unlock()
	for s := range r.sessions {
		if s.peerID == peer && !s.aside && !s.compares() {
			path.carries, live = []*carry{s.out}, true
		}
	}
	for _, c := range r.control.all() {
		if live || link == "" || c.link.String() != link {
			continue
		}
		if pushed, err := carryOf(c.terms.push); err == nil {
			path.carries = append(path.carries, pushed)
		}
		if st := c.Status(); !st.Online {
			path.link = &st
		}
	}
	return path, live
}

// state says how the peer is reached.
func (path pathTo) state(p persist.Peer) string {
	if p.State == StateConnected {
		return "is connected"
	}
	text := "is not connected, and was seen last on " + when(p.Seen)
	attempts, last := p.Attempts, p.LastError
	if path.link != nil {
		attempts, last = path.link.Attempts, path.link.LastError
	}
	if attempts > 0 {
		text += fmt.Sprintf("; %s to reach it failed", count(attempts, "attempt"))
	}
	if last != "" {
		text += ", the last error: " + last
	}
	if path.link != nil && !path.link.Next.IsZero() {
		text += "; the next attempt is on " + path.link.Next.Format(time.DateTime)
	}
	return text
}
