package natslink_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/natslink"
)

// admin is a client that looks into streams, and spoils them.
func admin(t testing.TB, url string) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(url)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return nc, js
}

func state(t testing.TB, js jetstream.JetStream) jetstream.StreamState {
	t.Helper()
	s, err := js.Stream(context.Background(), natslink.StreamName(space))
	require.NoError(t, err)
	return s.CachedInfo().State
}

// A change crosses the stream once, each way; who was away reads on where it was.
func TestStream(t *testing.T) {
	s := startServer(t, withJetStream(t))
	_, js := admin(t, s.ClientURL())
	a, b := newPlace(t), newPlace(t)
	a.stream(t, s.ClientURL())
	b.stream(t, s.ClientURL())
	a.put(t, "1", 1)
	b.put(t, "2", 2)
	await(t, 2, a, b)
	require.EqualValues(t, 2, state(t, js).Msgs)

	b.close(t)
	a.put(t, "3", 3)
	b.open(t)
	b.put(t, "4", 4)
	before := b.carrier(t)
	require.Positive(t, before.Read.LSN)
	b.stream(t, s.ClientURL())
	await(t, 4, a, b)
	require.EqualValues(t, 4, state(t, js).Msgs)
	a.awaitHanded(t)
	b.awaitHanded(t)
	require.Eventually(t, func() bool { return b.carrier(t).Read.LSN == 4 }, patience, 10*time.Millisecond)
	require.Equal(t, before.Epoch, b.carrier(t).Epoch)
}

// Sync ends when the server has what is the replica's, and the replica what is the
// stream's.
func TestStreamSync(t *testing.T) {
	s := startServer(t, withJetStream(t))
	link, err := newNode(t, s.ClientURL(), nil).Stream(space)
	require.NoError(t, err)
	a, b := newPlace(t), newPlace(t)
	for i := range 3000 {
		a.put(t, strconv.Itoa(i%100), i)
	}
	n, err := a.r.Sync(within(t), link)
	require.NoError(t, err)
	require.Equal(t, 3000, n.ChangesSent)
	n, err = b.r.Sync(within(t), link)
	require.NoError(t, err)
	require.Equal(t, 3000, n.ChangesReceived)
	require.Equal(t, contents(t, a.r), contents(t, b.r))
	n, err = b.r.Sync(within(t), link)
	require.NoError(t, err)
	require.Zero(t, n.ChangesReceived)
}

// Many sets that wait share messages; and a hub that publishes the same ones, beginning
// elsewhere, makes the same messages of most, which the server drops.
func TestParcels(t *testing.T) {
	s := startServer(t, withJetStream(t))
	_, js := admin(t, s.ClientURL())
	a, hub := newPlace(t), newPlace(t)
	const n = 1500
	for i := range n {
		a.put(t, strconv.Itoa(i), i)
	}
	hub.put(t, "other", 1)
	hub.meet(t, s.ClientURL(), a)
	node, hubs := newNode(t, s.ClientURL(), nil), newNode(t, s.ClientURL(), &natslink.Options{Hub: true})
	hub.syncStream(t, hubs)
	first := state(t, js).Bytes
	require.Less(t, state(t, js).Msgs, uint64(n/10))
	a.syncStream(t, node)
	second := state(t, js).Bytes - first
	t.Logf("%d bytes, then %d more", first, second)
	require.Less(t, second, first/2)
	b := newPlace(t)
	b.syncStream(t, node)
	require.Equal(t, contents(t, a.r), contents(t, b.r))
	require.Len(t, contents(t, b.r), n+1)
}

// A message is no second of one that holds some of its sets.
func TestParcelsAlike(t *testing.T) {
	s := startServer(t, withJetStream(t))
	node := newNode(t, s.ClientURL(), &natslink.Options{Hub: true})
	a, b, c := newPlace(t), newPlace(t), newPlace(t)
	for i := range 3 {
		a.put(t, "a"+strconv.Itoa(i), i)
	}
	b.meet(t, s.ClientURL(), a)
	b.put(t, "b", 1)
	c.meet(t, s.ClientURL(), b)
	c.put(t, "c", 1)
	a.syncStream(t, node)
	b.syncStream(t, node)
	c.syncStream(t, node)
	reader := newPlace(t)
	reader.syncStream(t, node)
	require.Equal(t, contents(t, c.r), contents(t, reader.r))
	require.Len(t, contents(t, reader.r), 5)
}

// A set of several MiB goes through a server that takes 64 KiB, between others that
// are published meanwhile.
func TestLargeSet(t *testing.T) {
	o := withJetStream(t)
	o.MaxPayload = 64 << 10
	s := startServer(t, o)
	a, b, c := newPlace(t), newPlace(t), newPlace(t)
	for _, p := range []*place{a, b, c} {
		p.stream(t, s.ClientURL())
	}
	require.NoError(t, a.r.Update(context.Background(), func(tx *replica.Tx) error {
		for i := range 60 {
			if err := tx.Put(key("big"+strconv.Itoa(i)), map[string]any{"data": noise(i, 50_000)}); err != nil {
				return err
			}
		}
		return nil
	}))
	for i := range 50 {
		b.put(t, strconv.Itoa(i), i)
	}
	await(t, 110, a, b, c)
}

