package sim_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/memlink"
)

// stick is a foreign author whose sets are carried to the nodes by hand, each
// to one of them, in any order. So they get there before what they depend on,
// and have to be parked: between replicas that does not happen.
type stick struct {
	w    *world
	net  *memlink.Network // always reliable
	rng  *rand.Rand
	id   crdt.ReplicaID
	hist map[crdt.Key]*crdt.History
	sets []*carried
}

// carried is a set of the foreign author's.
type carried struct {
	acked
	wire transport.Set
	to   *node // who acknowledged it, nil for nobody

	forged bool // to be refused
}

func newStick(w *world) *stick {
	s := &stick{w: w, net: memlink.New(0), rng: w.plan.source(drawStick), hist: map[crdt.Key]*crdt.History{}}
	for i := range s.id {
		s.id[i] = byte(s.rng.Uint32())
	}
	return s
}

// author writes a set of 1 or 2 records, on top of the author's own changes.
func (s *stick) author() {
	c := &carried{}
	c.name = fmt.Sprintf("stick-%d", len(s.sets))
	first := s.rng.IntN(3)
	for i := range 1 + s.rng.IntN(2) {
		k := crdt.Key{Collection: "notes", ID: fmt.Sprint((first + i) % 3)}
		h := s.hist[k]
		if h == nil {
			h = crdt.NewHistory()
			s.hist[k] = h
		}
		e := h.Begin(s.id.Actor([8]byte{}), time.Now().UnixMilli(), nil)
		need(e.Put(nil, map[string]any{"stick": c.name, "body": crdt.Text(c.name)}, crdt.Merge), "author %s", c.name)
		change, err := e.Commit(c.name)
		need(err, "author %s", c.name)
		s.w.model.keys[k] = true
		c.members = append(c.members, member{k, change.Hash()})
		c.wire.Members = append(c.wire.Members, transport.Member{Collection: k.Collection, ID: k.ID, Data: change.Raw()})
	}
	s.sets = append(s.sets, c)
}

// forgets notes that a node may no longer hold what it acknowledged.
func (s *stick) forgets(n *node) {
	for _, c := range s.sets {
		if c.to == n {
			c.to = nil
		}
	}
}

// deliver carries some of the sets that nobody acknowledged to the node.
func (s *stick) deliver(n *node) {
	var sets []*carried
	for _, i := range s.rng.Perm(len(s.sets)) {
		if s.sets[i].to == nil && s.rng.IntN(2) == 0 {
			sets = append(sets, s.sets[i])
		}
	}
	s.carry(n, sets)
}

// deliverAll carries the rest.
func (s *stick) deliverAll() {
	for _, i := range s.rng.Perm(len(s.sets)) {
		if s.sets[i].to == nil {
			s.carry(pick(s.rng, s.w.nodes), s.sets[i:i+1])
		}
	}
}

// forge has the stick bring a node a change in the node's own name, which it must refuse.
func (w *world) forge() {
	n := pick(w.rng, w.nodes)
	if n.actor == "" {
		return
	}
	w.model.updates++
	c := &carried{forged: true}
	c.name = fmt.Sprintf("forged-%d", w.model.updates)
	e := crdt.NewHistory().Begin(n.actor, time.Now().UnixMilli(), nil)
	need(e.Put(nil, map[string]any{"forged": c.name}, crdt.Merge), "forge %s", c.name)
	change, err := e.Commit(c.name)
	need(err, "forge %s", c.name)
	w.model.aborted[c.name] = true
	c.wire.Members = []transport.Member{{Collection: "forged", ID: c.name, Data: change.Raw()}}
	w.note("%s is brought %s", n, c.name)
	n.forged++
	w.stick.carry(n, []*carried{c})
}

// carry pushes the sets in one session, speaking the protocol by hand.
func (s *stick) carry(n *node, sets []*carried) {
	if len(sets) == 0 {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	conn, err := s.net.Link("stick", n.name).Dial(ctx)
	need(err, "carry to %s", n)
	defer conn.Close()
	send := func(f transport.Frame) { need(conn.Send(ctx, f), "carry to %s", n) }
	recv := func() transport.Frame {
		f, err := conn.Recv(ctx)
		need(err, "carry to %s", n)
		return f
	}
	const epoch = 1
	send(&transport.Hello{Protocol: transport.ProtocolVersion, Replica: s.id, Epoch: epoch, Log: crdt.Cursor{Epoch: epoch}, Want: transport.Everything()})
	send(&transport.Ack{Through: recv().(*transport.Hello).Log}) // nothing is to be carried back
	at := recv().(*transport.Ack).Through
	send(&transport.Changes{From: at, Through: at})
	for _, c := range sets {
		from := at
		at.LSN++
		send(&transport.Changes{From: from, Through: at, Sets: []transport.Set{c.wire}})
		parked, forgotten := s.await(recv, at, c)
		if c.forged {
			continue
		}
		if forgotten {
			s.w.note("%s has forgotten a record of %s", n, c.name)
			continue
		}
		c.to = n
		s.w.note("%s takes %s, parked: %v", n, c.name, parked)
		s.w.model.acks = append(s.w.model.acks, &c.acked)
	}
}

// await waits until the set is acknowledged.
func (s *stick) await(recv func() transport.Frame, at crdt.Cursor, c *carried) (parked, forgotten bool) {
	refused := false
	for {
		ack, ok := recv().(*transport.Ack)
		if !ok {
			continue
		}
		for _, x := range ack.Exceptions {
			switch {
			case c.forged && x.State == transport.Refused:
				refused = true
			case x.Code == "purged": // the rest is kept
			case x.Code == "forgotten":
				forgotten = true
			case x.State == transport.Parked:
				parked = true
			default:
				failf("%s was refused: %v", c.name, x)
			}
		}
		if c.forged && ack.Through == at && !refused {
			failf("a forged change was taken: %s", c.name)
		}
		if ack.Through == at {
			return parked, forgotten
		}
	}
}
