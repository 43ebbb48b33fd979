package persist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/mattn/go-sqlite3"

	"github.com/godwitdb/godwit/crdt"
)

// MaxIndexes bounds how many indexes a collection may have: each write pays for all.
const MaxIndexes = 32

// FieldIndex keeps the values of a field sorted, for the records of a collection that
// exist. It is declared in the file and kept up to date by it, in the transaction of
// each change, whatever program makes that.
type FieldIndex struct {
	ID         int64
	Collection string
	Field      string // a path
	Done       int64  // records up to this RID are in it
	Ready      bool   // all are; until then no query uses it
}

// table holds a row for each record: its key, ID and RID.
func (x *FieldIndex) table() string { return fmt.Sprintf("field_%d", x.ID) }

func parseIndex(row row) (FieldIndex, error) {
	return FieldIndex{ID: row.int(0), Collection: row.text(1), Field: row.text(2), Done: row.int(3), Ready: row.int(4) != 0}, nil
}

// Indexes returns the indexes of a collection by field, or all of them by collection
// when it is "".
func (r *Reader) Indexes(collection string) ([]FieldIndex, error) {
	if collection == "" {
		return collect(scan(r, parseIndex, qIndexes))
	}
	return collect(scan(r, parseIndex, qIndexesOf, collection))
}

// EnsureIndex declares an index on a field, which EnterIndex then fills. It reports
// whether there was none. What cannot be indexed is a *QueryError.
func (tx *Tx) EnsureIndex(collection, field string) (created bool, err error) {
	if err := (crdt.Key{Collection: collection, ID: "-"}).Valid(); err != nil {
		return false, &QueryError{Reason: err.Error()}
	}
	path, err := fieldPath(field)
	if err != nil {
		return false, err
	}
	have, err := tx.Indexes(collection)
	if err != nil || slices.ContainsFunc(have, func(x FieldIndex) bool { return samePath(x.Field, field) }) {
		return false, err
	}
	if len(have) >= MaxIndexes {
		return false, &QueryError{Field: field, Reason: fmt.Sprintf("%s has %d indexes, more are not allowed", collection, MaxIndexes)}
	}
	row, err := tx.one(qInsertIndex, collection, field)
	if err != nil {
		return false, err
	}
	x := &FieldIndex{ID: row.int(0), Collection: collection, Field: field}
	if err := tx.createIndex(x, path); err != nil {
		return false, tx.fail(err)
	}
	return true, tx.checkPlain()
}

// createIndex makes an index's table, and the triggers that keep it. An update that
// leaves the key as it was writes nothing.
func (tx *Tx) createIndex(x *FieldIndex, path string) error {
	key := func(alias string) string { return keyAt("(" + viewJSON(alias) + ", " + literal(path) + ")") }
	t, ours := x.table(), ".collection = "+literal(x.Collection)
	remove := fmt.Sprintf("DELETE FROM %s WHERE key = %s AND id = OLD.id AND rid = OLD.rid;", t, key("OLD"))
	insert := fmt.Sprintf("INSERT OR IGNORE INTO %s SELECT %s, NEW.id, NEW.rid WHERE NEW.deleted = 0;", t, key("NEW"))
	return tx.c.run(fmt.Sprintf(`
		CREATE TABLE %[1]s (key ANY NOT NULL, id TEXT NOT NULL, rid INTEGER NOT NULL, PRIMARY KEY (key, id, rid)) STRICT, WITHOUT ROWID;
		CREATE TRIGGER %[1]s_insert AFTER INSERT ON records WHEN NEW%[2]s BEGIN %[4]s END;
		CREATE TRIGGER %[1]s_delete AFTER DELETE ON records WHEN OLD%[2]s BEGIN %[3]s END;
		CREATE TRIGGER %[1]s_update AFTER UPDATE OF json, deleted ON records
			WHEN NEW%[2]s AND (OLD.deleted <> NEW.deleted OR %[5]s IS NOT %[6]s)
			BEGIN %[3]s %[4]s END;`, t, ours, remove, insert, key("OLD"), key("NEW")))
}

// DropIndex removes an index. It reports whether there was one.
func (tx *Tx) DropIndex(collection, field string) (bool, error) {
	have, err := tx.Indexes(collection)
	if err != nil {
		return false, err
	}
	for _, x := range have {
		if samePath(x.Field, field) {
			if _, err := tx.exec(qDeleteIndex, x.ID); err != nil {
				return false, err
			}
			t := x.table()
			return true, tx.fail(tx.c.run(fmt.Sprintf(
				"DROP TRIGGER %[1]s_insert; DROP TRIGGER %[1]s_delete; DROP TRIGGER %[1]s_update; DROP TABLE %[1]s;", t)))
		}
	}
	return false, nil
}

