package replica

import (
	"context"
	"slices"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// SyncState says how far a change set is on its way to a peer, or to all that count.
type SyncState string

// States of a change set. It is pending until it is sent, and again when the session
// ends before the peer has acknowledged it.
const (
	SyncPending SyncState = "pending" // it waits for a connection, or its turn
	SyncSyncing SyncState = "syncing" // sent and not acknowledged; a carrier's stay so, and what waits there for another change, by the code "parked"
	SyncSynced  SyncState = "synced"  // on the peer's disk
	SyncFailed  SyncState = "failed"  // the peer refused it, see Refusals; or has forgotten a record of it, by the code "forgotten"

	SyncLeftOut   SyncState = "left out"  // no link carries it, or not all of it: it waits for nobody, and nobody has it
	SyncAbandoned SyncState = "abandoned" // given up here, see Abandon: the last that WatchOutbox tells
)

// PeerSync says how far a change set is on its way to one peer.
type PeerSync struct {
	Peer      crdt.ReplicaID // zero: over this link nobody was met yet
	Link      string         // the path that led to it last; "" if it has dialled us
	State     SyncState
	Carrier   bool      // no replica, so it never gives a receipt: what it was handed is syncing
	Attempts  int       // to reach it that failed in a row
	LastError string    // of these, or why it refused
	Code      string    // of the refusal
	Next      time.Time // of the next attempt; zero when there is none, or no telling
}

// outlook is what is known of the peers at one moment: what the file says, and what
// the open sessions and links of this process know better.
type outlook struct {
	r     *Replica
	peers []*outlookPeer
}

type outlookPeer struct {
	row     persist.Peer
	sent    crdt.LSN // what it was sent and may not have acknowledged goes to here
	refused map[refusedChange]*persist.Refusal
	plain   PeerSync          // without State
	carried *carry            // what it is sent; nil: not known
	known   map[crdt.Key]bool // which records these are
}

// glimpse is what a session knows.
type glimpse struct {
	row  persist.Peer
	sent crdt.LSN
}

// glimpses asks the open sessions and links. It comes before the file is read: a session
// that ends in between has written down at least this much.
func (r *Replica) glimpses() (sessions map[int64]glimpse, links map[string]LinkStatus) {
	sessions, links = map[int64]glimpse{}, map[string]LinkStatus{}
	r.sessMu.Lock()
	defer r.sessMu.Unlock()
	for s := range r.sessions {
		if s.compares() {
			continue
		}
		g := glimpse{row: s.row(), sent: s.shipped()}
		if other, ok := sessions[s.peerID]; ok && other.row.Acked.LSN > g.row.Acked.LSN {
			g.row = other.row
		}
		sessions[s.peerID] = g
	}
	for _, c := range r.control.all() {
		st := c.Status()
		links[st.Link] = st
	}
	return sessions, links
}

// shipped returns the position to which the peer was sent the log.
func (s *session) shipped() crdt.LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.flight); n > 0 {
		return s.flight[n-1].through.LSN
	}
	return s.acked.LSN
}

// outlook reads it, of all peers or of those that are named.
func (r *Replica) outlook(ctx context.Context, only []crdt.ReplicaID) (o *outlook, err error) {
	sessions, links := r.glimpses()
	err = r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		o, err = r.outlookAt(rd, sessions, links, only)
		return err
	})
	if err == nil && len(only) == 0 {
		o.strangers(links)
	}
	return o, translate(err)
}

// outlookAt is what a snapshot of the file says, and who knows better.
func (r *Replica) outlookAt(rd *persist.Reader, sessions map[int64]glimpse, links map[string]LinkStatus, only []crdt.ReplicaID) (*outlook, error) {
	o := &outlook{r: r}
	rows, err := rd.Peers()
	if err != nil {
		return nil, err
	}
	for i, row := range rows {
		later := slices.ContainsFunc(rows[i+1:], func(p persist.Peer) bool { return p.Replica == row.Replica })
		if later || len(only) > 0 && !slices.Contains(only, row.Replica) {
			continue // an earlier life of the replica
		}
		p := &outlookPeer{row: row, refused: map[refusedChange]*persist.Refusal{}, known: map[crdt.Key]bool{}}
		if g, ok := sessions[row.ID]; ok {
			p.row, p.sent = g.row, g.sent
		}
		p.plain = PeerSync{Peer: row.Replica, Link: row.Name, Carrier: row.Carrier,
			Attempts: p.row.Attempts, LastError: p.row.LastError, Next: links[row.Name].Next}
		if p.carried, err = carriedTo(&p.row); err != nil {
			return nil, err
		}
		o.peers = append(o.peers, p)
	}
	return o, o.recall(rd)
}

