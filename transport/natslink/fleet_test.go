package natslink_test

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport/natslink"
)

func places(t testing.TB, n int) []*place {
	all := make([]*place, n)
	for i := range all {
		all[i] = newPlace(t)
	}
	return all
}

// Without JetStream everything goes from member to member.
func TestFleetWithoutJetStream(t *testing.T) {
	s := startServer(t, &server.Options{})
	all := places(t, 5)
	for i, p := range all {
		p.join(t, s.ClientURL())
		p.put(t, strconv.Itoa(i), i)
	}
	await(t, 5, all...)
	all[0].close(t) // it may have been a link of the chain
	for i := range 5 {
		all[1+i%4].put(t, "later"+strconv.Itoa(i), i)
	}
	await(t, 10, all[1:]...)
	all[0].open(t)
	all[0].join(t, s.ClientURL())
	await(t, 10, all...)
}

// smallBlocks has a stream's files end after 32 KB each.
func smallBlocks(o *natslink.Options) {
	o.Stream = func(c *jetstream.StreamConfig) { c.MaxBytes = 120_000 }
}

// A stream that a fleet lost, in all ways, loses nothing of the fleet's.
func TestFleetLosesStream(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(t *testing.T, s *server.Server) *server.Server
	}{
		{"Deleted", func(t *testing.T, s *server.Server) *server.Server {
			_, js := admin(t, s.ClientURL())
			require.NoError(t, js.DeleteStream(context.Background(), natslink.StreamName(space)))
			return s
		}},
		{"Purged", func(t *testing.T, s *server.Server) *server.Server {
			_, js := admin(t, s.ClientURL())
			st, err := js.Stream(context.Background(), natslink.StreamName(space))
			require.NoError(t, err)
			require.NoError(t, st.Purge(context.Background()))
			return s
		}},
		{"MiddleDeleted", func(t *testing.T, s *server.Server) *server.Server {
			_, js := admin(t, s.ClientURL())
			st, err := js.Stream(context.Background(), natslink.StreamName(space))
			require.NoError(t, err)
			last := st.CachedInfo().State.LastSeq
			for seq := last / 3; seq < last-2; seq++ {
				require.NoError(t, st.DeleteMsg(context.Background(), seq))
			}
			return s
		}},
		{"TailCut", func(t *testing.T, s *server.Server) *server.Server {
			return cutTail(t, s, false)
		}},
		{"TailCutWithIndex", func(t *testing.T, s *server.Server) *server.Server {
			return cutTail(t, s, true)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, withJetStream(t))
			all := places(t, 3)
			writer, reader, away := all[0], all[1], all[2]
			for _, p := range all {
				p.join(t, s.ClientURL(), smallBlocks)
			}
			for i := range 20 {
				writer.put(t, strconv.Itoa(i), i)
			}
			await(t, 20, all...)
			away.close(t)
			for i := range 60 {
				writer.putBytes(t, "missed"+strconv.Itoa(i), 1200)
				if i%5 == 0 {
					writer.awaitHanded(t) // not all in a few messages
				}
			}
			writer.awaitHanded(t)
			await(t, 80, writer, reader)
			s = tt.harm(t, s)
			writer.put(t, "after", 1)
			away.open(t)
			away.put(t, "meanwhile", 1)
			away.join(t, s.ClientURL(), smallBlocks)
			await(t, 82, all...)
		})
	}
}

// cutTail stops the server, removes the last block of the stream's messages, all of
// which were acknowledged, and starts it again. With the index gone too, the server
// gives the same sequence numbers to other messages.
func cutTail(t *testing.T, s *server.Server, index bool) *server.Server {
	_, js := admin(t, s.ClientURL())
	before := state(t, js)
	s = restart(t, s, func(dir string) {
		blocks := files(t, dir, ".blk")
		require.Greater(t, len(blocks), 1)
		require.NoError(t, os.Remove(blocks[len(blocks)-1]))
		if index {
			for _, f := range files(t, dir, "index.db") {
				require.NoError(t, os.Remove(f))
			}
		}
	})
	_, js = admin(t, s.ClientURL())
	after := state(t, js)
	require.Less(t, after.Msgs, before.Msgs)
	require.Equal(t, index, after.LastSeq < before.LastSeq)
	t.Logf("of messages up to %d, %d are left, up to %d", before.LastSeq, after.Msgs, after.LastSeq)
	return s
}

// restart stops a server with JetStream and starts it again on the same port.
func restart(t testing.TB, s *server.Server, between func(dir string)) *server.Server {
	t.Helper()
	addr, err := netip.ParseAddrPort(s.Addr().String())
	require.NoError(t, err)
	dir := filepath.Dir(s.StoreDir())
	stopServer(s)
	between(dir)
	return startServer(t, &server.Options{JetStream: true, StoreDir: dir, Port: int(addr.Port())})
}

// files lists those below a folder whose name ends so.
func files(t testing.TB, dir, suffix string) []string {
	var found []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, suffix) {
			found = append(found, path)
		}
		return err
	}))
	slices.Sort(found)
	return found
}
