package persist

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist/internal/sqlitefile"
)

// wreck is what was found in a damaged file: of small tables the rows, of large ones
// where they are.
type wreck struct {
	file    *sqlitefile.File
	sealing *sealing

	identity row                  // of meta; nil: none was found
	actors   []crdt.ActorID       // incarnations
	log      []found              // by position; several may have one
	records  map[int64][]found    // by rid
	names    map[int64][]crdt.Key // by rid, or by the number of a parked set: indexes look alike
	snaps    map[int64][]found
	parked   map[int64]row
	peers    map[int64]row
	marks    map[int64]row // of forgotten
	policies map[string]row
	indexes  [][2]string // collection, field
	plain    [][2]string // collection, field
	lock     row         // of encryption
}

// found is a place in the file where a row may be.
type found struct {
	id    int64
	order int // of those with one id, the newest version first
	place sqlitefile.Place
	old   bool // it is behind the end of a page's cells, or in an older version of the page
}

func scanWreck(f *sqlitefile.File) (*wreck, error) {
	w := &wreck{file: f, sealing: &sealing{}, records: map[int64][]found{}, names: map[int64][]crdt.Key{}, snaps: map[int64][]found{},
		parked: map[int64]row{}, peers: map[int64]row{}, marks: map[int64]row{}, policies: map[string]row{}}
	n := 0
	for r, err := range f.Rows() {
		if err != nil {
			return nil, err
		}
		n++
		at := found{r.ID, n, r.Place, r.Old}
		if r.Table && r.ID > 0 {
			r.Values[0] = r.ID
			w.table(row(r.Values), at)
		} else if !r.Table {
			w.entry(row(r.Values))
		}
	}
	slices.SortFunc(w.log, func(a, b found) int { return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.order, b.order)) })
	return w, nil
}

