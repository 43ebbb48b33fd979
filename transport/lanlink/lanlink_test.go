package lanlink_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport/lanlink"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// id returns a replica ID; they are ordered as their numbers.
func id(n uint64) (r crdt.ReplicaID) {
	binary.BigEndian.PutUint64(r[:], n)
	return r
}

// here is an address that is on a network of every machine.
var here = netip.MustParseAddrPort("127.0.0.1:5353")

func announced(t testing.TB, n uint64, port uint16, tag string, holds time.Duration) []byte {
	t.Helper()
	msg, err := lanlink.Announcement(id(n), port, tag, holds)
	require.NoError(t, err)
	return msg
}

// record is one of a foreign message.
type record struct {
	name string
	body dnsmessage.ResourceBody
}

func message(t testing.TB, h dnsmessage.Header, answers, additional []record) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: h}
	resources := func(records []record) (all []dnsmessage.Resource) {
		for _, r := range records {
			all = append(all, dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(r.name), Class: dnsmessage.ClassINET | 1<<15, TTL: 4500}, Body: r.body})
		}
		return all
	}
	m.Answers, m.Additionals = resources(answers), resources(additional)
	msg, err := m.Pack()
	require.NoError(t, err)
	return msg
}

func TestMessages(t *testing.T) {
	tag := lanlink.TagOf("crew", nil)
	got, port, gotTag, holds, asks, ok := lanlink.Parse(announced(t, 7, 4711, tag, 30*time.Second))
	require.True(t, ok)
	require.False(t, asks)
	require.Equal(t, []any{id(7), uint16(4711), tag, 30 * time.Second}, []any{got, port, gotTag, holds})

	question, err := lanlink.Question()
	require.NoError(t, err)
	_, _, _, _, asks, ok = lanlink.Parse(question)
	require.True(t, ok && asks)

	require.NotEqual(t, tag, lanlink.TagOf("crews", nil))
	key, err := lanlink.NewKey(bytes.Repeat([]byte("k"), 32))
	require.NoError(t, err)
	require.NotEqual(t, tag, lanlink.TagOf("crew", key))
}

