package replica_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
	"github.com/godwitdb/godwit/transport"
)

// markerFor returns the key of the marker of a note.
func markerFor(id string) crdt.Key {
	h := sha256.Sum256([]byte("notes/" + id))
	return crdt.Key{Collection: "_godwit", ID: "purged-" + hex.EncodeToString(h[:])}
}

// permutations yields all orders of n things.
func permutations(n int) (all [][]int) {
	var extend func(head []int)
	extend = func(head []int) {
		if len(head) == n {
			all = append(all, append([]int(nil), head...))
		}
	next:
		for i := range n {
			for _, h := range head {
				if h == i {
					continue next
				}
			}
			extend(append(head, i))
		}
	}
	extend(nil)
	return all
}

// TestPurgeInEveryOrder has a marker, changes of the record that build on each other, one
// of them in a set with another record, what is invalid, and what forks it, come in every
// order, in a frame each and all in one.
func TestPurgeInEveryOrder(t *testing.T) {
	ctx, net := context.Background(), network(t)
	hub := open(t, &replica.Options{Synchronous: persist.Normal})
	serve(t, net, "hub", hub)
	p := dialRaw(t, net.Link("p", "hub"))
	p.shake()
	chain := authored(t, 2)
	h := crdt.NewHistory()
	e := h.Begin("sixteen bytes!!!", 5, nil)
	require.NoError(t, e.Put(nil, map[string]any{"fork": true}, crdt.Merge))
	fork, err := e.Commit("")
	require.NoError(t, err)
	n := 0
	for _, order := range permutations(5) {
		for _, whole := range []bool{true, false} {
			n++
			ann, bob := fmt.Sprintf("ann-%03d", n), fmt.Sprintf("bob-%03d", n)
			marker := markerFor(ann)
			junk := append([]byte(nil), chain[0].Raw()...)
			junk[len(junk)-1] ^= 1
			sets := []transport.Set{
				{Members: []transport.Member{{Collection: marker.Collection, ID: marker.ID, Data: chain[0].Raw()}}},
				{Members: []transport.Member{member(ann, chain[0])}},
				{Members: []transport.Member{member(ann, chain[1]), member(bob, chain[0])}},
				single(ann, junk),
				single(ann, fork.Raw()),
			}
			var ordered []transport.Set
			for _, i := range order {
				ordered = append(ordered, sets[i])
			}
			if whole {
				p.offer(ordered...)
			} else {
				for _, set := range ordered {
					p.offer(set)
				}
			}
			what := fmt.Sprint(ann, order, whole)
			_, err := hub.Get(ctx, key(ann))
			require.ErrorIs(t, err, replica.ErrPurged, what)
			require.Equal(t, `{"n":0}`, get(t, hub, bob), what)
			held, err := hub.Held(ctx)
			require.NoError(t, err)
			require.Empty(t, held, what)
			forks, err := hub.Forks(ctx)
			require.NoError(t, err)
			require.Empty(t, forks, what)
			require.Equal(t, map[string]int{"purged": 2}, p.offer(sets[1], sets[4]), what)
		}
	}
	requirePurged(t, hub, "ann-001")
	require.Len(t, ids(t, hub), n)
	late := open(t, nil)
	syncOnly(t, late, net.Link("late", "hub"))
	requireEqual(t, hub, late)
	requirePurged(t, late, "ann-002")
	require.True(t, verify(t, late, net.Link("late", "hub")).Equal())
}

