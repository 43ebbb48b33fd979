package chaos_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/replica"
)

var (
	runs  = flag.Int("chaos", 6, "how many schedules to run")
	first = flag.Uint64("chaos.seed", 1, "the seed of the first schedule")
	steps = flag.Int("chaos.steps", 30, "steps of a schedule")
)

// TestChaos breaks everything between replicas that write, by a schedule for each seed,
// and wants them equal once it is mended.
func TestChaos(t *testing.T) {
	shared := startNATS(t)
	slots := make(chan struct{}, 4)
	for i := range *runs {
		seed := *first + uint64(i)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			slots <- struct{}{}
			defer func() { <-slots }()
			w := newWorld(t, seed, shared)
			defer w.close()
			for range *steps {
				w.step()
			}
			w.mend()
			w.prove()
		})
	}
}

// step does one thing. Most are writes; half of the others mend something.
func (w *world) step() {
	who := w.clients[w.random.IntN(len(w.clients))]
	does := []struct {
		weight int
		name   string
		do     func()
	}{
		{40, "write", func() { w.write(who) }},
		{8, "cut all", func() { w.proxy.cut() }},
		{5, "cut in the middle", func() { w.proxy.snip(64 + w.random.IntN(4000)) }},
		{5, "delay", func() { w.proxy.delay(time.Duration(w.random.IntN(5)) * time.Millisecond) }},
		{5, "block WebSockets", func() { w.gate.block("websocket") }},
		{3, "block streams", func() { w.gate.block("websocket", "text/event-stream") }},
		{8, "let all through", func() { w.gate.block() }},
		{4, "kill the hub", func() { w.killHub(); w.startHub() }},
		{3, "restart a replica", func() { w.restart(who) }},
		{4, "delete the stream", func() { w.deleteStream() }},
		{3, "purge the stream", func() { w.purgeStream() }},
		{8, "wait", func() { w.breathe() }},
	}
	total := 0
	for _, d := range does {
		total += d.weight
	}
	n := w.random.IntN(total)
	for _, d := range does {
		if n -= d.weight; n < 0 {
			w.note(d.name)
			d.do()
			return
		}
	}
}

// startNATS starts a server for all worlds: each has a space of its own.
func startNATS(t *testing.T) *server.Server {
	dir, err := os.MkdirTemp("", "chaos")
	require.NoError(t, err)
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true,
		StoreDir: filepath.Join(dir, "nats"), NoLog: true, NoSigs: true})
	require.NoError(t, err)
	s.Start()
	require.True(t, s.ReadyForConnections(time.Minute))
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
		require.NoError(t, os.RemoveAll(dir))
	})
	return s
}

// prove waits until each replica is proven equal to the hub, and the files are clean.
func (w *world) prove() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, c := range w.clients {
		w.eventually(ctx, c)
	}
	for _, c := range w.clients { // the first ones may have been equal to an earlier hub
		w.eventually(ctx, c)
	}
	for _, c := range w.clients {
		err := c.r.Check(ctx, func(p replica.Problem) { require.Fail(w.t, "a file is not clean", "%s: %v", c.name, p) })
		require.NoError(w.t, err)
		for id, want := range w.acked {
			v, err := c.r.Get(ctx, key(id))
			require.NoError(w.t, err, "%s: record %s", c.name, id)
			require.Contains(w.t, string(v), want, "%s: record %s", c.name, id)
		}
	}
}

// pseudo is a generator for a part of a world.
func pseudo(seed, part uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, part)) }
