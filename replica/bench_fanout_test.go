package replica_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/httplink"
)

const fanOut = 1000 // receivers

// BenchmarkFanOut: one hub, 1,000 replicas connected by WebSockets in one space, and
// single-field updates of 10 records one after another. The receivers are in a process
// of their own, unpack and acknowledge each frame, and store nothing. Time is that of
// this process's CPU, against a bare WebSocket server that sends messages of the same
// size to as many, in turns; memory is what idle sessions add to heap and stacks.
func BenchmarkFanOut(b *testing.B) {
	if url := os.Getenv("GODWIT_FAN_OUT"); url != "" {
		receivers(b, url, os.Getenv("GODWIT_FAN_OUT_BARE") != "")
		return
	}
	hub := open(b, &replica.Options{Space: "bench"})
	fillIDs(b, hub, 10, wideID)
	link := listen(b, hub)
	before := idleMemory()
	hubDone := startReceivers(b, "GODWIT_FAN_OUT="+link.String())
	hubDone()                           // all have shaken hands and are caught up
	time.Sleep(1500 * time.Millisecond) // so have the cursors been written down
	perSession := float64(idleMemory()-before) / fanOut

	send, url := bareFanOut(b)
	bareDone := startReceivers(b, "GODWIT_FAN_OUT="+url, "GODWIT_FAN_OUT_BARE=1")
	bareDone()

	const round = 20
	var ours, bare time.Duration
	n := 0
	acks := acksReceived(b, hub)
	for b.Loop() {
		start := cpuTime(b)
		for i := range round {
			edit(b, hub, i%10, 1)
			hubDone()
		}
		time.Sleep(replica.AckEvery * 5 / 4) // for the acknowledgements that are held back
		middle := cpuTime(b)
		for range round {
			send()
			bareDone()
		}
		ours, bare = ours+middle-start, bare+cpuTime(b)-middle
		n += round * fanOut
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(ours.Nanoseconds())/float64(n), "ns/delivered")
	b.ReportMetric(float64(bare.Nanoseconds())/float64(n), "ns/bare")
	b.ReportMetric(float64(ours)/float64(bare), "times-bare")
	b.ReportMetric(float64(acksReceived(b, hub)-acks)/float64(n), "acks/delivered")
	b.ReportMetric(perSession/1024, "KiB/session")
}

func acksReceived(b *testing.B, r *replica.Replica) int64 {
	m, err := r.Metrics(context.Background())
	require.NoError(b, err)
	return m.FramesReceived[transport.KindAck.String()]
}

func cpuTime(b testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// idleMemory returns what heap and stacks hold.
func idleMemory() int64 {
	runtime.GC()
	runtime.GC()
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() + samples[1].Value.Uint64())
}

// startReceivers starts the other process. The function it returns waits until all
// receivers have got one more message.
func startReceivers(b *testing.B, env ...string) (wait func()) {
	cmd := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkFanOut$", "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), env...)
	stdin, err := cmd.StdinPipe() // to be closed at the end
	require.NoError(b, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	lines := bufio.NewScanner(stdout)
	b.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	return func() {
		for lines.Scan() {
			if lines.Text() == "all" {
				return
			}
			require.False(b, strings.Contains(lines.Text(), "FAIL"), lines.Text())
		}
		require.Fail(b, "the receivers ended early")
	}
}

// bareFanOut returns a function that sends a message to all who are connected, each
// by a goroutine of its own, and where to connect.
func bareFanOut(b *testing.B) (send func(), url string) {
	var mu sync.Mutex
	var all []chan []byte
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c, err := websocket.Accept(w, req, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
		if err != nil {
			return
		}
		defer c.CloseNow()
		in := make(chan []byte, 1)
		in <- []byte("hello")
		mu.Lock()
		all = append(all, in)
		mu.Unlock()
		for {
			select {
			case <-done:
				return
			case m := <-in:
				if c.Write(context.Background(), websocket.MessageBinary, m) != nil {
					return
				}
			}
		}
	}))
	b.Cleanup(func() { close(done); server.Close() })
	message := make([]byte, 45) // what a frame of one update has, see BenchmarkWireLive
	return func() {
		mu.Lock()
		defer mu.Unlock()
		for _, in := range all {
			in <- message
		}
	}, "ws" + strings.TrimPrefix(server.URL, "http")
}