// indexRun is how many records are entered into an index in the order of their keys.
const indexRun = 100_000

// Unbuilt returns an index that is not ready, nil if all are, and the RIDs of the records
// that are to be entered next, in the order of the index. So each transaction of
// EnterIndex writes few pages, next to each other; in the order of the records it would
// write about as many pages as records, which took a hundred times as long.
func (r *Reader) Unbuilt(ctx context.Context) (x *FieldIndex, rids []int64, err error) {
	all, err := r.Indexes("")
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(all, func(x FieldIndex) bool { return !x.Ready })
	if i < 0 {
		return nil, nil, nil
	}
	x = &all[i]
	path, err := fieldPath(x.Field)
	if err != nil {
		return nil, nil, r.fail(err)
	}
	c := r.newCompiler()
	c.WriteString("SELECT r.rid FROM records r WHERE r.rid > " + c.arg(x.Done) + " AND r.rid <= " + c.arg(x.Done+indexRun) +
		" AND r.collection = " + c.arg(x.Collection) + " AND r.deleted = 0 ORDER BY " + keyAt(c.at(path)) + ", r.id")
	for row, err := range r.dynamic(ctx, c) {
		if err != nil {
			return nil, nil, err
		}
		rids = append(rids, row.int(0))
	}
	return x, rids, nil
}

// EnterIndex enters some records that Unbuilt returned into an index, as they are now;
// what is there already stays. last says that these are the last ones, and what was done
// is in the file then: whoever goes on, goes on there.
func (tx *Tx) EnterIndex(ctx context.Context, x *FieldIndex, rids []int64, last bool) error {
	all, err := tx.Indexes(x.Collection)
	if err != nil || !slices.Contains(all, *x) {
		return err // it was dropped, or somebody else has done this part
	}
	list, err := json.Marshal(rids)
	if err != nil {
		return err
	}
	path, err := fieldPath(x.Field)
	if err != nil {
		return tx.fail(err)
	}
	c := &compiler{json: viewJSON("r")}
	c.WriteString("INSERT OR IGNORE INTO " + x.table() + " SELECT " + keyAt(c.at(path)) + ", r.id, r.rid FROM json_each(" + c.arg(string(list)) +
		") e CROSS JOIN records r ON r.rid = e.value WHERE r.collection = " + c.arg(x.Collection) + " AND r.deleted = 0")
	if err := tx.execDynamic(ctx, c); err != nil || !last {
		return err
	}
	end, err := tx.LastRID()
	if err != nil {
		return err
	}
	_, err = tx.exec(qIndexDone, x.Done+indexRun, x.Done+indexRun >= end, x.ID)
	return err
}

// indexes holds the indexes against the records.
func (k *checker) indexes() error {
	all, err := k.r.Indexes("")
	if err != nil {
		return err
	}
	for _, x := range all {
		if k.spoiled[x.Collection] {
			continue // it is built again when the record is repaired
		}
		path, err := fieldPath(x.Field)
		if err != nil {
			return err
		}
		for _, detail := range []string{"is not in the index", "is in the index with another value, or should not be"} {
			c := k.r.newCompiler()
			key := keyAt(c.at(path))
			if detail == "is not in the index" {
				c.WriteString("SELECT r.id FROM records r WHERE r.collection = " + c.arg(x.Collection) + " AND r.deleted = 0 AND (" +
					c.arg(x.Ready) + " OR r.rid <= " + c.arg(x.Done) + ") AND NOT EXISTS (SELECT 1 FROM " + x.table() +
					" f WHERE f.key = " + key + " AND f.id = r.id AND f.rid = r.rid) ORDER BY r.id")
			} else {
				c.WriteString("SELECT f.id FROM " + x.table() + " f WHERE NOT EXISTS (SELECT 1 FROM records r WHERE r.rid = f.rid AND r.id = f.id AND r.collection = " +
					c.arg(x.Collection) + " AND r.deleted = 0 AND f.key = " + key + ") ORDER BY f.id")
			}
			for row, err := range k.r.dynamic(k.ctx, c) {
				if e := (sqlite3.Error{}); errors.As(err, &e) && e.Code == sqlite3.ErrError {
					return fmt.Errorf("index on %s of %s: %w: %w", x.Field, x.Collection, ErrDamaged, err)
				}
				if err != nil {
					return err
				}
				k.each(Problem{Kind: "index", Key: crdt.Key{Collection: x.Collection, ID: row.text(0)},
					Detail: fmt.Sprintf("it %s on %s", detail, x.Field), Advice: adviceIndex})
			}
		}
	}
	return k.ctx.Err()
}
