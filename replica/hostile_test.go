package replica_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/coder/websocket"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
	"github.com/godwitdb/godwit/transport/memlink"
)

// victim is a target of attacks: a hub that is reached over both links, holds a record, and
// has an honest peer in session all the time.
type victim struct {
	t      *testing.T
	r      *replica.Replica
	net    *memlink.Network
	url    string
	honest *rawPeer
	before map[string]string
	chain  []*crdt.Change // of one record
	pushed int            // of the chain, by the honest peer
}

func newVictim(t *testing.T) *victim {
	v := &victim{t: t, r: open(t, &replica.Options{Space: "crew", Synchronous: persist.Normal}), net: network(t), chain: authored(t, 100)}
	serve(t, v.net, "hub", v.r)
	hub := httplink.Handler(&httplink.ServerOptions{Accept: func(ctx context.Context, _ string, c transport.Conn, g transport.Grant) error {
		return v.r.Accept(ctx, c, g)
	}})
	server := httptest.NewServer(hub)
	t.Cleanup(func() {
		require.NoError(t, hub.Close(context.Background()))
		server.Close()
	})
	v.url = server.URL + "/spaces/crew"
	put(t, v.r, "kept", `{"v":1}`)
	v.honest = dialRaw(t, v.net.Link("honest", "hub"))
	v.honest.shake()
	v.before = contents(t, v.r)
	return v
}

// requireUnharmed checks that nothing of the attack was applied, and that the
// honest peer is served.
func (v *victim) requireUnharmed() {
	v.t.Helper()
	require.Equal(v.t, v.before, contents(v.t, v.r))
	require.Empty(v.t, v.honest.push(member("honest", v.chain[v.pushed])))
	v.pushed++
	v.before = contents(v.t, v.r)
	requireClean(v.t, v.r)
}

// attackers dials the hub over each link, as a peer that nobody knows.
func (v *victim) attackers(t *testing.T, run func(*testing.T, *rawPeer)) {
	link, err := httplink.New(v.url, nil)
	require.NoError(t, err)
	for name, link := range map[string]transport.Link{"memlink": v.net.Link("evil", "hub"), "httplink": link} {
		t.Run(name, func(t *testing.T) {
			p := dialRaw(t, link)
			run(t, p)
			v.requireUnharmed()
		})
	}
}

// refusal receives until the hub ends the session, and returns what it said.
func (p *rawPeer) refusal() *transport.Error {
	for {
		f, err := p.conn.Recv(context.Background())
		require.NoError(p.t, err, "the session ended without a reason")
		if e, ok := f.(*transport.Error); ok {
			_, err = p.conn.Recv(context.Background())
			require.ErrorIs(p.t, err, transport.ErrClosed)
			return e
		}
	}
}

// hello is that of attackers; the honest peer is another one.
func hello() *transport.Hello {
	return &transport.Hello{Protocol: transport.ProtocolVersion, Replica: crdt.ReplicaID{66}, Epoch: 99, Log: crdt.Cursor{Epoch: 99}, Want: transport.Everything()}
}

func (p *rawPeer) shakeEvil() {
	p.send(hello())
	theirs := p.recv().(*transport.Hello)
	p.send(&transport.Ack{Through: crdt.Cursor{Epoch: theirs.Epoch}})
	p.recv()
	p.send(&transport.Changes{From: p.at, Through: p.at})
	p.recv()
}