// receivers is the other process: it says "all" whenever each receiver has got one more
// message, until standard input ends.
func receivers(b *testing.B, url string, bare bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var got atomic.Int64
	count := func() {
		if got.Add(1)%fanOut == 0 {
			fmt.Println("all")
		}
	}
	var wg sync.WaitGroup
	gate := make(chan struct{}, 20) // dialling at a time
	for range fanOut {
		gate <- struct{}{}
		wg.Go(func() {
			dialled := sync.OnceFunc(func() { <-gate })
			defer dialled()
			var err error
			if bare {
				err = receiveBare(ctx, url, func() { dialled(); count() })
			} else {
				err = receive(ctx, url, func() { dialled(); count() })
			}
			if err != nil && ctx.Err() == nil {
				fmt.Println("FAIL", err)
			}
		})
	}
	wg.Wait()
}

func receiveBare(ctx context.Context, url string, count func()) error {
	c, _, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	for {
		if _, _, err := c.Read(ctx); err != nil {
			return err
		}
		count()
	}
}

// receive speaks the protocol as a replica that stores nothing: it counts once when it
// is caught up, and for each frame of changes then.
func receive(ctx context.Context, url string, count func()) error {
	link, err := httplink.New(url, nil)
	if err != nil {
		return err
	}
	c, err := link.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	hello := &transport.Hello{Protocol: transport.ProtocolVersion, Space: "bench", Epoch: 1, Log: crdt.Cursor{Epoch: 1},
		Want: transport.Everything(), Knows: []string{transport.KnowsPack}}
	_, _ = rand.Read(hello.Replica[:])
	if err := c.Send(ctx, hello); err != nil {
		return err
	}
	acks := &acker{c: c}
	var u transport.Unpacker
	for {
		f, err := c.Recv(ctx)
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *transport.Hello:
			err = c.Send(ctx, &transport.Ack{Through: crdt.Cursor{Epoch: f.Epoch}})
		case *transport.Ack:
			if f.Bare {
				break
			}
			err = c.Send(ctx, &transport.Changes{From: hello.Log, Through: hello.Log})
		case *transport.Changes:
			if len(f.Packed) == 0 {
				break // the handshake's
			}
			if f, err = u.Unpack(f, func(crdt.Key, []byte) (h crdt.Hash, ok bool) { return h, false }); err != nil {
				return err
			}
			if f == nil {
				break
			}
			if err = acks.applied(ctx, f); len(f.Sets) > 0 {
				count()
			}
		}
		if err != nil {
			return err
		}
	}
}

// acker acknowledges as a session does.
type acker struct {
	c transport.Conn

	mu    sync.Mutex // guards what follows, and sending
	pace  replica.AckPace
	next  *transport.Ack // held back
	timer *time.Timer
}

func (a *acker) applied(ctx context.Context, f *transport.Changes) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	bytes := 0
	for _, s := range f.Sets {
		bytes += s.Size()
	}
	a.next = &transport.Ack{Through: f.Through, Bare: true}
	wait := a.pace.Applied(bytes)
	switch {
	case wait == 0 || f.End:
		return a.send(ctx)
	case a.timer == nil:
		a.timer = time.AfterFunc(wait, func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			_ = a.send(ctx) // that it failed is met in receiving
		})
	default:
		a.timer.Reset(wait)
	}
	return nil
}

// send sends what is held back. The caller holds mu.
func (a *acker) send(ctx context.Context) error {
	if a.next == nil {
		return nil
	}
	ack := a.next
	a.next = nil
	a.pace.Sent()
	return a.c.Send(ctx, ack)
}
