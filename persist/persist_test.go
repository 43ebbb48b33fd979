package persist_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// TestMain is also the main function of the subprocesses that tests start.
func TestMain(m *testing.M) {
	if role := os.Getenv("PERSIST_TEST_ROLE"); role != "" {
		os.Exit(subprocess(role))
	}
	goleak.VerifyTestMain(m)
}

func tempPath(t testing.TB) string { return filepath.Join(t.TempDir(), "replica.db") }

func open(t testing.TB, path string, opts *persist.Options) *persist.Store {
	t.Helper()
	s, err := persist.Open(context.Background(), path, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func key(id string) crdt.Key { return crdt.Key{Collection: "notes", ID: id} }

// chunk is a change without operations, as the binary format has it.
func chunk(actor crdt.ActorID, seq uint64, deps ...crdt.Hash) []byte {
	slices.SortFunc(deps, crdt.Hash.Compare)
	body := binary.AppendUvarint(nil, uint64(len(deps)))
	for _, d := range deps {
		body = append(body, d[:]...)
	}
	body = binary.AppendUvarint(body, uint64(len(actor)))
	body = append(body, actor...)
	body = binary.AppendUvarint(body, seq)
	body = append(body, 1, 0, 0, 0, 0) // start op, time, message, other actors, columns
	framed := append([]byte{1}, binary.AppendUvarint(nil, uint64(len(body)))...)
	framed = append(framed, body...)
	sum := sha256.Sum256(framed)
	return append(append([]byte{0x85, 0x6f, 0x4a, 0x83}, sum[:4]...), framed...)
}

func hashOf(chunk []byte) crdt.Hash { return sha256.Sum256(chunk[8:]) }

// edit writes the next change of the actor to the record, as replica would.
func edit(tx *persist.Tx, k crdt.Key, actor crdt.ActorID, json string) (*persist.Record, error) {
	rec, err := tx.Record(k)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		rec = &persist.Record{RID: tx.NewRID(), Key: k, Clock: crdt.Clock{}, Created: 1}
	}
	rec.Clock[actor]++
	data := chunk(actor, rec.Clock[actor], rec.Heads...)
	row := &persist.LogRow{RID: rec.RID, Key: k, Hash: hashOf(data), Data: data, Time: 2}
	binary.BigEndian.PutUint64(row.Set[:], uint64(tx.Head().LSN+1))
	if err := tx.Append(row); err != nil {
		return nil, err
	}
	rec.Heads, rec.LSN, rec.Updated = crdt.Heads{row.Hash}, row.LSN, row.Time
	rec.JSON = []byte(json)
	return rec, tx.PutRecord(rec)
}

func mustEdit(t testing.TB, s *persist.Store, id, json string) *persist.Record {
	t.Helper()
	var rec *persist.Record
	require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) (err error) {
		rec, err = edit(tx, key(id), "actor", json)
		return err
	}))
	return rec
}

// record reads one record in a snapshot of its own.
func record(t testing.TB, s *persist.Store, id string) *persist.Record {
	t.Helper()
	var rec *persist.Record
	require.NoError(t, s.Read(context.Background(), func(r *persist.Reader) (err error) {
		rec, err = r.Record(key(id))
		return err
	}))
	return rec
}

func problems(t testing.TB, s *persist.Store) []persist.Problem {
	t.Helper()
	var all []persist.Problem
	require.NoError(t, s.Check(context.Background(), func(p persist.Problem) { all = append(all, p) }))
	return all
}
