package persist

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist/internal/sqlitefile"
)

// Salvaged says what Salvage found.
type Salvaged struct {
	Copy     string // where the damaged file is now, with its WAL beside it
	Records  int    // of which a change or a stub was found
	Changes  int    // that were found
	Missing  []Span // positions of the old log at which none was, withdrawn ones apart
	Unnamed  int    // changes of which it is not known any more which record they are of
	Orphaned int    // parked sets of which it is not known what they wait for
}

// Span is a range of positions of a log, both ends included.
type Span struct{ From, To crdt.LSN }

// salvageBatch is how many changes are written in one transaction.
const salvageBatch = 1000

// errInUse: somebody else has the file open.
var errInUse = errors.New("the file is open elsewhere: end the other programs first")

// Salvage makes a new file of what can be read in a damaged one, in its place; that one is
// kept, under a name of its own. It goes by the pages alone (package sqlitefile), so it
// does not matter what is damaged. A change counts as found when its bytes give its
// hash. The new file is the same replica with a new log: with the next session, peers
// reconcile. Its records may lack changes, which Check tells.
//
// Of the rest it carries over: incarnations, peers, parked sets, policies, what indexes
// there are to be, and stubs. Quarantine, refusals and forks are left behind: they are found
// again. The file must not be open.
func Salvage(ctx context.Context, path string, o *Options) (Salvaged, error) {
	done, err := salvage(ctx, path, o)
	if err != nil {
		err = fmt.Errorf("salvage %s: %w", path, err)
	}
	return done, err
}

func salvage(ctx context.Context, path string, o *Options) (done Salvaged, err error) {
	opts, err := o.withDefaults()
	if err != nil {
		return done, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return done, err
	}
	if !info.Mode().IsRegular() {
		return done, ErrNotFile
	}
	if done.Copy, err = setAside(path); err != nil {
		return done, err
	}
	if err := unused(path); err != nil {
		return done, errors.Join(err, os.Remove(done.Copy), removeIfThere(done.Copy+"-wal"))
	}
	fresh, err := newPartial(path, path)
	if err != nil {
		return done, err
	}
	defer os.Remove(fresh)
	if err := rebuild(ctx, done.Copy, fresh, opts, &done); err != nil {
		if errors.Is(err, ErrNotOurs) || errors.Is(err, ErrEncrypted) || errors.Is(err, ErrWrongKey) { // nothing was changed
			err = errors.Join(err, os.Remove(done.Copy), removeIfThere(done.Copy+"-wal"))
		}
		return done, err
	}
	for _, part := range []string{"-wal", "-shm", "-journal"} {
		if err := removeIfThere(path + part); err != nil {
			return done, err
		}
	}
	if err := os.Rename(fresh, path); err != nil {
		return done, err
	}
	return done, syncPath(filepath.Dir(path))
}

