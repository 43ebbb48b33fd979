package persist_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/automerge/automerge-go"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// secret is in everything that is not to be read.
const secret = "Rumpelstiltskin"

func newKey(t testing.TB, b byte) persist.Key {
	k, err := persist.NewKey(bytes.Repeat([]byte{b}, persist.KeySize))
	require.NoError(t, err)
	return k
}

// cheap is a passphrase that costs little to try.
func cheap(t testing.TB, text string) persist.Key {
	k, err := persist.PassphraseCost(text, persist.KeyCost{Time: 1, Memory: 64, Threads: 1})
	require.NoError(t, err)
	return k
}

// content is all of a store that is encrypted.
type content struct {
	Records     []*persist.Record
	Log         []persist.LogRow
	Back        []persist.LogRow
	Parked      []*persist.ParkedSet
	Quarantined []*persist.Quarantined
	Refusals    []*persist.Refusal
	Peers       []persist.Peer
	Policies    []persist.CollectionPolicy
	Snapshots   []*persist.Snapshot
	Changes     [][]byte
	Views       []string
}

func contentOf(t testing.TB, s *persist.Store) (c content) {
	t.Helper()
	require.NoError(t, s.Read(context.Background(), func(r *persist.Reader) (err error) {
		c.Records = gather(t, r.Records("notes", "", 0))
		c.Parked = gather(t, r.Parked(persist.AllPeers))
		c.Quarantined = gather(t, r.Quarantined(persist.AllPeers))
		c.Refusals = gather(t, r.Refusals(persist.AllPeers))
		for _, rec := range c.Records {
			c.Back = append(c.Back, gather(t, r.ChangesBack(rec.RID))...)
			c.Changes = append(c.Changes, gather(t, r.Changes(rec.RID))...)
			snap, err := r.Snapshot(rec.RID)
			require.NoError(t, err)
			c.Snapshots = append(c.Snapshots, snap)
		}
		if c.Peers, err = r.Peers(); err != nil {
			return err
		}
		if c.Policies, err = r.Policies(); err != nil {
			return err
		}
		c.Log, err = r.Log(0, 1<<20, 1<<30)
		return err
	}))
	for _, rec := range c.Records {
		view, ok, err := s.View(context.Background(), rec.Key)
		require.NoError(t, err)
		require.Equal(t, !rec.Deleted && rec.JSON != nil, ok)
		require.Equal(t, string(rec.JSON), string(view))
		c.Views = append(c.Views, string(view))
	}
	return c
}

// Whoever reads or writes content asks with what it is sealed.
func TestNoStatementOverlooksTheSeal(t *testing.T) {
	content := regexp.MustCompile(`\b(json|data|reason|detail|last_error|policy)\b( = \?|,| FROM)`)
	for _, text := range persist.Queries() {
		about := regexp.MustCompile(`\b(log|records|snapshots|parked|quarantine|refusals|peers|policies)\b`).MatchString(text)
		text = regexp.MustCompile(`\(collection, policy\)|\bpolicy = \?10\b|r\.policy`).ReplaceAllString(text, "")
		if about && content.MatchString(text) {
			require.Contains(t, text, "sealed")
		}
	}
}