// Frames that are well formed and out of place end their session with the reason,
// whatever stage it is in.
func TestFramesOutOfPlaceEndTheSession(t *testing.T) {
	v := newVictim(t)
	at := func(lsn crdt.LSN) crdt.Cursor { return crdt.Cursor{Epoch: 99, LSN: lsn} }
	one := transport.Set{Members: []transport.Member{member("evil", v.chain[0])}}
	flood := transport.Set{Members: make([]transport.Member, replica.MaxSetChanges/2)}
	for i := range flood.Members {
		flood.Members[i] = member("evil", v.chain[0])
	}
	bulk := transport.Set{Members: []transport.Member{{Collection: "notes", ID: "evil", Data: make([]byte, replica.MaxSetBytes-1000)}}}
	tests := []struct {
		name   string
		before bool // the handshake
		frames []transport.Frame
		code   string
		says   string
	}{
		{"newer version", true, []transport.Frame{&transport.Hello{Protocol: transport.ProtocolVersion + 1}}, transport.CodeProtocol, "version"},
		{"capability", true, []transport.Frame{&transport.Hello{Protocol: transport.ProtocolVersion, Requires: []string{"telepathy"}}}, transport.CodeProtocol, "telepathy"},
		{"another space", true, []transport.Frame{&transport.Hello{Protocol: transport.ProtocolVersion, Space: "navy"}}, transport.CodeSpace, "navy"},
		{"acks what was never sent", false, []transport.Frame{&transport.Ack{Through: at(1000)}}, transport.CodeProtocol, "not in this log"},
		{"part of two sets", false, []transport.Frame{&transport.Changes{From: at(0), Through: at(2), Sets: []transport.Set{one, one}, More: true}}, transport.CodeProtocol, "part"},
		{"set of too many changes", false, []transport.Frame{
			&transport.Changes{From: at(0), Through: at(9), Sets: []transport.Set{flood}, More: true},
			&transport.Changes{From: at(0), Through: at(9), Sets: []transport.Set{flood}, More: true, Part: 1},
			&transport.Changes{From: at(0), Through: at(9), Sets: []transport.Set{one}, Part: 2}}, transport.CodeTooLarge, "set"},
		{"set of too many bytes", false, []transport.Frame{
			&transport.Changes{From: at(0), Through: at(9), Sets: []transport.Set{bulk}, More: true},
			&transport.Changes{From: at(0), Through: at(9), Sets: []transport.Set{bulk}, Part: 1}}, transport.CodeTooLarge, "set"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v.attackers(t, func(t *testing.T, p *rawPeer) {
				if !tt.before {
					p.shakeEvil()
				}
				for _, f := range tt.frames {
					p.send(f)
				}
				e := p.refusal()
				require.Equal(t, tt.code, e.Code, e.Message)
				require.Contains(t, e.Message, tt.says)
			})
		})
	}
}

// In the handshake frames that do not fit are passed over, because carriers
// repeat and reorder; a peer that never sends the right one is told so.
func TestFramesOutOfPlaceInTheHandshake(t *testing.T) {
	at := func(lsn crdt.LSN) crdt.Cursor { return crdt.Cursor{Epoch: 99, LSN: lsn} }
	one := transport.Set{Members: []transport.Member{member("evil", authored(t, 1)[0])}}
	for name, frames := range map[string][]transport.Frame{
		"changes before hello":    {&transport.Changes{Sets: []transport.Set{one}}},
		"ack before hello":        {&transport.Ack{}},
		"ping before hello":       {&transport.Ping{}},
		"changes instead of ack":  {hello(), &transport.Changes{Sets: []transport.Set{one}}},
		"first changes not empty": {hello(), &transport.Ack{}, &transport.Changes{From: at(0), Through: at(1), Sets: []transport.Set{one}}},
		"begins elsewhere":        {hello(), &transport.Ack{}, &transport.Changes{From: at(5), Through: at(5)}},
		"nothing":                 nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := open(t, nil)
				net := network(t)
				serve(t, net, "hub", r)
				p := dialRaw(t, net.Link("evil", "hub"))
				for _, f := range frames {
					p.send(f)
				}
				e := p.refusal()
				require.Equal(t, transport.CodeTimeout, e.Code)
				require.Contains(t, e.Message, "handshake")
				require.Empty(t, contents(t, r))
				requireClean(t, r)
			})
		})
	}
}

// socket is a connection to which bytes can be written as they are.
type socket struct {
	ws    *websocket.Conn
	codec *transport.Codec
}

func (s socket) Send(ctx context.Context, f transport.Frame) error {
	b, err := s.codec.Encode(f)
	if err != nil {
		return err
	}
	return s.ws.Write(ctx, websocket.MessageBinary, b)
}

func (s socket) Recv(ctx context.Context) (transport.Frame, error) {
	_, b, err := s.ws.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", transport.ErrClosed, err)
	}
	return s.codec.Decode(b)
}