// recall reads what the peers refused.
func (o *outlook) recall(rd *persist.Reader) error {
	byID := map[int64]*outlookPeer{}
	for _, p := range o.peers {
		byID[p.row.ID] = p
	}
	for f, err := range rd.Refusals(persist.AllPeers) {
		if err != nil {
			return err
		}
		if p := byID[f.Peer]; p != nil {
			p.refused[refusedChange{f.Key, f.Hash}] = f
		}
	}
	return nil
}

// strangers adds the links that led to nobody yet.
func (o *outlook) strangers(links map[string]LinkStatus) {
	for name, st := range links {
		if !slices.ContainsFunc(o.peers, func(p *outlookPeer) bool { return p.plain.Link == name }) {
			o.peers = append(o.peers, &outlookPeer{plain: PeerSync{Link: name, Attempts: st.Attempts, LastError: st.LastError, Next: st.Next}})
		}
	}
}

// counting leaves the peers that decide whether a change set is synced: those that this
// replica dials, and if there are none, those that dial it.
func (o *outlook) counting() *outlook {
	dialled := &outlook{r: o.r}
	for _, p := range o.peers {
		if p.plain.Link != "" {
			dialled.peers = append(dialled.peers, p)
		}
	}
	if len(dialled.peers) == 0 {
		return o
	}
	return dialled
}

// acked returns the position to which all peers have read a log that ends at head.
func (o *outlook) acked(head crdt.LSN) crdt.LSN {
	lowest := head
	if len(o.peers) == 0 {
		return 0
	}
	for _, p := range o.peers {
		lowest = min(lowest, p.row.Acked.LSN)
	}
	return lowest
}

// of returns how far the rows of one change set are with each peer, and in all.
func (o *outlook) of(rows []persist.LogRow) (SyncState, []PeerSync) {
	all := make([]PeerSync, 0, len(o.peers))
	replicas := slices.ContainsFunc(o.peers, func(p *outlookPeer) bool { return !p.plain.Carrier })
	state, counted, synced := SyncPending, 0, true
	for _, p := range o.peers {
		at := p.of(o.r, rows)
		all = append(all, at)
		if at.Carrier && replicas || at.State == SyncLeftOut {
			continue
		}
		counted++
		synced = synced && at.State == SyncSynced
		switch {
		case at.State == SyncFailed:
			state = SyncFailed
		case at.State == SyncSyncing && state == SyncPending:
			state = SyncSyncing
		}
	}
	switch {
	case counted == 0 && len(all) > 0:
		state = SyncLeftOut
	case counted > 0 && synced:
		state = SyncSynced
	}
	return state, all
}

func (p *outlookPeer) of(r *Replica, rows []persist.LogRow) PeerSync {
	at := p.plain
	for i := range rows {
		if f := p.refused[refusedChange{rows[i].Key, rows[i].Hash}]; f != nil {
			at.State, at.Code, at.LastError = SyncFailed, f.Code, f.Detail
			if f.Code == codeParked {
				at.State = SyncSyncing
			}
			return at
		}
	}
	last := &rows[len(rows)-1]
	left, of := p.leftOut(r, rows)
	switch {
	case p.row.ID != 0 && last.Source == p.row.ID:
		at.State = SyncSynced
	case left > 0 && left == of:
		at.State = SyncLeftOut
	case last.LSN <= p.row.Acked.LSN && !p.plain.Carrier:
		at.State = SyncSynced
		if left > 0 { // it has the rest
			at.State = SyncLeftOut
		}
	case last.LSN <= max(p.sent, p.row.Acked.LSN):
		at.State = SyncSyncing
	default:
		at.State = SyncPending
	}
	if at.State == SyncSynced {
		at.Attempts, at.LastError, at.Next = 0, "", time.Time{}
	}
	return at
}

// stir wakes who waits for the state of peers to change.
func (r *Replica) stir() {
	if r.stirred.Load() == 0 {
		return
	}
	r.stirMu.Lock()
	defer r.stirMu.Unlock()
	for c := range r.stirs {
		signal(c)
	}
}

// observe returns a channel that is signalled when the state of peers may have changed,
// in this process or in the file. stop ends it.
func (r *Replica) observe() (c <-chan struct{}, stop func()) {
	wake := make(chan struct{}, 1)
	r.stirMu.Lock()
	r.stirs[wake] = struct{}{}
	r.stirMu.Unlock()
	r.stirred.Add(1)
	sub := r.store.SubscribeTo(wake)
	return wake, func() {
		sub.Close()
		r.stirred.Add(-1)
		r.stirMu.Lock()
		delete(r.stirs, wake)
		r.stirMu.Unlock()
	}
}