// fillSecrets writes every kind of content, n records of it, and overwrites and
// deletes some: what was there before has to go too.
func fillSecrets(t testing.TB, s *persist.Store, n int) {
	t.Helper()
	require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
		for i := range n {
			writeHistory(t, tx, fmt.Sprintf("record-%04d", i), i%7 == 0)
		}
		peer := &persist.Peer{Replica: crdt.ReplicaID{7}, Epoch: 9, Name: "hub", LastError: secret, Carried: secret}
		require.NoError(t, tx.PutPeer(peer))
		for i := range 5 {
			k := key(fmt.Sprint("held-", i))
			require.NoError(t, tx.Park(&persist.ParkedSet{Peer: peer.ID, Set: crdt.SetID{byte(i)}, Waits: []crdt.Key{k},
				Data: []byte(secret + strings.Repeat("p", 100*i)), Reason: "waits for " + secret}))
			require.NoError(t, tx.Quarantine(&persist.Quarantined{Peer: peer.ID, Key: k, Hash: crdt.Hash{byte(i)},
				Code: "bad", Detail: secret, Data: []byte(secret + strings.Repeat("q", 2000*i))}))
			require.NoError(t, tx.PutRefusals(peer.ID, []*persist.Refusal{{Key: k, Hash: crdt.Hash{byte(i)}, Code: "bad", Detail: secret}}))
		}
		_, err := tx.SetPolicy("drafts", []byte(`{"default":"`+secret+`"}`))
		return err
	}))
	require.NoError(t, s.Commit(context.Background(), func(tx *persist.Tx) error {
		for i := range n / 2 {
			rec, err := tx.Record(key(fmt.Sprintf("record-%04d", 2*i)))
			require.NoError(t, err)
			rec.JSON = []byte(`{"now":"` + secret + `"}`)
			require.NoError(t, tx.PutRecord(rec))
		}
		require.NoError(t, tx.Unpark(1))
		return tx.Unquarantine(3)
	}))
}

// writeHistory writes a record of three changes, with a snapshot of two if asked for.
func writeHistory(t testing.TB, tx *persist.Tx, id string, snapshot bool) {
	h := crdt.NewHistory()
	rec := &persist.Record{RID: tx.NewRID(), Key: key(id), Clock: crdt.Clock{}}
	var chunks []byte
	var two crdt.LSN
	for i := range 3 {
		e := h.Begin("sixteen bytes!!!", int64(1e12), nil)
		require.NoError(t, e.Put(nil, map[string]any{secret: secret, "n": int64(i)}, crdt.Merge))
		c, err := e.Commit("")
		require.NoError(t, err)
		row := &persist.LogRow{Set: crdt.SetID{1}, RID: rec.RID, Key: rec.Key, Hash: c.Hash(), Data: c.Raw()}
		require.NoError(t, tx.Append(row))
		if i < 2 {
			chunks, two = append(chunks, c.Raw()...), row.LSN
		}
		rec.LSN = row.LSN
	}
	rec.Heads, rec.Clock["sixteen bytes!!!"] = h.Heads(), 3
	rec.JSON = []byte(`{"` + secret + `":"` + strings.Repeat(secret, 1+len(id)%13) + `"}`)
	require.NoError(t, tx.PutRecord(rec))
	if snapshot {
		doc, err := automerge.Load(chunks)
		require.NoError(t, err)
		require.NoError(t, tx.PutSnapshot(&persist.Snapshot{RID: rec.RID, LSN: two, Document: doc.Save()}, 0, 2))
	}
}

// leaks says which files beside the replica's have plain text, or what every chunk
// begins with.
func leaks(t testing.TB, path string) (found []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, what := range []string{secret, "\x85\x6f\x4a\x83"} {
			if n := bytes.Count(b, []byte(what)); n > 0 {
				found = append(found, fmt.Sprintf("%s has %q %d times", filepath.Base(name), what, n))
			}
		}
	}
	return found
}

func walSize(t testing.TB, path string) int64 {
	info, err := os.Stat(path + "-wal")
	if os.IsNotExist(err) {
		return 0
	}
	require.NoError(t, err)
	return info.Size()
}

// requireKey opens the file with key, and not without it, nor with others.
func requireKey(t testing.TB, path string, right persist.Key, wrong ...persist.Key) *persist.Store {
	t.Helper()
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	_, err = persist.Open(context.Background(), path, nil)
	require.ErrorIs(t, err, persist.ErrEncrypted)
	require.ErrorContains(t, err, path)
	for _, k := range wrong {
		_, err = persist.Open(context.Background(), path, &persist.Options{Key: k})
		require.ErrorIs(t, err, persist.ErrWrongKey)
	}
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(before, after), "a wrong key changes no byte")
	return open(t, path, &persist.Options{Key: right})
}

