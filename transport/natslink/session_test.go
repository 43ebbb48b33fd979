package natslink_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/natslink"
)

// accepting serves a space and hands out what is accepted.
func accepting(t testing.TB, n *natslink.Node, o natslink.ServeOptions) <-chan transport.Conn {
	accepted := make(chan transport.Conn, 16)
	o.Accept = func(ctx context.Context, _ string, c transport.Conn, _ transport.Grant) error {
		accepted <- c
		<-ctx.Done()
		return nil
	}
	serve(t, n, &o)
	return accepted
}

// A frame that the network loses ends the session: nothing is lost within one.
func TestLostMessage(t *testing.T) {
	s := startServer(t, &server.Options{})
	accepted := accepting(t, newNode(t, s.ClientURL(), nil), natslink.ServeOptions{Space: space})
	lossy := &lossyDialer{}
	a := dial(t, peerLink(t, newNode(t, s.ClientURL(), &natslink.Options{NATS: []nats.Option{nats.SetCustomDialer(lossy)}}), space))
	b := <-accepted
	ctx := within(t)
	for i := range 3 {
		lossy.lose(i == 1)
		require.NoError(t, a.Send(ctx, &transport.Ping{Nonce: uint64(i)}))
		if i < 2 { // each in a write of its own
			require.Eventually(t, lossy.idle, patience, time.Millisecond)
		}
	}
	f, err := b.Recv(ctx)
	require.NoError(t, err)
	require.Equal(t, &transport.Ping{Nonce: 0}, f)
	_, err = b.Recv(ctx)
	require.ErrorIs(t, err, transport.ErrClosed)
	require.ErrorContains(t, err, "messages 2 to 2 were lost")
	_, err = a.Recv(ctx)
	require.ErrorIs(t, err, transport.ErrClosed)
}

// lossyDialer can lose published messages: whole writes that begin with one.
type lossyDialer struct {
	mu     sync.Mutex
	losing bool
	writes int
}

func (d *lossyDialer) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	return &lossyConn{c, d}, err
}

func (d *lossyDialer) lose(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.losing, d.writes = on, 0
}

// idle reports whether something was written since lose was called.
func (d *lossyDialer) idle() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writes > 0
}

type lossyConn struct {
	net.Conn
	d *lossyDialer
}

func (c *lossyConn) Write(b []byte) (int, error) {
	c.d.mu.Lock()
	lost := c.d.losing && strings.HasPrefix(string(b), "PUB ")
	c.d.writes++
	c.d.mu.Unlock()
	if lost {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// A peer whose process is gone is noticed by its silence.
func TestHalfOpen(t *testing.T) {
	hub, leaf := startLeaf(t)
	heart := &natslink.Options{Heartbeat: 50 * time.Millisecond}
	accepted := accepting(t, newNode(t, leaf.ClientURL(), nil), natslink.ServeOptions{Space: space})
	a := dial(t, peerLink(t, newNode(t, hub.ClientURL(), heart), space))
	<-accepted
	stopServer(leaf) // no word of it reaches a
	_, err := a.Recv(within(t))
	require.ErrorIs(t, err, transport.ErrClosed)
	require.ErrorContains(t, err, "gone")
}

// A session over a server that stops ends on both sides, and the node connects again
// by itself.
func TestServerRestart(t *testing.T) {
	s := startServer(t, withJetStream(t))
	accepted := accepting(t, newNode(t, s.ClientURL(), nil), natslink.ServeOptions{Space: space})
	link := peerLink(t, newNode(t, s.ClientURL(), nil), space)
	a := dial(t, link)
	b := <-accepted
	restart(t, s, func(string) {
		for _, c := range []transport.Conn{a, b} {
			_, err := c.Recv(within(t))
			require.ErrorIs(t, err, transport.ErrClosed)
		}
	})
	require.Eventually(t, func() bool {
		c, err := link.Dial(within(t))
		if err == nil {
			err = c.Close()
		}
		return err == nil
	}, patience, 10*time.Millisecond)
}

// Many hubs share the sessions of a space, and of all spaces.
func TestHubsShareLoad(t *testing.T) {
	s := startServer(t, &server.Options{})
	var mu sync.Mutex
	got := map[int]int{}
	for hub := range 3 {
		serve(t, newNode(t, s.ClientURL(), &natslink.Options{Hub: true}), &natslink.ServeOptions{
			Accept: func(_ context.Context, name string, c transport.Conn, _ transport.Grant) error {
				mu.Lock()
				defer mu.Unlock()
				require.Contains(t, []string{"one", "two.parts"}, name)
				got[hub]++
				return nil
			},
		})
	}
	n := newNode(t, s.ClientURL(), nil)
	for i := range 60 {
		require.NoError(t, dial(t, peerLink(t, n, []string{"one", "two.parts"}[i%2])).Close())
	}
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return got[0]+got[1]+got[2] == 60 && min(got[0], got[1], got[2]) > 0
	}, patience, time.Millisecond)
}