// shape names the types of a row's columns, from the second on: i, t, b, and n for NULL.
func shape(r row, from int) string {
	var b strings.Builder
	for _, v := range r[min(from, len(r)):] {
		switch v.(type) {
		case nil:
			b.WriteByte('n')
		case int64:
			b.WriteByte('i')
		case string:
			b.WriteByte('t')
		case []byte:
			b.WriteByte('b')
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}

// The shapes of rows, without the number they were sealed with, which an older program
// did not write.
const (
	shapeLog      = "bbiibiib"
	shapeRecord   = "ttbbitiiiiii"
	shapeValue    = "ttbbiniiiiii" // a record that has no value
	shapeSnapshot = "ib"
	shapeParked   = "ibititb"
	shapePeer     = "bitiibbiibtt"
)

// table takes in what may be a row of a table.
func (w *wreck) table(r row, at found) {
	s := shape(r, 1)
	bare := strings.TrimSuffix(s, "i")
	id := at.id
	switch {
	case (s == shapeLog || bare == shapeLog) && len(r.blob(1)) == len(crdt.Chain{}) && len(r.blob(5)) == len(crdt.Hash{}):
		w.log = append(w.log, at)
	case s == shapeRecord || s == shapeValue || bare == shapeRecord || bare == shapeValue:
		w.records[id] = append(w.records[id], at)
	case s == shapeSnapshot || bare == shapeSnapshot:
		w.snaps[id] = append(w.snaps[id], at)
	case s == "ibititb" || s == "ibititbi":
		keep(w.parked, id, r)
	case strings.HasPrefix(s, shapePeer[:11]) && len(r.blob(1)) == len(crdt.ReplicaID{}) && len(r) >= 18:
		keep(w.peers, id, r)
	case s == "bii" && id > 0:
		keep(w.marks, id, r)
	case id == 1 && (s == "biit" || s == "biiti") && len(r.blob(1)) == len(crdt.ReplicaID{}) && w.identity == nil:
		w.identity = r
	case id == 1 && s == "iitb" && w.lock == nil:
		w.lock = r
	case s == "ttii":
		w.indexes = append(w.indexes, [2]string{r.text(1), r.text(2)})
	}
}

func keep(m map[int64]row, id int64, r row) {
	if _, ok := m[id]; !ok {
		m[id] = slices.Clone(r)
	}
}

// entry takes in what may be an entry of an index, or a row of a table without rowids.
func (w *wreck) entry(r row) {
	switch s := shape(r, 0); s {
	case "tti":
		k := crdt.Key{Collection: r.text(0), ID: r.text(1)}
		if k.Valid() == nil && !slices.Contains(w.names[r.int(2)], k) {
			w.names[r.int(2)] = append(w.names[r.int(2)], k)
		}
	case "ttii":
		if _, ok := w.policies[r.text(0)]; !ok {
			w.policies[r.text(0)] = slices.Clone(r)
		}
	case "ttt":
		w.plain = append(w.plain, [2]string{r.text(0), r.text(2)})
	case "bi", "bii":
		if len(r.blob(0)) == 2*len(crdt.ReplicaID{}) {
			w.actors = append(w.actors, crdt.ActorID(r.blob(0)))
		}
	}
}

// unlock makes sealed rows readable.
func (w *wreck) unlock(key Key) error {
	if w.lock == nil || len(w.lock.blob(4)) == 0 {
		return nil
	}
	b, err := newVault(key).open(w.lock.blob(4), w.lock.int(1), w.lock.text(3))
	if err != nil {
		return err
	}
	w.sealing, err = w.sealing.next(w.lock.int(1), w.lock.int(2), b)
	return err
}

// open returns the content of a column.
func (w *wreck) open(sealed int64, col column, id, b []byte) ([]byte, error) {
	if len(b) == 0 || sealed == 0 && w.sealing.plain() {
		return b, nil
	}
	return w.sealing.open(sealed, slices.Clone(b), append([]byte{byte(col)}, id...))
}

// last returns the last column of a row, if it has so many; else 0.
func (r row) sealed(columns int) int64 {
	if len(r) < columns {
		return 0
	}
	return r.int(columns - 1)
}

// row reads a row where it was found; nil if it cannot be read now.
func (w *wreck) row(at found) row {
	r, err := w.file.Row(at.place)
	if err != nil || len(r.Values) == 0 {
		return nil
	}
	r.Values[0] = at.id
	return row(r.Values)
}

// record returns the newest version of a record's row that can be read, nil if there is
// none. Its value is not there: it is computed anew.
func (w *wreck) record(rid int64) (best *Record) {
	old := false
	for _, at := range w.records[rid] {
		if rec := parseWreck(w.row(at)); rec != nil && (best == nil || old && !at.old || old == at.old && rec.LSN > best.LSN) {
			best, old = rec, at.old
		}
	}
	return best
}

func parseWreck(r row) *Record {
	if len(r) < 13 {
		return nil
	}
	rec := &Record{RID: r.int(0), Key: crdt.Key{Collection: r.text(1), ID: r.text(2)}, MaxOp: uint64(r.int(5)), PolicyVersion: -1,
		Deleted: r.int(8) != 0, Created: r.int(10), Updated: r.int(11), LSN: crdt.LSN(r.int(12))}
	if rec.Key.Valid() != nil {
		return nil
	}
	var err error
	if rec.Heads, err = parseHeads(r.blob(3)); err != nil {
		rec.Heads = nil
	}
	if rec.Clock, err = parseClock(r.blob(4)); err != nil {
		rec.Clock = nil
	}
	return rec
}

// snapshot returns the changes of a record's snapshot, and the last position that it
// covers; nothing if it cannot be read.
func (w *wreck) snapshot(rid int64) ([]*crdt.Change, crdt.LSN) {
	for _, at := range w.snaps[rid] {
		r := w.row(at)
		if len(r) < 3 {
			continue
		}
		s := &Snapshot{RID: rid, LSN: crdt.LSN(r.int(1))}
		data, err := w.open(r.sealed(4), columnSnapshot, snapshotID(rid, s.LSN), r.blob(2))
		if err == nil {
			err = s.parse(data)
		}
		if err != nil {
			continue
		}
		if changes, err := s.Changes(); err == nil {
			return changes, s.LSN
		}
	}
	return nil, 0
}

// replica returns whose file it was, zero if nothing says so.
func (w *wreck) replica() (id crdt.ReplicaID) {
	if w.identity != nil {
		copy(id[:], w.identity.blob(1))
	} else if len(w.actors) > 0 {
		copy(id[:], w.actors[0])
	}
	return id
}

// errNothing says that a file holds nothing of ours.
var errNothing = fmt.Errorf("nothing of a replica can be read in it: %w", ErrNotOurs)