func TestEncryptedFromTheStart(t *testing.T) {
	path := tempPath(t)
	s, err := persist.Open(t.Context(), path, &persist.Options{Key: newKey(t, 1)})
	require.NoError(t, err)
	fillSecrets(t, s, 40)
	want := contentOf(t, s)
	require.Empty(t, problems(t, s))
	require.Empty(t, leaks(t, path))
	require.NoError(t, s.Close())
	require.Empty(t, leaks(t, path))
	s = requireKey(t, path, newKey(t, 1), newKey(t, 2), cheap(t, "phrase"))
	require.Equal(t, want, contentOf(t, s))
	require.Empty(t, problems(t, s))
}

func TestEncryptAndDecrypt(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, nil)
	fillSecrets(t, s, 300)
	want := contentOf(t, s)
	require.NotEmpty(t, leaks(t, path))
	require.NoError(t, s.Encrypt(t.Context(), cheap(t, "phrase")))
	require.Empty(t, leaks(t, path))
	require.Less(t, walSize(t, path), int64(10_000), "but for the last word on it, the WAL was folded")
	require.Equal(t, want, contentOf(t, s))
	require.Empty(t, problems(t, s))
	require.NoError(t, s.Encrypt(t.Context(), cheap(t, "phrase")), "again is no harm")
	require.ErrorContains(t, s.Encrypt(t.Context(), newKey(t, 1)), "another key")
	mustEdit(t, s, "later", `{"later":"`+secret+`"}`)
	want = contentOf(t, s)
	require.NoError(t, s.Close())
	require.Empty(t, leaks(t, path))

	s = requireKey(t, path, cheap(t, "phrase"), cheap(t, "Phrase"), newKey(t, 1))
	require.Equal(t, want, contentOf(t, s))
	require.NoError(t, s.Decrypt(t.Context()))
	require.NoError(t, s.Decrypt(t.Context()), "again is no harm")
	require.Equal(t, want, contentOf(t, s))
	require.NoError(t, s.Close())
	require.NotEmpty(t, leaks(t, path))
	_, err := persist.Open(t.Context(), path, &persist.Options{Key: cheap(t, "phrase")})
	require.ErrorIs(t, err, persist.ErrNotEncrypted)
	s = open(t, path, nil)
	require.Equal(t, want, contentOf(t, s))
	require.Empty(t, problems(t, s))
	require.NoError(t, s.Encrypt(t.Context(), newKey(t, 3)), "and on again")
	require.Equal(t, want, contentOf(t, s))
	require.Empty(t, leaks(t, path))
}

// TestRekey changes the key in both ways, and looks whether what seals the content
// is another.
func TestRekey(t *testing.T) {
	for name, how := range map[string]struct {
		change func(*persist.Store, context.Context, persist.Key) error
		anew   bool
	}{
		"rekey":  {(*persist.Store).Rekey, true},
		"relock": {(*persist.Store).Relock, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := tempPath(t)
			s := open(t, path, &persist.Options{Key: newKey(t, 1)})
			require.NotZero(t, s)
			fillSecrets(t, s, 60)
			want := contentOf(t, s)
			before := stored(t, path)
			locked := storedBox(t, path)
			other := cheap(t, "phrase")
			require.NoError(t, how.change(s, t.Context(), other))
			require.Equal(t, want, contentOf(t, s))
			mustEdit(t, s, "record-0001", `{}`)
			want = contentOf(t, s)
			same := 0
			for cell, data := range stored(t, path) {
				if data == before[cell] {
					same++
				}
			}
			if how.anew {
				require.Zero(t, same)
			} else {
				require.Equal(t, len(before)-1, same) // the record's
			}
			require.NoError(t, s.Close())
			for _, b := range files(t, path) {
				require.NotContains(t, b, locked, "with the old key this opens the content")
			}
			s = requireKey(t, path, other, newKey(t, 1))
			require.Equal(t, want, contentOf(t, s))
			require.Empty(t, problems(t, s))
		})
	}
	s := open(t, tempPath(t), nil)
	require.ErrorIs(t, s.Rekey(t.Context(), newKey(t, 1)), persist.ErrNotEncrypted)
	require.ErrorIs(t, s.Relock(t.Context(), newKey(t, 1)), persist.ErrNotEncrypted)
	require.Error(t, s.Encrypt(t.Context(), persist.Key{}))
}