func TestBusy(t *testing.T) {
	s := startServer(t, &server.Options{})
	accepted := accepting(t, newNode(t, s.ClientURL(), nil), natslink.ServeOptions{Space: space, MaxSessions: 1})
	link := peerLink(t, newNode(t, s.ClientURL(), nil), space)
	dial(t, link)
	<-accepted
	_, err := link.Dial(within(t))
	requireCode(t, transport.CodeBusy, err)
}

// A peer that sends more than it was allowed to is cut off.
func TestFlood(t *testing.T) {
	s := startServer(t, &server.Options{})
	accepted := accepting(t, newNode(t, s.ClientURL(), nil), natslink.ServeOptions{Space: space})
	nc, err := nats.Connect(s.ClientURL())
	require.NoError(t, err)
	defer nc.Close()
	inbox := nats.NewInbox()
	answers, err := nc.SubscribeSync(inbox)
	require.NoError(t, err)
	open := append(make([]byte, 17), 1, 0, 4, 0, 0, 0, 32, 0, 0) // terms: 256 KiB, 2 MiB
	open[0] = 1
	n := newNode(t, s.ClientURL(), nil)
	require.NoError(t, dial(t, peerLink(t, n, space)).Close()) // it serves
	<-accepted
	require.NoError(t, nc.PublishRequest("godwit.v1."+space+".who", inbox, nil))
	who, err := answers.NextMsg(patience)
	require.NoError(t, err)
	id := strings.Split(string(who.Data), `"`)[3]
	require.NoError(t, nc.PublishRequest("godwit.v1."+space+".dial."+id, inbox, open))
	yes, err := answers.NextMsg(patience)
	require.NoError(t, err)
	require.Equal(t, byte(2), yes.Data[0])
	for i := range 12 {
		m := append(make([]byte, 17), make([]byte, 256<<10)...)
		m[0], m[8] = 4, byte(i+1)
		require.NoError(t, nc.Publish(yes.Reply, m))
	}
	c := <-accepted
	for bye := false; !bye; {
		m, err := answers.NextMsg(patience)
		require.NoError(t, err)
		bye = m.Data[0] == 7
	}
	_, err = c.Recv(within(t))
	require.ErrorIs(t, err, transport.ErrClosed)
	require.ErrorContains(t, err, "more than it was allowed")
}

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex
	all strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// A stream says where a replica may read on, and that it lost something if so.
func TestStreamPosition(t *testing.T) {
	s := startServer(t, withJetStream(t))
	_, js := admin(t, s.ClientURL())
	a := newPlace(t)
	a.stream(t, s.ClientURL())
	for i := range 10 {
		a.put(t, string(rune('a'+i)), i)
		a.awaitHanded(t) // alone in its message
	}
	log := &lines{}
	link, err := newNode(t, s.ClientURL(), &natslink.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}).Stream(space)
	require.NoError(t, err)
	begin := func(at crdt.Cursor) (first crdt.Cursor, frames []*transport.Changes) {
		ctx := within(t)
		c, err := link.Dial(ctx)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.Send(ctx, &transport.Hello{Want: transport.Everything()}))
		require.NoError(t, c.Send(ctx, &transport.Ack{Through: at}))
		for n := 0; ; n++ {
			f, err := c.Recv(ctx)
			require.NoError(t, err)
			f1, ok := f.(*transport.Changes)
			switch {
			case n < 2:
			case n == 2:
				first = f1.From
			case ok:
				frames = append(frames, f1)
				if f1.End {
					return first, frames
				}
			}
		}
	}
	zero, frames := begin(crdt.Cursor{})
	require.Zero(t, zero.LSN)
	end := frames[len(frames)-1].Through
	require.EqualValues(t, 10, end.LSN)
	sets := 0
	for _, f := range frames {
		sets += len(f.Sets)
	}
	require.Equal(t, 10, sets)
	require.NotContains(t, log.String(), "lost")

	first, frames := begin(end)
	require.Equal(t, end, first)
	require.Len(t, frames, 1)
	require.Empty(t, frames[0].Sets)
	require.NotContains(t, log.String(), "lost")

	for _, wrong := range []crdt.Cursor{
		{Epoch: end.Epoch, LSN: end.LSN, Chain: crdt.Chain{1}}, // another message has the number now
		{Epoch: end.Epoch, LSN: end.LSN + 1, Chain: end.Chain}, // the stream was set back
	} {
		log.all.Reset()
		first, _ = begin(wrong)
		require.Equal(t, zero, first)
		require.Contains(t, log.String(), "lost")
	}

	st, err := js.Stream(context.Background(), natslink.StreamName(space))
	require.NoError(t, err)
	require.NoError(t, st.DeleteMsg(context.Background(), 4))
	log.all.Reset()
	_, frames = begin(crdt.Cursor{})
	require.Equal(t, end, frames[len(frames)-1].Through)
	require.Contains(t, log.String(), "4 to 4")

	require.NoError(t, js.DeleteStream(context.Background(), natslink.StreamName(space)))
	first, _ = begin(end)
	require.Zero(t, first.LSN)
	require.NotEqual(t, end.Epoch, first.Epoch)
}
