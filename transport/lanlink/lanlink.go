package lanlink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/godwitdb/godwit/crdt"
)

// Announcements follow each other after 1, 2, 4 s and so on up to this, from the start
// and whenever a network has come; a question is answered within a second.
const (
	announceFirst = time.Second
	announceLast  = 20 * time.Second
)

// Options of Run. All but Key are required.
type Options struct {
	Space   string
	Replica crdt.ReplicaID
	Port    int  // where this replica accepts connections, TCP
	Key     *Key // nil: whoever is on the network may take part

	// Found is called, in a goroutine of its own, for each replica of the space that is
	// for this one to dial. ctx ends when the replica has gone. When Found returns the
	// replica is forgotten; it may be found again, at the same address after 15 s.
	Found func(ctx context.Context, p Peer)
}

// Run announces the replica and looks for others until ctx ends, waits for Found, and
// takes its leave. Without a network it waits for one. It returns an error when it
// may not listen to multicast DNS.
func Run(ctx context.Context, o *Options) error {
	if o.Port <= 0 || o.Port > 1<<16-1 {
		return fmt.Errorf("announce on the LAN: port %d", o.Port)
	}
	ctx, cancel := context.WithCancel(ctx)
	n := &node{
		self:  announcement{o.Replica, uint16(o.Port), tagOf(o.Space, o.Key), holds},
		peers: newPeers(ctx, o.Found), heard: make(chan heard), joined: map[int]bool{},
	}
	err := n.loop(ctx)
	cancel()
	n.leave()
	n.peers.wait.Wait()
	return err
}

// node is one replica on the network. Its fields belong to the goroutine of loop.
type node struct {
	self   announcement
	peers  *peers
	heard  chan heard
	conn   *net.UDPConn // nil: no network yet
	joined map[int]bool // interfaces, by index
	pause  time.Duration
	next   time.Time // announcement
}

// heard is a message that says something about replicas.
type heard struct {
	announcement
	asks bool
	from netip.AddrPort
}

func group() *net.UDPAddr { return &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353} }

func (n *node) loop(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if now := time.Now(); !now.Before(n.next) {
			if err := n.announce(ctx, now); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case h := <-n.heard:
			n.take(&h, time.Now())
		case p := <-n.peers.ended:
			n.peers.end(p, time.Now())
		case <-tick.C:
			n.peers.expire(time.Now())
		}
	}
}

// take acts on what was heard. Of two replicas the lesser one dials, so what the
// others say, and what this one has said itself, is of no interest.
func (n *node) take(h *heard, now time.Time) {
	if h.asks {
		if soon := now.Add(time.Second); n.next.After(soon) {
			n.next = soon
		}
		return
	}
	if h.tag != n.self.tag || bytes.Compare(n.self.replica[:], h.replica[:]) >= 0 || !OnLink(h.from.Addr()) {
		return
	}
	n.peers.hear(Peer{h.replica, netip.AddrPortFrom(h.from.Addr(), h.port)}, h.holds, now)
}

// announce says on every network that this replica is there, and asks for others as
// long as it is new to one.
func (n *node) announce(ctx context.Context, now time.Time) error {
	isNew, err := n.join(ctx)
	if err != nil {
		return err
	}
	if n.pause = min(2*n.pause, announceLast); isNew || n.pause == 0 {
		n.pause = announceFirst
	}
	n.next = now.Add(n.pause)
	n.say(n.pause < announceLast)
	return nil
}

// say sends what there is to say through every interface. What cannot be sent is said
// again soon.
func (n *node) say(asks bool) {
	if n.conn == nil {
		return
	}
	out := ipv4.NewPacketConn(n.conn)
	for _, i := range interfaces() {
		if out.SetMulticastInterface(&i.Interface) != nil {
			continue
		}
		if msg, err := n.self.message(i.addrs); err == nil {
			_, _ = n.conn.WriteTo(msg, group())
		}
		if msg, err := question(); err == nil && asks {
			_, _ = n.conn.WriteTo(msg, group())
		}
	}
}

// join listens on every network. isNew says that one has come.
func (n *node) join(ctx context.Context) (isNew bool, err error) {
	present := map[int]bool{}
	for _, i := range interfaces() {
		switch {
		case n.joined[i.Index]:
		case n.conn == nil:
			if err := n.listen(ctx, &i.Interface); err != nil {
				return false, err
			}
			isNew = true
		default:
			if ipv4.NewPacketConn(n.conn).JoinGroup(&i.Interface, &net.UDPAddr{IP: group().IP}) != nil {
				continue // it is tried again
			}
			isNew = true
		}
		present[i.Index] = true
	}
	n.joined = present
	return isNew, nil
}

// listen opens the socket, with others on this machine, and reads it until it is closed.
func (n *node) listen(ctx context.Context, first *net.Interface) error {
	conn, err := net.ListenMulticastUDP("udp4", first, group())
	if err != nil {
		return fmt.Errorf("listen to multicast DNS: %w", err)
	}
	p := ipv4.NewPacketConn(conn)
	if err := errors.Join(p.SetMulticastLoopback(true), p.SetMulticastTTL(255)); err != nil { // RFC 6762, section 11
		return fmt.Errorf("listen to multicast DNS: %w", errors.Join(err, conn.Close()))
	}
	n.conn = conn
	n.peers.wait.Go(func() { n.read(ctx, conn) })
	return nil
}

func (n *node) read(ctx context.Context, conn *net.UDPConn) {
	buf := make([]byte, maxMessage)
	for {
		size, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // it may pass
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		}
		a, asks, ok := parse(buf[:size])
		if !ok {
			continue
		}
		select {
		case n.heard <- heard{a, asks, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}:
		case <-ctx.Done():
			return
		}
	}
}

// leave tells the others, and ends reading.
func (n *node) leave() {
	if n.conn == nil {
		return
	}
	n.self.holds = 0
	n.say(false)
	_ = n.conn.Close() // nothing is lost
}

// network is an interface with its addresses.
type network struct {
	net.Interface
	addrs []netip.Addr
}

// interfaces returns those that multicast DNS works on.
func interfaces() (found []network) {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	const wanted = net.FlagUp | net.FlagRunning | net.FlagMulticast
	for _, i := range all {
		if i.Flags&(wanted|net.FlagLoopback) != wanted {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		n := network{Interface: i}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() {
				n.addrs = append(n.addrs, prefix.Addr())
			}
		}
		if len(n.addrs) > 0 {
			found = append(found, n)
		}
	}
	return found
}

// OnLink reports whether an address is on a network that this machine is part of, so
// that no router lies between.
func OnLink(addr netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range all {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}