// files returns the bytes of the files of a replica.
func files(t testing.TB, path string) (all []string) {
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		if err != nil {
			require.ErrorIs(t, err, os.ErrNotExist)
		}
		all = append(all, string(b))
	}
	return all
}

func openSQL(t testing.TB, path string) *sql.DB {
	db, err := sql.Open("sqlite3", "file:"+path+"?_busy_timeout=5000")
	require.NoError(t, err)
	return db
}

func storedBox(t testing.TB, path string) (box string) {
	db := openSQL(t, path)
	defer db.Close()
	var b []byte
	require.NoError(t, db.QueryRow("SELECT box FROM encryption").Scan(&b))
	return string(b)
}

// cells are all that have content, with what names their row.
var cells = []struct{ table, column, id string }{
	{"log", "data", "lsn"}, {"snapshots", "data", "rid"}, {"records", "json", "rid"},
	{"parked", "data", "id"}, {"parked", "reason", "id"}, {"quarantine", "data", "id"}, {"quarantine", "detail", "id"},
	{"refusals", "detail", "id"}, {"peers", "last_error", "id"}, {"peers", "carried", "id"}, {"policies", "policy", "collection"},
}

// stored returns what the file holds of content, by cell.
func stored(t testing.TB, path string) map[string]string {
	db := openSQL(t, path)
	defer db.Close()
	all := map[string]string{}
	for _, c := range cells {
		rows, err := db.Query(fmt.Sprintf("SELECT %s, CAST(%s AS BLOB) FROM %s WHERE octet_length(%[2]s) > 0", c.id, c.column, c.table))
		require.NoError(t, err)
		n := 0
		for ; rows.Next(); n++ {
			var id string
			var data []byte
			require.NoError(t, rows.Scan(&id, &data))
			all[c.table+"."+c.column+" "+id] = string(data)
		}
		require.NoError(t, rows.Err())
		require.NotZero(t, n, "%s.%s", c.table, c.column)
	}
	return all
}

// No nonce is ever used twice, not even for the same content in the same place.
func TestNonces(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, &persist.Options{Key: newKey(t, 1)})
	fillSecrets(t, s, 100)
	seen := map[string]string{}
	for range 3 {
		for cell, data := range stored(t, path) {
			nonce := data[:24]
			if seen[nonce] != "" {
				require.Equal(t, seen[nonce], cell+data, "another content")
			}
			seen[nonce] = cell + data
		}
		require.NoError(t, s.Commit(t.Context(), func(tx *persist.Tx) error {
			for _, rec := range gather(t, tx.Records("notes", "", 0)) {
				require.NoError(t, tx.PutRecord(rec))
			}
			return nil
		}))
	}
	require.Len(t, seen, 2*100+len(stored(t, path)))
}