// Parts without the rest hold up nothing: what follows them arrives.
func TestPartsThatNeverEnd(t *testing.T) {
	s := startServer(t, withJetStream(t))
	nc, _ := admin(t, s.ClientURL())
	a, b := newPlace(t), newPlace(t)
	a.stream(t, s.ClientURL())
	a.put(t, "1", 1)
	a.awaitHanded(t)
	for i := range 600 {
		m := nats.NewMsg("godwit.v1." + space + ".sets")
		m.Data = []byte{byte(i)}
		m.Header.Set("Godwit-Part", "0123456789abcdef0123456789ab"+strconv.Itoa(1000+i)+" 0 2")
		m.Header.Set("Nats-Msg-Id", strconv.Itoa(i))
		require.NoError(t, nc.PublishMsg(m))
	}
	require.NoError(t, nc.Flush())
	a.put(t, "2", 2)
	b.stream(t, s.ClientURL())
	await(t, 2, a, b)
}

// A position is not moved past the beginning of a set whose end has not come: who
// begins again there gets all of it.
func TestPartsHoldPosition(t *testing.T) {
	s := startServer(t, withJetStream(t))
	nc, _ := admin(t, s.ClientURL())
	a := newPlace(t)
	a.stream(t, s.ClientURL())
	a.put(t, "1", 1)
	a.awaitHanded(t)
	m := nats.NewMsg("godwit.v1." + space + ".sets")
	m.Header.Set("Godwit-Part", "0123456789abcdef0123456789abcdef 0 2")
	m.Header.Set("Nats-Msg-Id", "part")
	require.NoError(t, nc.PublishMsg(m))
	require.NoError(t, nc.Flush())
	a.put(t, "2", 2)
	a.awaitHanded(t)

	link, err := newNode(t, s.ClientURL(), nil).Stream(space)
	require.NoError(t, err)
	conn, err := link.Dial(within(t))
	require.NoError(t, err)
	defer conn.Close()
	shake(t, conn)
	for sets := 0; sets < 2; {
		f, err := conn.Recv(within(t))
		require.NoError(t, err)
		changes := f.(*transport.Changes)
		sets += len(changes.Sets)
		require.EqualValues(t, 1, changes.Through.LSN)
	}
}

// What is none of ours is passed over and counted, on every subject.
func TestForeignPayloads(t *testing.T) {
	s := startServer(t, withJetStream(t))
	nc, _ := admin(t, s.ClientURL())
	a, b := newPlace(t), newPlace(t)
	a.join(t, s.ClientURL())
	a.put(t, "1", 1)
	b.join(t, s.ClientURL())
	await(t, 1, a, b)
	codec := transport.NewCodec()
	valid, err := codec.Encode(&transport.Hello{Space: space})
	require.NoError(t, err)
	lie, err := codec.Encode(&transport.Changes{Sets: []transport.Set{{Members: []transport.Member{{Collection: "notes", ID: "1", Data: []byte("no change")}}}}})
	require.NoError(t, err)
	prefix := "godwit.v1." + space
	for _, payload := range [][]byte{nil, []byte("{}"), make([]byte, 100_000), valid, lie} {
		for _, what := range []string{".sets", ".who", ".here", ".hub", ".dial." + a.r.ID().String()} {
			require.NoError(t, nc.PublishRequest(prefix+what, "elsewhere", payload))
		}
		m := nats.NewMsg(prefix + ".sets")
		m.Data = payload
		m.Header.Set("Nats-Msg-Id", strconv.Itoa(len(payload)))
		m.Header.Set("Godwit-Part", "x 1 9999999999")
		require.NoError(t, nc.PublishMsg(m))
	}
	require.NoError(t, nc.Flush())
	b.put(t, "2", 2)
	await(t, 2, a, b)
	require.Eventually(t, func() bool { return a.node.Foreign() >= 10 && b.node.Foreign() >= 5 }, patience, 10*time.Millisecond)
}

// A replica that is slower than the stream loses nothing and is sent no more than
// it can hold.
func TestSlowReplica(t *testing.T) {
	s := startServer(t, withJetStream(t))
	link, err := newNode(t, s.ClientURL(), nil).Stream(space)
	require.NoError(t, err)
	a := newPlace(t)
	a.stream(t, s.ClientURL())
	for i := range 40 {
		require.NoError(t, a.r.Update(context.Background(), func(tx *replica.Tx) error {
			return tx.Put(key(strconv.Itoa(i)), map[string]any{"data": noise(i, 100_000)})
		}))
	}
	conn, err := link.Dial(within(t))
	require.NoError(t, err)
	defer conn.Close()
	shake(t, conn)
	got := 0
	for got < 40 {
		f, err := conn.Recv(within(t))
		require.NoError(t, err)
		changes, ok := f.(*transport.Changes)
		require.True(t, ok, "%v", f)
		require.LessOrEqual(t, len(changes.Sets), 4, "a frame takes 256 KiB and a set")
		got += len(changes.Sets)
	}
}

// shake begins a session as a replica that has nothing.
func shake(t testing.TB, conn transport.Conn) {
	t.Helper()
	ctx := within(t)
	require.NoError(t, conn.Send(ctx, &transport.Hello{Protocol: transport.ProtocolVersion, Replica: [8]byte{1}, Want: transport.Everything()}))
	f, err := conn.Recv(ctx)
	require.NoError(t, err)
	hello := f.(*transport.Hello)
	require.True(t, hello.Carrier)
	require.NoError(t, conn.Send(ctx, &transport.Ack{}))
	f, err = conn.Recv(ctx)
	require.NoError(t, err)
	require.Equal(t, &transport.Ack{}, f)
	f, err = conn.Recv(ctx)
	require.NoError(t, err)
	require.Equal(t, hello.Epoch, f.(*transport.Changes).From.Epoch)
	require.NoError(t, conn.Send(ctx, &transport.Changes{}))
}