// TestPurgeNeedsRights: a marker of who is no admin is refused with the reason and does
// nothing there, made by Purge or by hand.
func TestPurgeNeedsRights(t *testing.T) {
	ctx, net := context.Background(), network(t)
	hub, ann := open(t, nil), open(t, nil)
	grant := user("")
	admit(t, net, "hub", hub, grant)
	link := net.Link("ann", "hub")
	put(t, ann, "1", `{"v":1}`)
	put(t, hub, "2", `{"v":1}`)
	syncOnly(t, ann, link)
	purge(t, ann, "1")
	for range 2 {
		n, err := ann.Sync(ctx, link)
		require.Error(t, err)
		require.Equal(t, 1, n.Refused)
	}
	require.Equal(t, []string{markerFor("1").ID + ": rights"}, refusals(t, ann))
	requirePurged(t, ann, "1")
	require.Equal(t, `{"v":1}`, get(t, hub, "1"))
	put(t, hub, "1", `{"v":2}`)
	_, err := ann.Sync(ctx, link)
	require.Error(t, err)
	requirePurged(t, ann, "1")
	require.Equal(t, `{"v":2}`, get(t, hub, "1"))

	before := contents(t, hub)
	p := dialRaw(t, net.Link("evil", "hub"))
	p.shake()
	own := authoredBy(t, actorOf(crdt.ReplicaID{9}), 1)[0]
	for _, id := range []string{"1", "2", "3"} {
		k := markerFor(id)
		forged := transport.Member{Collection: k.Collection, ID: k.ID, Data: own.Raw()}
		for _, set := range [][]transport.Member{{forged}, {member("good", own), forged}, {forged, member(id, own)}} {
			require.Equal(t, map[string]int{transport.CodeRights: 1}, p.offer(transport.Set{Members: set}))
			require.Equal(t, before, contents(t, hub))
		}
	}
	require.NoError(t, p.conn.Close())
	put(t, hub, "3", `{"v":1}`)
	requireClean(t, hub)

	grant.Admin, grant.Relay = true, true
	syncOnly(t, ann, link)
	requirePurged(t, hub, "1")
	require.Empty(t, refusals(t, ann))
	require.Equal(t, []string{"2", "3"}, ids(t, hub))
}

// TestMarkersThatAreNone: names that only look like markers purge nothing, and nothing of
// godwit's own is purged.
func TestMarkersThatAreNone(t *testing.T) {
	ctx, net := context.Background(), network(t)
	hub := open(t, nil)
	serve(t, net, "hub", hub)
	put(t, hub, "1", `{"v":1}`)
	require.NoError(t, hub.SetSpacePolicy(ctx, "notes", crdt.Policy{Default: crdt.ResolverLWW}, nil))
	p := dialRaw(t, net.Link("p", "hub"))
	p.shake()
	policy := sha256.Sum256([]byte("_godwit/policy-notes"))
	good := markerFor("1").ID
	for _, k := range []crdt.Key{
		{Collection: "notes", ID: good},
		{Collection: "_godwit", ID: good[:len(good)-1]},
		{Collection: "_godwit", ID: good + "0"},
		{Collection: "_godwit", ID: "purged-" + fmt.Sprintf("%X", sha256.Sum256([]byte("notes/1")))},
		{Collection: "_godwit", ID: "purged-"},
		{Collection: "_godwit", ID: "purged-" + hex.EncodeToString(policy[:])},
	} {
		require.Empty(t, p.push(transport.Member{Collection: k.Collection, ID: k.ID, Data: authored(t, 1)[0].Raw()}))
		require.Equal(t, `{"v":1}`, get(t, hub, "1"), k.ID)
	}
	policyNow, err := hub.SpacePolicy(ctx, "notes")
	require.NoError(t, err)
	require.Equal(t, crdt.ResolverLWW, policyNow.Default)
	_, err = hub.Purge(ctx, crdt.Key{Collection: "_godwit", ID: "policy-notes"})
	require.ErrorIs(t, err, replica.ErrReserved)
	_, err = hub.Purge(ctx, key("1"), crdt.Key{Collection: "notes", ID: "a/b"})
	require.Error(t, err)
	require.Equal(t, `{"v":1}`, get(t, hub, "1"), "bad names are found before anything is done")
	requireClean(t, hub)
}