func (s socket) Close() error { return s.ws.CloseNow() }

// Bytes that are no frame end their session with the reason, before the
// handshake and after it.
func TestBytesThatAreNoFrames(t *testing.T) {
	v := newVictim(t)
	codec := transport.NewCodec()
	encode := func(f transport.Frame) []byte {
		b, err := codec.Encode(f)
		require.NoError(t, err)
		return b
	}
	pack, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	defer pack.Close()
	bomb := func(kind transport.Kind, size int) []byte {
		return pack.EncodeAll(make([]byte, size), []byte{byte(kind), 1})
	}
	changes := encode(&transport.Changes{From: v.honest.at, Through: v.honest.at,
		Sets: []transport.Set{{Members: []transport.Member{member("evil", v.chain[0])}}}})
	tests := map[string]struct {
		message []byte
		code    string
	}{
		"nothing":               {nil, transport.CodeMalformed},
		"a byte":                {[]byte{2}, transport.CodeMalformed},
		"unknown kind":          {[]byte{77, 0, 0xa0}, transport.CodeProtocol},
		"unknown compression":   {[]byte{1, 9, 0xa0}, transport.CodeMalformed},
		"truncated changes":     {changes[:len(changes)-7], transport.CodeMalformed},
		"trailing bytes":        {append(bytes.Clone(changes), 0), transport.CodeMalformed},
		"truncated hello":       {encode(hello())[:9], transport.CodeMalformed},
		"nested arrays":         {append([]byte{1, 0}, bytes.Repeat([]byte{0x81}, 60_000)...), transport.CodeMalformed},
		"nested maps":           {append([]byte{3, 0}, bytes.Repeat([]byte{0xa1, 1}, 30_000)...), transport.CodeMalformed},
		"an array of 2^62":      {[]byte{3, 0, 0xa1, 3, 0x9b, 0x40, 0, 0, 0, 0, 0, 0, 0}, transport.CodeMalformed},
		"sets of 2^62":          {[]byte{2, 0, 0xa0, 0x9b, 0x40, 0, 0, 0, 0, 0, 0, 0}, transport.CodeTooLarge},
		"text for a number":     {[]byte{1, 0, 0xa1, 1, 0x63, 'o', 'n', 'e'}, transport.CodeMalformed},
		"list for a map":        {[]byte{1, 0, 0x83, 1, 2, 3}, transport.CodeMalformed},
		"indefinite length":     {[]byte{1, 0, 0xbf, 1, 1, 0xff}, transport.CodeMalformed},
		"not zstd":              {append([]byte{2, 1}, strings.Repeat("x", 500)...), transport.CodeMalformed},
		"a bomb of 100 MB":      {bomb(transport.KindChanges, 100<<20), transport.CodeTooLarge},
		"a small frame of 1 MB": {bomb(transport.KindPing, 1<<20), transport.CodeTooLarge},
	}
	for name, tt := range tests {
		for _, stage := range []string{"before hello", "in session"} {
			t.Run(name+" "+stage, func(t *testing.T) {
				ws, _, err := websocket.Dial(context.Background(), v.url, &websocket.DialOptions{Subprotocols: []string{"godwit.1"}})
				require.NoError(t, err)
				p := &rawPeer{t: t, conn: socket{ws, codec}, at: crdt.Cursor{Epoch: 99}}
				defer p.conn.Close()
				if stage == "in session" {
					p.shakeEvil()
				}
				require.NoError(t, ws.Write(context.Background(), websocket.MessageBinary, tt.message))
				e := p.refusal()
				require.Equal(t, tt.code, e.Code, e.Message)
				v.requireUnharmed()
			})
		}
	}
	t.Run("an endless message", func(t *testing.T) {
		ws, _, err := websocket.Dial(context.Background(), v.url, &websocket.DialOptions{Subprotocols: []string{"godwit.1"}})
		require.NoError(t, err)
		defer ws.CloseNow()
		go func() {
			_ = ws.Write(context.Background(), websocket.MessageBinary, make([]byte, transport.MaxFrame+1))
		}()
		for err == nil {
			_, _, err = ws.Read(context.Background())
		}
		require.Equal(t, websocket.StatusMessageTooBig, websocket.CloseStatus(err))
		v.requireUnharmed()
	})
}

