package bundle_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
	"github.com/godwitdb/godwit/transport/bundle"
)

func at(lsn crdt.LSN) crdt.Cursor {
	c := crdt.Cursor{Epoch: 7, LSN: lsn}
	binary.BigEndian.PutUint64(c.Chain[:], uint64(lsn))
	return c
}

func changes(from, through crdt.LSN, data ...string) *transport.Changes {
	f := &transport.Changes{From: at(from), Through: at(through)}
	for _, d := range data {
		f.Sets = append(f.Sets, transport.Set{Members: []transport.Member{{Collection: "notes", ID: "1", Data: []byte(d)}}})
	}
	return f
}

// sample is a bundle of positions 3 to 9.
func sample(t testing.TB) []byte {
	var b bytes.Buffer
	w, err := bundle.NewWriter(&b, &transport.Hello{Protocol: 1, Space: "crew", Replica: crdt.ReplicaID{5}, Epoch: 7, Log: at(9)}, at(3))
	require.NoError(t, err)
	require.NoError(t, w.Write(changes(3, 5, "a", "b")))
	part := changes(5, 9, "c")
	part.More = true
	require.NoError(t, w.Write(part))
	part = changes(5, 9, "d")
	part.Part = 1
	require.NoError(t, w.Write(part))
	require.ErrorContains(t, w.Write(changes(5, 9, "again")), "begins at 5")
	info, err := w.Close()
	require.NoError(t, err)
	want := bundle.Info{Space: "crew", Replica: crdt.ReplicaID{5}, Epoch: 7, From: at(3), Through: at(9), Sets: 3, Changes: 4, Bytes: int64(b.Len())}
	require.Equal(t, want, info)
	got, err := bundle.Read(context.Background(), bytes.NewReader(b.Bytes()))
	require.NoError(t, err)
	require.Equal(t, want, got)
	return b.Bytes()
}

// A bundle with any bit flipped, cut anywhere or continued is refused as a whole.
func TestDamage(t *testing.T) {
	good := sample(t)
	read := func(b []byte) error {
		_, err := bundle.Read(context.Background(), bytes.NewReader(b))
		return err
	}
	for i := range good {
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << bit
			require.ErrorIs(t, read(bad), bundle.ErrDamaged, "byte %d, bit %d", i, bit)
		}
		require.ErrorIs(t, read(good[:i]), bundle.ErrDamaged, "cut at %d", i)
	}
	require.ErrorIs(t, read(append(bytes.Clone(good), 0)), bundle.ErrDamaged)
	huge := binary.AppendUvarint(bytes.Clone(good[:16]), 1<<62)
	require.ErrorIs(t, read(huge), bundle.ErrDamaged)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := bundle.Read(ctx, bytes.NewReader(good))
	require.ErrorIs(t, err, context.Canceled)
}

// hold speaks a session with the file, standing at a cursor, and returns the frames of the
// log.
func hold(t *testing.T, file string, stand crdt.Cursor) (frames []*transport.Changes) {
	ctx := context.Background()
	done := int64(0)
	c, err := bundle.Link(file, func(n, total int64) { done = n; require.LessOrEqual(t, n, total) }).Dial(ctx)
	require.NoError(t, err)
	defer func() {
		require.NoError(t, c.Close())
		_, err := c.Recv(ctx)
		require.ErrorIs(t, err, transport.ErrClosed)
	}()
	require.NoError(t, c.Send(ctx, &transport.Hello{Protocol: 1}))
	recv := func() transport.Frame {
		f, err := c.Recv(ctx)
		require.NoError(t, err)
		return f
	}
	hello := recv().(*transport.Hello)
	require.True(t, hello.Volatile)
	require.Equal(t, crdt.ReplicaID{5}, hello.Replica)
	require.NoError(t, c.Send(ctx, &transport.Ack{Through: stand}))
	require.Equal(t, &transport.Ack{}, recv())
	require.NoError(t, c.Send(ctx, &transport.Changes{From: at(0), Through: at(0)}))
	require.Equal(t, &transport.Changes{From: stand, Through: stand}, recv())
	require.NoError(t, c.Send(ctx, &transport.Changes{From: at(0), Through: at(1), End: true}))
	require.Equal(t, &transport.Ack{Through: at(1)}, recv())
	for len(frames) == 0 || !frames[len(frames)-1].End {
		frames = append(frames, recv().(*transport.Changes))
	}
	require.NotZero(t, done)
	idle, cancel := context.WithCancel(ctx)
	cancel()
	_, err = c.Recv(idle)
	require.ErrorIs(t, err, context.Canceled)
	return frames
}

func TestSession(t *testing.T) {
	file := filepath.Join(t.TempDir(), "b")
	require.NoError(t, os.WriteFile(file, sample(t), 0o600))
	end := &transport.Changes{From: at(9), Through: at(9), End: true}
	two, one := changes(5, 9, "c"), changes(5, 9, "d")
	two.More, one.Part = true, 1

	require.Equal(t, []*transport.Changes{changes(3, 5, "a", "b"), two, one, end}, hold(t, file, at(3)))
	require.Equal(t, []*transport.Changes{two, one, end}, hold(t, file, at(5)), "the rest")
	require.Equal(t, []*transport.Changes{end}, hold(t, file, at(9)), "nothing")

	forged := at(5)
	forged.Chain[15]++
	for _, elsewhere := range []crdt.Cursor{at(0), at(4), at(20), forged} {
		frames := hold(t, file, elsewhere)
		require.Len(t, frames, 4)
		for _, f := range frames[:3] {
			require.NotZero(t, f.Loose)
			require.Zero(t, f.From)
		}
		require.Equal(t, &transport.Changes{From: elsewhere, Through: elsewhere, End: true}, frames[3])
	}
}

func TestDialRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "b")
	require.NoError(t, os.WriteFile(file, sample(t)[:50], 0o600))
	_, err := bundle.Link(file, nil).Dial(context.Background())
	require.ErrorIs(t, err, bundle.ErrDamaged)
	require.Equal(t, transport.CodeMalformed, transport.CodeOf(err))
	_, err = bundle.Link(file+"x", nil).Dial(context.Background())
	require.ErrorIs(t, err, os.ErrNotExist)
}

// FuzzRead: whatever the bytes, an error or a bundle, in bounded memory.
func FuzzRead(f *testing.F) {
	good := sample(f)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(binary.AppendUvarint(bytes.Clone(good[:16]), 9<<20))
	random := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		bad := bytes.Clone(good)
		bad[random.IntN(len(bad))] = byte(random.Uint32())
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := bundle.Read(context.Background(), bytes.NewReader(b))
		if err != nil {
			require.ErrorIs(t, err, bundle.ErrDamaged)
		} else {
			require.Equal(t, int64(len(b)), info.Bytes)
		}
	})
}