// TestSealedToItsPlace moves what is stored to where it does not belong.
func TestSealedToItsPlace(t *testing.T) {
	source := tempPath(t)
	s := open(t, source, &persist.Options{Key: newKey(t, 1)})
	fillSecrets(t, s, 20)
	require.NoError(t, s.Close())
	alter := map[string]string{
		"another row of log":           "UPDATE log SET data = (SELECT data FROM log WHERE lsn = 6) WHERE lsn = 5",
		"another row of records":       "UPDATE records SET json = (SELECT json FROM records WHERE rid = 6) WHERE rid = 5",
		"another row of snapshots":     "UPDATE snapshots SET data = (SELECT data FROM snapshots WHERE rid = 8) WHERE rid = 1",
		"another version of snapshots": "UPDATE snapshots SET lsn = lsn - 1",
		"another row of parked":        "UPDATE parked SET data = (SELECT data FROM parked WHERE id = 2) WHERE id = 3",
		"another column of parked":     "UPDATE parked SET reason = CAST(data AS TEXT)",
		"another row of quarantine":    "UPDATE quarantine SET data = (SELECT data FROM quarantine WHERE id = 1) WHERE id = 2",
		"another column of quarantine": "UPDATE quarantine SET detail = CAST(data AS TEXT)",
		"another row of refusals":      "UPDATE refusals SET detail = (SELECT detail FROM refusals WHERE id = 1)",
		"another table":                "UPDATE refusals SET detail = (SELECT q.detail FROM quarantine q WHERE q.hash = refusals.hash) WHERE id = 1",
		"another collection":           "UPDATE policies SET collection = 'others'",
		"another peer":                 "UPDATE peers SET epoch = epoch + 1",
		"plain text":                   `UPDATE records SET json = '{}', sealed = 0 WHERE rid = 5`,
		"a plain change":               `UPDATE log SET data = x'856f4a83', sealed = 0 WHERE lsn = 5`,
		"a key that there is not":      "UPDATE records SET sealed = 9 WHERE rid = 5",
		"a bit":                        "UPDATE records SET json = CAST(substr(CAST(json AS BLOB), 1, 30) || x'00' || substr(CAST(json AS BLOB), 32) AS TEXT) WHERE rid = 5",
		"less":                         "UPDATE records SET json = CAST(substr(CAST(json AS BLOB), 1, 20) AS TEXT) WHERE rid = 5",
	}
	for name, stmt := range alter {
		t.Run(name, func(t *testing.T) {
			path := tempPath(t)
			b, err := os.ReadFile(source)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, b, 0o600))
			raw(t, path, stmt)
			s := open(t, path, &persist.Options{Key: newKey(t, 1)})
			require.NotEmpty(t, damage(t, s))
		})
	}
}

// damage reads everything and returns what cannot be.
func damage(t testing.TB, s *persist.Store) (all []string) {
	note := func(err error) {
		if err != nil {
			all = append(all, err.Error())
		}
	}
	each := func(fn func(r *persist.Reader) error) { note(s.Read(t.Context(), fn)) }
	each(func(r *persist.Reader) error {
		for p, err := range r.Parked(persist.AllPeers) {
			if err != nil {
				return err
			}
			require.Contains(t, string(p.Data)+p.Reason, secret)
		}
		return nil
	})
	each(func(r *persist.Reader) error {
		for _, err := range r.Quarantined(persist.AllPeers) {
			note(err)
		}
		return nil
	})
	each(func(r *persist.Reader) error {
		for _, err := range r.Refusals(persist.AllPeers) {
			note(err)
		}
		return nil
	})
	each(func(r *persist.Reader) error { _, err := r.Policies(); return err })
	each(func(r *persist.Reader) error { _, err := r.Peers(); return err })
	for _, p := range problems(t, s) {
		note(fmt.Errorf("%s", p))
	}
	for _, text := range all {
		if strings.Contains(text, "altered") {
			return all
		}
	}
	require.Empty(t, all, "none says that it was altered")
	return nil
}