// TestPurgeAndOldCopies: backups of before, of who was told and of who has purged, and
// bundles, end up purged too.
func TestPurgeAndOldCopies(t *testing.T) {
	ctx, net := context.Background(), network(t)
	hub, a := open(t, &replica.Options{Space: "crew"}), open(t, nil)
	serve(t, net, "hub", hub)
	put(t, a, "1", `{"v":1}`)
	put(t, a, "2", `{"v":1}`)
	syncOnly(t, a, net.Link("a", "hub"))
	old, _ := writeBundle(t, hub, nil)
	var copies []string
	for i, r := range []*replica.Replica{a, hub} {
		copies = append(copies, filepath.Join(t.TempDir(), fmt.Sprint(i)))
		require.NoError(t, r.Backup(ctx, copies[i], nil))
	}
	purge(t, a, "1")
	syncOnly(t, a, net.Link("a", "hub"))
	_, err := applyBundle(t, a, old)
	require.NoError(t, err)
	requirePurged(t, a, "1")
	marked, _ := writeBundle(t, hub, nil)

	for i, name := range copies {
		r := openAt(t, name, nil)
		require.Equal(t, `{"v":1}`, get(t, r, "1"))
		put(t, r, "1", `{"v":2}`)
		put(t, r, "2", fmt.Sprintf(`{"w":%d}`, i))
		if i == 0 {
			_, err := applyBundle(t, r, marked)
			require.NoError(t, err)
			requirePurged(t, r, "1")
		}
		syncOnly(t, r, net.Link(name, "hub"))
		requirePurged(t, r, "1")
		requirePurged(t, hub, "1")
		requireEqual(t, hub, r)
		require.True(t, verify(t, r, net.Link(name, "hub")).Equal())
	}
	fresh := open(t, nil)
	for _, file := range []string{marked, old} {
		_, err := applyBundle(t, fresh, file)
		require.NoError(t, err)
		requirePurged(t, fresh, "1")
	}
	require.Equal(t, []string{"2"}, ids(t, fresh))
}

// TestPurgeOfAForkedRecord: what the repair of a fork withdrew goes too.
func TestPurgeOfAForkedRecord(t *testing.T) {
	net, a, b, _ := forked(t, true)
	_, err := a.Sync(context.Background(), net.Link("a", "b"))
	require.ErrorContains(t, err, "forked")
	_, err = a.RepairFork(context.Background(), key("doc"))
	require.NoError(t, err)
	syncOnly(t, a, net.Link("a", "b"))
	require.True(t, fileHas(t, a, "ours"))
	purge(t, a, "doc")
	syncOnly(t, a, net.Link("a", "b"))
	for _, r := range []*replica.Replica{a, b} {
		requirePurged(t, r, "doc")
		compact(t, r, &replica.CompactOptions{Vacuum: true})
		require.False(t, fileHas(t, r, "ours"))
		requirePurged(t, r, "doc")
	}
}

// TestPurgeIsWatched: whoever watches the record, its collection, a query, or all, sees it
// leave, here and where the marker comes to.
func TestPurgeIsWatched(t *testing.T) {
	ctx, net := watching(t), network(t)
	a, b := open(t, nil), open(t, nil)
	serve(t, net, "a", a)
	put(t, a, "1", `{"v":1}`)
	put(t, a, "2", `{"v":1}`)
	syncOnly(t, b, net.Link("b", "a"))
	type watch struct {
		name string
		*events
	}
	var all []watch
	for i, r := range []*replica.Replica{a, b} {
		for name, e := range map[string]*events{
			"record":     read(t, r.WatchRecord(ctx, key("1"))),
			"collection": read(t, r.Watch(ctx, "notes")),
			"all":        read(t, r.Watch(ctx, "")),
			"latest":     read(t, r.Watch(ctx, "notes", replica.Latest())),
			"query":      read(t, r.WatchQuery(ctx, replica.Query{Collection: "notes", Where: replica.Where("v", replica.Eq, 1)})),
		} {
			all = append(all, watch{fmt.Sprint(name, " ", i), e})
		}
	}
	position := func() replica.Position {
		for ev, err := range a.WatchQuery(ctx, replica.Query{Collection: "notes"}, replica.Contents()) {
			require.NoError(t, err)
			if ev.Kind == replica.EventReady {
				return ev.Position
			}
		}
		return replica.Position{}
	}()
	purge(t, a, "1")
	syncOnly(t, b, net.Link("b", "a"))
	for _, w := range append(all, watch{"behind", read(t, a.Watch(ctx, "notes", replica.From(position)))},
		watch{"behind, latest", read(t, a.Watch(ctx, "notes", replica.From(position), replica.Latest()))}) {
		for {
			ev := w.one()
			if ev.Key != key("1") { // the marker
				require.Equal(t, "_godwit", ev.Key.Collection, w.name)
				continue
			}
			require.True(t, ev.Deleted, w.name)
			require.Nil(t, ev.Value, w.name)
			require.Equal(t, w.name[:5] == "query", ev.Query == replica.QueryLeave, w.name)
			break
		}
	}
	put(t, a, "2", `{"v":2}`) // and they go on
	for _, w := range all {
		if w.name[len(w.name)-1] == '0' && w.name[:3] != "rec" {
			for ev := w.one(); ev.Key != key("2"); ev = w.one() {
				require.Equal(t, "_godwit", ev.Key.Collection, w.name)
			}
		}
	}
}