func single(id string, chunk []byte) transport.Set {
	return transport.Set{Members: []transport.Member{{Collection: "notes", ID: id, Data: chunk}}}
}

// offer sends sets in one frame and counts the codes of the exceptions.
func (p *rawPeer) offer(sets ...transport.Set) (codes map[string]int) {
	from := p.at
	p.at.LSN += crdt.LSN(len(sets))
	p.send(&transport.Changes{From: from, Through: p.at, Sets: sets})
	codes = map[string]int{}
	for {
		f := p.recv()
		if e, ok := f.(*transport.Error); ok {
			require.NoError(p.t, e)
		}
		if ack, ok := f.(*transport.Ack); ok {
			require.False(p.t, ack.Resend)
			for _, x := range ack.Exceptions {
				codes[x.Code]++
			}
			if ack.Through == p.at {
				return codes
			}
		}
	}
}

// A set is refused whole, for each way in which one of its members can be bad.
func TestNothingOfABadSetIsApplied(t *testing.T) {
	v := newVictim(t)
	p := dialRaw(t, v.net.Link("evil", "hub"))
	p.shakeEvil()
	good := member("evil", v.chain[0])
	long := strings.Repeat("\x01", transport.MaxName)
	fork := draftOf(v.chain[0])
	fork.message = "another"
	gap := draft{author: "gap", seq: 1, start: 1000, ops: []draftOp{{inMap: true, key: "k", action: crdt.Set}}}
	skipped := draftOf(v.chain[0])
	skipped.seq = 7
	var e encoder
	for name, tt := range map[string]struct {
		bad  transport.Member
		code string
	}{
		"no chunk":         {transport.Member{Collection: "notes", ID: "x", Data: []byte("hello")}, crdt.CodeChunk},
		"no bytes":         {transport.Member{Collection: "notes", ID: "x"}, crdt.CodeChunk},
		"two chunks":       {transport.Member{Collection: "notes", ID: "x", Data: append(bytes.Clone(v.chain[0].Raw()), v.chain[1].Raw()...)}, crdt.CodeChunk},
		"no name":          {transport.Member{Data: v.chain[0].Raw()}, "key"},
		"an unusable name": {transport.Member{Collection: long, ID: long, Data: v.chain[0].Raw()}, "key"},
		"fork":             {transport.Member{Collection: "notes", ID: "evil", Data: seal(e.data(&fork, nil))}, "forked"},
		"skipped":          {transport.Member{Collection: "notes", ID: "x", Data: seal(e.data(&skipped, nil))}, crdt.CodeSequence},
		"early":            {member("x", v.chain[3]), "parked"},
		"gap":              {transport.Member{Collection: "notes", ID: "x", Data: seal(e.data(&gap, nil))}, "parked"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, set := range [][]transport.Member{{good, tt.bad}, {tt.bad, good}} {
				if name == "fork" {
					set = []transport.Member{good, tt.bad}
				}
				require.Equal(t, map[string]int{tt.code: 1}, p.offer(transport.Set{Members: set}))
				v.requireUnharmed()
			}
		})
	}
	require.Equal(t, map[string]int{}, p.offer(transport.Set{Members: []transport.Member{good}}))
}

// An ack whose exceptions fill more than a frame is cut, not fatal.
func TestExceptionsBeyondAFrame(t *testing.T) {
	v := newVictim(t)
	p := dialRaw(t, v.net.Link("evil", "hub"))
	p.shakeEvil()
	var sets []transport.Set
	for i := range 8000 {
		sets = append(sets, transport.Set{Members: []transport.Member{{Collection: strings.Repeat("c", 100), ID: fmt.Sprintf("%0900d", i), Data: []byte{1}}}})
	}
	require.NotEmpty(t, p.offer(sets...))
	v.requireUnharmed()
	require.Equal(t, map[string]int{}, p.offer(single("evil", v.chain[0].Raw())), "the session goes on")
}