// The state of the encryption cannot be altered by who has not the key.
func TestBoxIsBound(t *testing.T) {
	source := tempPath(t)
	s := open(t, source, &persist.Options{Key: cheap(t, "phrase")})
	fillSecrets(t, s, 3)
	require.NoError(t, s.Close())
	for name, c := range map[string]struct {
		stmt string
		want string
	}{
		"a bit":           {"UPDATE encryption SET box = CAST(substr(box, 1, 30) || x'00' || substr(box, 32) AS BLOB)", "wrong key"},
		"another version": {"UPDATE encryption SET version = version + 1", "wrong key"},
		"nothing":         {"UPDATE encryption SET box = x'', kdf = ''", "not encrypted"},
		"much memory":     {"UPDATE encryption SET kdf = replace(kdf, 'm=64', 'm=4000000')", "key derivation"},
		"much time":       {"UPDATE encryption SET kdf = replace(kdf, 't=1', 't=4000000')", "key derivation"},
		"no memory":       {"UPDATE encryption SET kdf = replace(kdf, 'm=64', 'm=0')", "key derivation"},
		"another salt":    {"UPDATE encryption SET kdf = substr(kdf, 1, length(kdf) - 22) || 'AAAAAAAAAAAAAAAAAAAAAA'", "wrong key"},
		"words":           {"UPDATE encryption SET kdf = 'scrypt'", "does not say how"},
		"no row":          {"DELETE FROM encryption", "no state"},
		"no key needed":   {"UPDATE encryption SET kdf = 'raw'", "wrong key"},
	} {
		t.Run(name, func(t *testing.T) {
			path := tempPath(t)
			b, err := os.ReadFile(source)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, b, 0o600))
			raw(t, path, c.stmt)
			_, err = persist.Open(t.Context(), path, &persist.Options{Key: cheap(t, "phrase")})
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestKeys(t *testing.T) {
	_, err := persist.NewKey(make([]byte, 31))
	require.ErrorContains(t, err, "31 bytes")
	_, err = persist.Passphrase("")
	require.Error(t, err)
	_, err = persist.PassphraseCost("x", persist.KeyCost{Time: 1, Memory: 1 << 30, Threads: 1})
	require.Error(t, err)
	k := cheap(t, secret)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		require.Equal(t, "(key)", fmt.Sprintf(verb, k))
		require.NotContains(t, fmt.Sprintf(verb, &persist.Options{Key: k}), secret)
	}
	require.Equal(t, "(no key)", fmt.Sprint(persist.Key{}))
	require.True(t, k.Equal(cheap(t, secret)))
	require.False(t, k.Equal(cheap(t, "x")))
	thirtyTwo := strings.Repeat("a", 32)
	require.False(t, cheap(t, thirtyTwo).Equal(newKey(t, 'a')), "the bytes of a phrase are no key")
}

// While content is converted, others write, read, and have their share.
func TestWritesWhileEncrypting(t *testing.T) {
	path := tempPath(t)
	opts := &persist.Options{Synchronous: persist.Normal}
	var s *persist.Store
	n := 0
	var want content
	opts.AfterStep(func(step string) {
		n++
		mustEdit(t, s, fmt.Sprint("between-", n), `{"`+secret+`":1}`)
		rec := record(t, s, "record-0001")
		rec.JSON = fmt.Appendf(nil, `{"%s":%d}`, secret, n)
		require.NoError(t, s.Commit(t.Context(), func(tx *persist.Tx) error { return tx.PutRecord(rec) }))
		got := contentOf(t, s)
		require.Equal(t, rec.JSON, record(t, s, "record-0001").JSON)
		require.GreaterOrEqual(t, len(got.Changes), len(want.Changes))
		want = got
	})
	s = open(t, path, opts)
	fillSecrets(t, s, 180)
	for _, change := range allChanges(t, s) {
		before := n
		require.NoError(t, change())
		require.Greater(t, n-before, 8)
		require.Equal(t, want, contentOf(t, s))
		require.Empty(t, problems(t, s))
	}
	require.Empty(t, leaks(t, path))
}

// allChanges encrypts a store, changes its key, decrypts and encrypts it again.
func allChanges(t *testing.T, s *persist.Store) []func() error {
	return []func() error{
		func() error { return s.Encrypt(t.Context(), newKey(t, 1)) },
		func() error { return s.Rekey(t.Context(), newKey(t, 2)) },
		func() error { return s.Decrypt(t.Context()) },
		func() error { return s.Encrypt(t.Context(), newKey(t, 3)) },
	}
}

// While content is converted, records are forgotten: their rows are empty, withdrawn,
// and in the end as the others.
func TestForgetWhileEncrypting(t *testing.T) {
	path := tempPath(t)
	opts := &persist.Options{Synchronous: persist.Normal}
	var s *persist.Store
	n := 0
	opts.AfterStep(func(step string) {
		rec := record(t, s, fmt.Sprintf("record-%04d", n))
		n++
		require.NoError(t, s.Commit(t.Context(), func(tx *persist.Tx) error {
			require.NoError(t, tx.Forget(&persist.Forgotten{RID: rec.RID, Clock: rec.Clock, Time: 1}))
			rec.JSON, rec.Deleted = nil, true
			return tx.PutRecord(rec)
		}))
	})
	s = open(t, path, opts)
	fillSecrets(t, s, 180)
	db := openSQL(t, path)
	defer db.Close()
	for i, change := range allChanges(t, s) {
		before := n
		require.NoError(t, change())
		require.Greater(t, n-before, 8)
		require.Empty(t, problems(t, s))
		for _, table := range []string{"log", "records"} {
			var sealed, target int64
			require.NoError(t, db.QueryRow("SELECT max(sealed), min(sealed) FROM "+table).Scan(&sealed, &target))
			require.Equal(t, target, sealed, "%s, change %d", table, i)
			require.Equal(t, i == 2, sealed == 0)
		}
	}
	var empty int
	require.NoError(t, db.QueryRow("SELECT count(*) FROM log WHERE source < 0 AND length(data) = 0").Scan(&empty))
	require.Equal(t, 3*n, empty)
	require.Empty(t, leaks(t, path))
}

// Whatever step a change is interrupted at, the store is good, and the next opening
// completes it; so does calling it again.
func TestInterrupted(t *testing.T) {
	one, two := newKey(t, 1), newKey(t, 2)
	for name, c := range map[string]struct {
		before, during persist.Key // of the file; during: once it has begun
		change         func(context.Context, *persist.Store) error
		plain          bool // in the end
	}{
		"encrypt": {persist.Key{}, one, func(ctx context.Context, s *persist.Store) error { return s.Encrypt(ctx, one) }, false},
		"decrypt": {one, one, func(ctx context.Context, s *persist.Store) error { return s.Decrypt(ctx) }, true},
		"rekey":   {one, two, func(ctx context.Context, s *persist.Store) error { return s.Rekey(ctx, two) }, false},
		"relock":  {one, two, func(ctx context.Context, s *persist.Store) error { return s.Relock(ctx, two) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting for the disk
			for stop, ended := 1, false; !ended; stop++ {
				path := tempPath(t)
				opts := &persist.Options{Key: c.before, Synchronous: persist.Normal}
				ctx, cancel := context.WithCancel(t.Context())
				n := 0
				opts.AfterStep(func(string) {
					if n++; n == stop {
						cancel()
					}
				})
				s, err := persist.Open(t.Context(), path, opts)
				require.NoError(t, err)
				if n = 0; ctx.Err() != nil { // by making the file
					ctx, cancel = context.WithCancel(t.Context())
				}
				fillSecrets(t, s, 9)
				want := contentOf(t, s)
				err = c.change(ctx, s)
				ended = ctx.Err() == nil
				cancel()
				if !ended && err != nil {
					require.ErrorIs(t, err, context.Canceled)
				}
				require.Equal(t, want, contentOf(t, s), "step %d", stop)
				if stop%2 == 0 {
					require.NoError(t, c.change(t.Context(), s), "step %d", stop)
				}
				require.NoError(t, s.Close())
				again, err := persist.Open(t.Context(), path, &persist.Options{Key: c.during})
				if c.plain && (ended || stop%2 == 0) || errorsIsPlain(err) {
					require.ErrorIs(t, err, persist.ErrNotEncrypted)
					again, err = persist.Open(t.Context(), path, nil)
				}
				require.NoError(t, err, "step %d", stop)
				require.Equal(t, want, contentOf(t, again))
				require.Empty(t, problems(t, again))
				require.NoError(t, again.Close())
				if c.plain {
					again = open(t, path, nil)
					require.Equal(t, want, contentOf(t, again))
				} else {
					require.Empty(t, leaks(t, path))
					requireKey(t, path, c.during, newKey(t, 9))
				}
			}
		})
	}
}

// errorsIsPlain reports whether the file was decrypted before it was opened.
func errorsIsPlain(err error) bool {
	return err != nil && strings.Contains(err.Error(), "not encrypted")
}

// A disk that is full stops a change of the encryption, and nothing else.
func TestEncryptOnAFullDisk(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, &persist.Options{Synchronous: persist.Normal})
	fillSecrets(t, s, 100)
	want := contentOf(t, s)
	full := 0
	for pages := 60; ; pages += 15 {
		persist.LimitPages(t, s, pages)
		err := s.Encrypt(t.Context(), newKey(t, 1))
		require.Equal(t, want, contentOf(t, s))
		if err == nil {
			break
		}
		require.ErrorContains(t, err, "full")
		full++
	}
	require.NotZero(t, full)
	require.Empty(t, leaks(t, path))
	require.Empty(t, problems(t, s))
	require.NoError(t, s.Close())
	requireKey(t, path, newKey(t, 1))
}