// TestPurgeEncrypted purges records of an encrypted file, and takes it from key to key and
// through a backup.
func TestPurgeEncrypted(t *testing.T) {
	ctx, net := t.Context(), network(t)
	hub := open(t, &replica.Options{Key: fileKey(t, 9)})
	a := open(t, &replica.Options{Key: fileKey(t, 1)})
	serve(t, net, "hub", hub)
	require.NoError(t, a.SetPlaintext(ctx, "notes", "title"))
	require.NoError(t, a.EnsureIndex(ctx, "notes", "title"))
	require.NoError(t, a.BuildIndexes(ctx))
	for i := range 40 {
		put(t, a, "1", fmt.Sprintf(`{"title":"Tides of the Wadden Sea","n":%d}`, i))
	}
	put(t, a, "3", `{"title":"Flow","see":["1"]}`)
	require.Equal(t, 1, compact(t, a, &replica.CompactOptions{MinBytes: 1000}).Records)
	put(t, a, "1", `{"n":40}`)
	syncOnly(t, a, net.Link("a", "hub"))
	purge(t, hub, "1")
	syncOnly(t, a, net.Link("a", "hub"))
	changed := func(r *replica.Replica) {
		t.Helper()
		requirePurged(t, r, "1")
		require.Zero(t, titled(t, r, "Tides of the Wadden Sea"))
		require.Equal(t, int64(1), titled(t, r, "Flow"))
	}
	changed(a)
	requirePurged(t, hub, "1")
	require.NoError(t, a.Rekey(ctx, fileKey(t, 2)))
	changed(a)
	compact(t, a, &replica.CompactOptions{Vacuum: true})
	require.False(t, fileHas(t, a, "Wadden"))
	backup := filepath.Join(t.TempDir(), "backup.db")
	require.NoError(t, a.Backup(ctx, backup, nil))
	changed(openAt(t, backup, &replica.Options{Key: fileKey(t, 2)}))
	require.NoError(t, a.Decrypt(ctx))
	changed(a)
	require.NoError(t, a.Encrypt(ctx, fileKey(t, 3)))
	changed(a)
	put(t, a, "3", `{"title":"Ebb"}`)
	syncOnly(t, a, net.Link("a", "hub"))
	requireEqual(t, hub, a)
}