// setAside copies the file and its WAL to a name that is free.
func setAside(path string) (to string, err error) {
	for i := 1; ; i++ {
		to = fmt.Sprintf("%s.damaged-%d", path, i)
		err = copyFile(path, to)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if err == nil {
		if err = copyFile(path+"-wal", to+"-wal"); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err != nil {
		return "", err
	}
	return to, syncPath(filepath.Dir(path))
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

func removeIfThere(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// unused asks SQLite whether somebody has the file open, as far as that can be told of a
// damaged one.
func unused(path string) error {
	c, err := connect(path, "rw")
	if err == nil {
		err = errors.Join(c.run("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; ROLLBACK"), c.close())
	}
	if errors.Is(explain(path, err), ErrBusy) {
		return errInUse
	}
	return nil
}

// rebuild writes what is found in the damaged file to the new one.
func rebuild(ctx context.Context, from, to string, opts Options, done *Salvaged) error {
	f, err := sqlitefile.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := scanWreck(f)
	if err != nil {
		return err
	}
	if w.identity == nil && len(w.log) == 0 && len(w.snaps) == 0 {
		return errNothing
	}
	if err := w.unlock(opts.Key); err != nil {
		return err
	}
	if opts.Key.IsZero() != (w.sealing.box == nil) && len(w.log) > 0 {
		return ErrNotEncrypted
	}
	opts.PollInterval, opts.Synchronous = -1, Normal // it is on the disk before it gets its name
	s, err := Open(ctx, to, &opts)
	if err != nil {
		return err
	}
	b := &rebuilder{wreck: w, store: s, done: done, records: map[crdt.Key]*rebuilt{}, rids: map[int64]crdt.Key{}, peerIDs: map[int64]int64{0: 0},
		emitted: map[int64]map[crdt.Hash]bool{}, reach: map[int64]crdt.LSN{}}
	err = b.run(ctx)
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	return syncPath(to)
}

// rebuilder writes the new file.
type rebuilder struct {
	*wreck
	store   *Store
	done    *Salvaged
	records map[crdt.Key]*rebuilt
	rids    map[int64]crdt.Key           // the record that a number of the old file is known to mean
	peerIDs map[int64]int64              // in the new file, by those of the old
	emitted map[int64]map[crdt.Hash]bool // by old rid, the changes of its snapshot that were written
	reach   map[int64]crdt.LSN           // by old rid, of its snapshot
	at      crdt.LSN                     // of the old log, that was reached
	tries   int                          // of looking for a name among all

	tx      *Tx
	touched []*rebuilt // in this transaction
}

// rebuilt is a record in the new file.
type rebuilt struct {
	key     crdt.Key
	rid     int64
	last    crdt.LSN
	touched bool
}

// maxTries bounds the search for names that fit.
const maxTries = 10_000_000

// noPeer is where changes came from whose peer is not known any more.
const noPeer = 1 << 40

func (b *rebuilder) run(ctx context.Context) error {
	if err := b.commit(ctx, b.begin); err != nil {
		return err
	}
	for some := range slices.Chunk(b.byPosition(), salvageBatch) {
		err := b.commit(ctx, func() error {
			for _, at := range some {
				if err := b.change(at); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	// Records of whose log nothing was found.
	alone := func(rid int64) error { return b.snapshotOf(rid, b.nameOf(rid)) }
	if err := b.each(ctx, slices.Sorted(maps.Keys(b.snaps)), alone); err != nil {
		return err
	}
	if err := b.each(ctx, slices.Sorted(maps.Keys(b.wreck.records)), b.rest); err != nil {
		return err
	}
	b.done.Records = len(b.records)
	return b.commit(ctx, b.end)
}

// each calls fn for all of the numbers, some in a transaction.
func (b *rebuilder) each(ctx context.Context, all []int64, fn func(int64) error) error {
	for some := range slices.Chunk(all, salvageBatch) {
		err := b.commit(ctx, func() error {
			for _, n := range some {
				if err := fn(n); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// commit runs fn in a transaction.
func (b *rebuilder) commit(ctx context.Context, fn func() error) error {
	return b.store.Commit(ctx, func(tx *Tx) error {
		b.tx, b.touched = tx, b.touched[:0]
		if err := fn(); err != nil {
			return err
		}
		for _, t := range b.touched {
			rec, err := tx.Record(t.key)
			if err != nil {
				return err
			}
			t.touched, rec.LSN = false, t.last
			if err := tx.PutRecord(rec); err != nil {
				return err
			}
		}
		return nil
	})
}

// byPosition returns the versions of each row of the log.
func (b *rebuilder) byPosition() (all [][]found) {
	for _, at := range b.log {
		if n := len(all); n > 0 && all[n-1][0].id == at.id {
			all[n-1] = append(all[n-1], at)
			continue
		}
		all = append(all, []found{at})
	}
	return all
}

// begin writes what stands by itself.
func (b *rebuilder) begin() error {
	if id := b.replica(); id != (crdt.ReplicaID{}) {
		space := ""
		if b.identity != nil {
			space = b.identity.text(4)
		}
		if _, err := b.tx.exec(qSetIdentity, id[:], space); err != nil {
			return err
		}
	}
	for _, a := range b.actors {
		if _, err := b.tx.exec(qKeepActor, []byte(a)); err != nil {
			return err
		}
	}
	for id, r := range b.peers {
		p := &Peer{Epoch: uint64(r.int(2)), Name: r.text(3), Read: crdt.Cursor{Epoch: uint64(r.int(4)), LSN: crdt.LSN(r.int(5))},
			State: r.text(11), Seen: r.int(14), Doubt: true, Subject: r.text(16), Carrier: r.int(17) != 0}
		if errors.Join(r.fill(p.Replica[:], 1), r.fill(p.Read.Chain[:], 6), r.fill(p.ReadFilter[:], 7)) != nil {
			continue
		}
		if p.Read.LSN < 0 {
			p.Read = crdt.Cursor{}
		}
		if err := b.tx.PutPeer(p); err != nil {
			return err
		}
		b.peerIDs[id] = p.ID
	}
	for name, r := range b.policies {
		json, err := b.open(r.sealed(4), columnPolicy, appendName(nil, name), []byte(r.text(1)))
		if err != nil || r.int(2) < 1 {
			continue
		}
		if err := b.tx.putPolicy(name, json, r.int(2)); err != nil {
			return err
		}
	}
	return nil
}

// change writes the change at one position, of which several versions were found.
func (b *rebuilder) change(versions []found) error {
	lsn := crdt.LSN(versions[0].id)
	if b.at++; lsn > b.at {
		b.done.Missing = append(b.done.Missing, Span{b.at, lsn - 1})
		b.at = lsn
	}
	var emptied row
	for i, at := range versions {
		r := b.row(at)
		if len(r) < 9 || len(r.blob(5)) != len(crdt.Hash{}) {
			continue
		}
		if r.int(6) < 0 {
			if i == 0 {
				return nil // withdrawn: it belongs to no history
			}
			continue
		}
		data, err := b.open(r.sealed(10), columnChange, appendID(nil, int64(lsn)), r.blob(8))
		if err == nil && len(data) == 0 && emptied == nil {
			emptied = slices.Clone(r)
		}
		h, ok := chunkHash(data) // which counts, not the column: the bytes have a checksum
		if err != nil || !ok {
			continue
		}
		key, ok := b.keyOf(r, lsn, h)
		if !ok {
			b.done.Unnamed++
			break
		}
		if lsn <= b.upTo(r.int(3)) {
			if err := b.snapshotOf(r.int(3), key); err != nil {
				return err
			}
		}
		return b.append(r.int(3), key, slices.Clone(r), h, data)
	}
	if emptied != nil {
		rid := emptied.int(3)
		if key, ok := b.keyOf(emptied, lsn, crdt.Hash(emptied.blob(5))); ok {
			if err := b.snapshotOf(rid, key); err != nil {
				return err
			}
			if b.emitted[rid][crdt.Hash(emptied.blob(5))] {
				return nil
			}
		}
	}
	b.done.miss(lsn)
	return nil
}

// miss notes a position at which nothing was found.
func (d *Salvaged) miss(lsn crdt.LSN) {
	if n := len(d.Missing); n > 0 && d.Missing[n-1].To+1 == lsn {
		d.Missing[n-1].To = lsn
		return
	}
	d.Missing = append(d.Missing, Span{lsn, lsn})
}

// upTo returns how far a record's snapshot reaches, 0 if it has none.
func (b *rebuilder) upTo(rid int64) crdt.LSN {
	if len(b.snaps[rid]) == 0 {
		return 0
	}
	lsn, ok := b.reach[rid]
	if !ok {
		_, lsn = b.snapshot(rid)
		b.reach[rid] = lsn
	}
	return lsn
}

// keyOf tells which record a row of the log is of. A row names it by its number; the
// running hash says whether that is right.
func (b *rebuilder) keyOf(r row, lsn crdt.LSN, hash crdt.Hash) (crdt.Key, bool) {
	rid := r.int(3)
	before, known := b.chainAt(lsn - 1)
	if known && len(r.blob(1)) == len(crdt.Chain{}) {
		chain := crdt.Chain(r.blob(1))
		fits := func(k crdt.Key) bool { return before.Next(k, hash) == chain }
		if k, ok := b.rids[rid]; ok && fits(k) {
			return k, true
		}
		all := b.candidates(rid)
		if i := slices.IndexFunc(all, fits); i >= 0 {
			b.rids[rid] = all[i]
			return all[i], true
		}
		for _, names := range b.names {
			for _, k := range names {
				if b.tries++; b.tries > maxTries {
					break
				}
				if fits(k) {
					return k, true
				}
			}
		}
	}
	k := b.nameOf(rid)
	return k, k != crdt.Key{}
}

// candidates returns the names that a record's number may stand for, the likeliest first.
func (b *rebuilder) candidates(rid int64) (all []crdt.Key) {
	if k, ok := b.rids[rid]; ok {
		all = append(all, k)
	}
	if rec := b.record(rid); rec != nil {
		all = append(all, rec.Key)
	}
	return append(all, b.names[rid]...)
}

func (b *rebuilder) nameOf(rid int64) crdt.Key {
	if all := b.candidates(rid); len(all) > 0 {
		return all[0]
	}
	return crdt.Key{}
}

// chainAt returns the running hash up to a position of the old log.
func (b *rebuilder) chainAt(lsn crdt.LSN) (c crdt.Chain, ok bool) {
	if lsn == 0 {
		return c, true
	}
	i, ok := slices.BinarySearchFunc(b.log, int64(lsn), func(f found, id int64) int { return int(min(max(f.id-id, -1), 1)) })
	if !ok {
		return c, false
	}
	r := b.row(b.log[i])
	return c, len(r) > 1 && r.fill(c[:], 1) == nil
}

// snapshotOf writes the changes of a record's snapshot, if that was not done.
func (b *rebuilder) snapshotOf(rid int64, key crdt.Key) error {
	if b.emitted[rid] != nil {
		return nil
	}
	b.emitted[rid] = map[crdt.Hash]bool{}
	changes, _ := b.snapshot(rid)
	if len(changes) > 0 && key == (crdt.Key{}) {
		b.done.Unnamed += len(changes)
		return nil
	}
	for _, c := range changes {
		set := crdt.SetIDOf([]crdt.Member{{Key: key, Change: c}})
		if err := b.append(rid, key, row{nil, nil, set[:], nil, nil, nil, int64(0), c.Time()}, c.Hash(), c.Raw()); err != nil {
			return err
		}
		b.emitted[rid][c.Hash()] = true
	}
	return nil
}

// append writes one change, unless the record's snapshot had it.
func (b *rebuilder) append(rid int64, key crdt.Key, r row, hash crdt.Hash, data []byte) error {
	if b.emitted[rid][hash] {
		return nil
	}
	t, err := b.rebuilt(rid, key)
	if err != nil {
		return err
	}
	l := &LogRow{RID: t.rid, Key: key, Hash: hash, Data: data, Time: r.int(7), Source: noPeer}
	if id, ok := b.peerIDs[r.int(6)]; ok {
		l.Source = id
	}
	// A set that lacks something must not have the name of the whole one, which a peer may
	// bring back.
	sum := sha256.Sum256(r.blob(2))
	copy(l.Set[:], sum[:])
	if err := b.tx.Append(l); err != nil {
		return err
	}
	b.done.Changes++
	t.last = l.LSN
	if !t.touched {
		t.touched = true
		b.touched = append(b.touched, t)
	}
	return nil
}

// rebuilt returns the record in the new file, which is as the old row has it if that can
// be read.
func (b *rebuilder) rebuilt(rid int64, key crdt.Key) (*rebuilt, error) {
	if t := b.records[key]; t != nil {
		return t, nil
	}
	rec := b.record(rid)
	if rec == nil || rec.Key != key {
		rec = &Record{PolicyVersion: -1}
	}
	rec.RID, rec.Key, rec.LSN = 0, key, 0
	if err := b.tx.PutRecord(rec); err != nil {
		return nil, err
	}
	t := &rebuilt{key: key, rid: rec.RID}
	b.records[key] = t
	return t, nil
}

// rest writes a record of which no change was found: a stub, or one that has lost all.
func (b *rebuilder) rest(rid int64) error {
	rec := b.record(rid)
	if rec == nil {
		return nil
	}
	key := rec.Key
	if k, ok := b.rids[rid]; ok {
		key = k
	}
	t, err := b.rebuilt(rid, key)
	if err != nil {
		return err
	}
	m, ok := b.marks[rid]
	if !ok {
		return nil
	}
	f := &Forgotten{RID: t.rid, Wanted: m.int(2) != notWanted, Damaged: m.int(2) == wantedDamaged, Time: m.int(3)}
	if f.Clock, err = parseClock(m.blob(1)); err != nil || !f.Wanted && t.last > 0 {
		return nil // it comes back whole
	}
	return b.tx.PutMark(f)
}

// end writes what refers to records.
func (b *rebuilder) end() error {
	for id, r := range b.parked {
		if err := b.park(id, r); err != nil {
			return err
		}
	}
	fields := map[string][]string{}
	for _, p := range b.plain {
		fields[p[0]] = append(fields[p[0]], p[1])
	}
	for name, all := range fields {
		if err := b.tx.SetPlainFields(name, all); err != nil {
			return err
		}
	}
	for _, x := range b.indexes {
		if _, err := fieldPath(x[1]); err != nil || (crdt.Key{Collection: x[0], ID: "-"}).Valid() != nil {
			continue
		}
		if _, err := b.tx.EnsureIndex(x[0], x[1]); err != nil {
			return err
		}
	}
	return nil
}

func (b *rebuilder) park(id int64, r row) error {
	p := &ParkedSet{Peer: b.peerIDs[r.int(1)], Waits: b.names[id], Time: r.int(5)}
	old := &ParkedSet{Peer: r.int(1)}
	if r.fill(old.Set[:], 2) != nil {
		return nil
	}
	p.Set = old.Set
	var err error
	var reason []byte
	if p.Data, err = b.open(r.sealed(8), columnParked, old.rowID(), r.blob(6)); err == nil {
		reason, err = b.open(r.sealed(8), columnParkedReason, old.rowID(), []byte(r.text(4)))
	}
	p.Reason = string(reason)
	if err != nil || len(p.Waits) == 0 {
		b.done.Orphaned++
		return nil
	}
	if err := b.tx.Park(p); err != nil && !errors.Is(err, ErrCapped) {
		return err
	}
	return nil
}