// TestForeignMessages has messages of other programs, and damaged ones, be told from
// announcements.
func TestForeignMessages(t *testing.T) {
	const name = "0000000000000007._godwit._tcp.local."
	srv, txt := &dnsmessage.SRVResource{Port: 80, Target: dnsmessage.MustNewName("x.local.")}, &dnsmessage.TXTResource{TXT: []string{"v=1", "space=tag"}}
	response := dnsmessage.Header{Response: true}
	many := make([]record, 100)
	for i := range many {
		many[i] = record{"printer.local.", &dnsmessage.AResource{}}
	}
	whole := announced(t, 7, 80, "tag", time.Minute)
	for _, tt := range []struct {
		name string
		msg  []byte
		want bool
		tag  string
	}{
		{"ours, the cache flush bit set, parts among the additional records", message(t, response, []record{{name, srv}}, []record{{"other.local.", &dnsmessage.AResource{}}, {name, txt}}), true, "tag"},
		{"names in capitals", message(t, response, []record{{strings.ToUpper(name), srv}, {name, txt}}, nil), true, "tag"},
		{"of a later version", message(t, response, []record{{name, srv}, {name, &dnsmessage.TXTResource{TXT: []string{"v=2", "space=tag"}}}}, nil), true, ""},
		{"another service", message(t, response, []record{{"0000000000000007._ipp._tcp.local.", srv}, {"0000000000000007._ipp._tcp.local.", txt}}, nil), false, ""},
		{"no ID", message(t, response, []record{{"printer._godwit._tcp.local.", srv}, {"printer._godwit._tcp.local.", txt}}, nil), false, ""},
		{"SRV and TXT of two replicas", message(t, response, []record{{name, srv}, {"0000000000000008._godwit._tcp.local.", txt}}, nil), false, ""},
		{"without TXT", message(t, response, []record{{name, srv}}, nil), false, ""},
		{"port 0", message(t, response, []record{{name, &dnsmessage.SRVResource{Target: srv.Target}}, {name, txt}}, nil), false, ""},
		{"a question with answers", message(t, dnsmessage.Header{}, []record{{name, srv}, {name, txt}}, nil), false, ""},
		{"an error", message(t, dnsmessage.Header{Response: true, RCode: dnsmessage.RCodeRefused}, []record{{name, srv}, {name, txt}}, nil), false, ""},
		{"endless", message(t, response, append(many, record{name, srv}, record{name, txt}), nil), false, ""},
		{"empty", nil, false, ""},
		{"cut", whole[:len(whole)-20], false, ""},
		{"names that point at themselves", append(bytes.Clone(whole[:12]), 0xc0, 12, 0, 33, 0, 1), false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, tag, holds, _, ok := lanlink.Parse(tt.msg)
			require.Equal(t, tt.want, ok)
			if ok {
				require.Equal(t, tt.tag, tag)
				require.LessOrEqual(t, holds, lanlink.Holds)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	question, err := lanlink.Question()
	require.NoError(f, err)
	f.Add(question)
	f.Add(announced(f, 1, 80, "tag", time.Minute))
	f.Fuzz(func(t *testing.T, msg []byte) {
		got, port, tag, holds, asks, ok := lanlink.Parse(msg)
		if !ok || asks {
			return
		}
		again, err := lanlink.Announcement(got, port, tag, holds)
		if err != nil {
			return // a tag that is no tag of ours
		}
		got2, port2, tag2, holds2, _, ok := lanlink.Parse(again)
		require.True(t, ok)
		require.Equal(t, []any{got, port, tag, holds}, []any{got2, port2, tag2, holds2})
	})
}

// found notes calls of Found, each of which lasts until its peer has gone.
type found struct {
	mu    sync.Mutex // guards what follows
	calls []lanlink.Peer
	live  int
}

// call is Found.
func (f *found) call(ctx context.Context, p lanlink.Peer) {
	f.mu.Lock()
	f.calls = append(f.calls, p)
	f.live++
	f.mu.Unlock()
	<-ctx.Done()
	f.mu.Lock()
	f.live--
	f.mu.Unlock()
}

func listening(t *testing.T, f *found) *lanlink.Heard {
	ctx, cancel := context.WithCancel(t.Context())
	h := lanlink.NewHeard(ctx, &lanlink.Options{Space: "crew", Replica: id(5), Found: f.call})
	t.Cleanup(func() {
		cancel()
		h.Wait()
	})
	return h
}

// hears has a node take in a message from 127.0.0.1, and waits for what it does.
func hears(h *lanlink.Heard, msg []byte) {
	h.Message(msg, here)
	synctest.Wait()
}

// TestWhoIsDialled: the greater one of the same space, where it says that it is, once.
func TestWhoIsDialled(t *testing.T) {
	tag := lanlink.TagOf("crew", nil)
	synctest.Test(t, func(t *testing.T) {
		f := &found{}
		h := listening(t, f)
		for _, msg := range [][]byte{
			announced(t, 5, 80, tag, time.Minute),                         // itself
			announced(t, 4, 80, tag, time.Minute),                         // it dials us
			announced(t, 6, 80, lanlink.TagOf("other", nil), time.Minute), // another space
			announced(t, 6, 80, tag, 0),                                   // leaving, never seen
		} {
			hears(h, msg)
		}
		h.Message(announced(t, 6, 80, tag, time.Minute), netip.MustParseAddrPort("203.0.113.9:5353")) // beyond a router
		synctest.Wait()
		require.Empty(t, f.calls)

		want := lanlink.Peer{Replica: id(6), Addr: netip.MustParseAddrPort("127.0.0.1:80")}
		for range 3 {
			hears(h, announced(t, 6, 80, tag, time.Minute))
		}
		hears(h, announced(t, 6, 81, tag, time.Minute)) // somebody pretends
		require.Equal(t, []lanlink.Peer{want}, f.calls)
		require.Equal(t, 1, f.live)
	})
}

// TestWhoHasGone: who takes its leave, and who is silent; and it may come back.
func TestWhoHasGone(t *testing.T) {
	tag := lanlink.TagOf("crew", nil)
	synctest.Test(t, func(t *testing.T) {
		f := &found{}
		h := listening(t, f)
		hears(h, announced(t, 6, 80, tag, time.Minute))
		hears(h, announced(t, 6, 81, tag, 0)) // not where it is
		require.Equal(t, 1, f.live)
		hears(h, announced(t, 6, 80, tag, 0))
		h.Ended()
		require.Zero(t, f.live)

		hears(h, announced(t, 6, 80, tag, time.Minute))
		require.Zero(t, f.live, "it is left alone for a while")
		hears(h, announced(t, 6, 81, tag, time.Minute))
		require.Equal(t, 1, f.live, "elsewhere it is dialled at once")

		time.Sleep(50 * time.Second)
		hears(h, announced(t, 6, 81, tag, time.Minute))
		time.Sleep(50 * time.Second)
		h.Tick()
		synctest.Wait()
		require.Equal(t, 1, f.live)
		time.Sleep(11 * time.Second)
		h.Tick()
		h.Ended()
		require.Zero(t, f.live)
		time.Sleep(lanlink.Rest + 1)
		hears(h, announced(t, 6, 81, tag, time.Minute))
		require.Equal(t, 1, f.live)
	})
}

// TestCrowd: IDs cost nothing, connections do.
func TestCrowd(t *testing.T) {
	tag := lanlink.TagOf("crew", nil)
	synctest.Test(t, func(t *testing.T) {
		f := &found{}
		h := listening(t, f)
		for n := range uint64(10 * lanlink.MaxPeers) {
			h.Message(announced(t, 6+n, 80, tag, time.Minute), here)
		}
		synctest.Wait()
		require.Len(t, f.calls, lanlink.MaxPeers)
	})
}

// TestKeys: a connection stands exactly if both sides have the same key.
func TestKeys(t *testing.T) {
	config := func(secret string) *tls.Config {
		key, err := lanlink.NewKey([]byte(secret))
		require.NoError(t, err)
		c, err := key.TLS()
		require.NoError(t, err)
		return c
	}
	a, b := strings.Repeat("a", 32), strings.Repeat("b", 32)
	without := &tls.Config{InsecureSkipVerify: true}
	for _, tt := range []struct {
		name   string
		server *tls.Config
		client *tls.Config
		want   bool
	}{
		{"the same", config(a), config(a + "\n"), true},
		{"another one of the client's", config(a), config(b), false},
		{"a client without", config(a), without, false},
		{"a server without", &tls.Config{Certificates: config(b).Certificates}, config(a), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			left, right := net.Pipe()
			defer left.Close()
			served := make(chan error, 1)
			go func() {
				s := tls.Server(right, tt.server)
				err := s.Handshake()
				if err == nil {
					_, err = s.Write([]byte("x"))
				}
				served <- err
				_ = right.Close()
			}()
			c := tls.Client(left, tt.client)
			_, err := c.Read(make([]byte, 1))
			_ = left.Close()
			require.Equal(t, tt.want, err == nil && <-served == nil, "%v", err)
		})
	}
	_, err := lanlink.NewKey([]byte("a word and blanks                        "))
	require.ErrorContains(t, err, "at least 32")
}