// TestPurgeMany purges a thousand records, half of which the other side has edited
// meanwhile, and which lie among others.
func TestPurgeMany(t *testing.T) {
	net := network(t)
	hub, late := open(t, &replica.Options{Synchronous: persist.Normal}), open(t, &replica.Options{Synchronous: persist.Normal})
	serve(t, net, "hub", hub)
	link := net.Link("late", "hub")
	const many = 1000
	putMany(t, hub, 0, 2*many, "v")
	syncOnly(t, late, link)
	require.True(t, verify(t, late, link).Equal())
	putMany(t, late, 0, many/2, "w")
	var gone []string
	for i := range many {
		gone = append(gone, fmt.Sprintf("r-%05d", i))
	}
	require.Equal(t, replica.Purging{Purged: many}, purge(t, hub, gone...))
	n := syncOnly(t, late, link)
	require.Equal(t, many, n.ChangesReceived, "a marker each, and nothing else")
	require.LessOrEqual(t, n.ChangesSent, many, "an edit is sent twice at most: the first time it names what it builds on by a few bytes")
	requireEqual(t, hub, late)
	require.Len(t, ids(t, late), many)
	require.Equal(t, replica.Counts{}, moved(syncOnly(t, late, link)))
	require.True(t, verify(t, late, link).Equal())
	requirePurged(t, late, gone[999])
	require.NoError(t, late.Backup(t.Context(), filepath.Join(t.TempDir(), "b"), nil))
}

// TestRepairPurges: doctor finds a marker that a file has not heeded, and a record that is
// there in spite of one, and purges.
func TestRepairPurges(t *testing.T) {
	ctx := context.Background()
	r := open(t, nil)
	put(t, r, "1", `{"v":1}`)
	purge(t, r, "1")
	db, err := sql.Open("sqlite3", "file:"+r.Path()+"?_busy_timeout=5000")
	require.NoError(t, err)
	defer db.Close()
	mark := func(statement string, args ...any) {
		t.Helper()
		_, err := db.Exec(statement, args...)
		require.NoError(t, err)
	}
	problems := func() (all []crdt.Key) {
		require.NoError(t, r.Check(ctx, func(p replica.Problem) {
			require.Equal(t, "purged", p.Kind)
			all = append(all, p.Key)
		}))
		return all
	}
	repaired := func(k crdt.Key) {
		t.Helper()
		require.Equal(t, []crdt.Key{k}, problems())
		done, err := r.Repair(ctx)
		require.NoError(t, err)
		require.Equal(t, replica.Repaired{Rewritten: []crdt.Key{k}}, done)
		requirePurged(t, r, "1")
	}
	mark("DELETE FROM purged")
	put(t, r, "1", `{"v":2}`)
	repaired(markerFor("1"))

	mark("DELETE FROM purged")
	put(t, r, "1", `{"v":3}`)
	h := sha256.Sum256([]byte("notes/1"))
	mark("INSERT INTO purged VALUES (?, 0, 0, 0, 0, 0)", h[:])
	repaired(key("1"))
}

var purgeRecords = flag.Int("purge.records", 20_000, "how many records BenchmarkPurge looks through")

// BenchmarkPurge measures what a marker costs a replica of many records that has to find
// the one that it names, alone and with 999 others.
func BenchmarkPurge(b *testing.B) {
	r, net := open(b, &replica.Options{Synchronous: persist.Normal}), network(b)
	serve(b, net, "r", r)
	ctx := context.Background()
	for from := 0; from < *purgeRecords; from += 5000 {
		require.NoError(b, r.Update(ctx, func(tx *replica.Tx) error {
			for i := range min(5000, *purgeRecords-from) {
				if err := tx.Put(key(fmt.Sprintf("a-person-of-some-name-%07d", from+i)), map[string]any{"v": int64(i)}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint("markers=", n), func(b *testing.B) {
			round := 0
			for b.Loop() {
				b.StopTimer()
				from := open(b, nil)
				var some []crdt.Key
				for i := range n {
					some = append(some, key(fmt.Sprintf("a-person-of-some-name-%07d", (round*n+i)*7%*purgeRecords)))
				}
				round++
				_, err := from.Purge(ctx, some...)
				require.NoError(b, err)
				b.StartTimer()
				begin, cpu := time.Now(), cpuTime(b)
				_, err = from.Sync(ctx, net.Link("from", "r"), replica.PushOnly())
				require.NoError(b, err)
				b.ReportMetric(float64((cpuTime(b) - cpu).Milliseconds()), "cpu-ms/sync")
				b.ReportMetric(float64(time.Since(begin).Microseconds())/float64(n), "us/marker")
			}
		})
	}
}