// A damaged value is not converted and not lost; all others are.
func TestRekeyOfADamagedFile(t *testing.T) {
	path := tempPath(t)
	s, err := persist.Open(t.Context(), path, &persist.Options{Key: newKey(t, 1)})
	require.NoError(t, err)
	fillSecrets(t, s, 20)
	require.NoError(t, s.Close())
	raw(t, path, "UPDATE records SET json = (SELECT json FROM records WHERE rid = 6) WHERE rid = 5")
	s, err = persist.Open(t.Context(), path, &persist.Options{Key: newKey(t, 1)})
	require.NoError(t, err)
	require.ErrorContains(t, s.Rekey(t.Context(), newKey(t, 2)), "1 rows stay as they are, a check lists them; the first: records 5")
	require.NoError(t, s.Close())
	s = requireKey(t, path, newKey(t, 2), newKey(t, 1))
	require.Len(t, problemsOf(t, s, "row"), 1)
	rec := record(t, s, "record-0005")
	require.NoError(t, s.Commit(t.Context(), func(tx *persist.Tx) error { // as who has repaired it
		repaired := *rec
		repaired.RID = 5
		repaired.JSON = []byte("{}")
		return tx.PutRecord(&repaired)
	}))
	require.NoError(t, s.Rekey(t.Context(), newKey(t, 3)))
}

// A reader elsewhere keeps old pages. Then the change is done but for them, and is
// completed by the next one who comes.
func TestReadersHoldTheOldPages(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, &persist.Options{BusyTimeout: 50 * time.Millisecond})
	fillSecrets(t, s, 30)
	want := contentOf(t, s)
	other := open(t, path, nil)
	require.NoError(t, other.Read(t.Context(), func(r *persist.Reader) error {
		require.ErrorIs(t, s.Encrypt(t.Context(), newKey(t, 1)), persist.ErrUnfinished)
		require.Equal(t, want.Records, gather(t, r.Records("notes", "", 0)), "its state is that from before")
		return nil
	}))
	require.Equal(t, want, contentOf(t, s))
	require.ErrorIs(t, other.Read(t.Context(), func(r *persist.Reader) error {
		_, err := r.Record(key("record-0001"))
		return err
	}), persist.ErrEncrypted, "it has no key")
	require.ErrorIs(t, other.Commit(t.Context(), put("mine")), persist.ErrEncrypted, "it must not write plain text")
	require.NoError(t, s.Encrypt(t.Context(), newKey(t, 1)))
	require.Empty(t, leaks(t, path))
	require.Empty(t, problems(t, s))
}
