package persist

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Encrypt has the file's content encrypted from now on, and all that it holds
// already: changes, snapshots, stored values, parked and refused changes, policies,
// and the texts of errors. It returns when no byte of it is left as plain text in the
// file and its WAL.
//
// The store can be used meanwhile. When Encrypt is interrupted, whether by its
// context or by the death of the process, reading goes on working, and the rest is
// done when the file is opened the next time with the key, or Encrypt is called
// again. See ErrUnfinished. Of a file that is encrypted with another key it is an error: Rekey.
func (s *Store) Encrypt(ctx context.Context, key Key) error {
	if key.IsZero() {
		return errors.New("encrypt: no key")
	}
	l, err := newLock(key)
	if err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	err = s.change(ctx, l, func(now *sealing) (*box, error) {
		switch {
		case now.number() == 0:
			b := &box{phase: phaseConvert, plain: true, target: now.last + 1, keys: []dataKey{newDataKey(now.last + 1)}}
			if now.box != nil { // it was being decrypted
				b.keys = append(b.keys, now.box.keys...)
			}
			return b, nil
		case s.vault.holds(key):
			return now.box, nil
		}
		return nil, errOtherKey
	})
	return wrapUnlessNil("encrypt", err)
}

// Decrypt is the inverse of Encrypt: everything is stored as plain text, and the
// file is opened without a key. It can be interrupted as Encrypt can.
func (s *Store) Decrypt(ctx context.Context) error {
	err := s.change(ctx, nil, func(now *sealing) (*box, error) {
		if now.number() == 0 {
			return now.box, nil
		}
		return &box{phase: phaseConvert, plain: true, keys: now.box.keys}, nil
	})
	return wrapUnlessNil("decrypt", err)
}

// Rekey has the file opened with another key. All content is encrypted anew, as
// Encrypt does it and to be interrupted like it: whoever knows the old key, and had
// the file once, can read nothing of what it holds afterwards. From the start it is
// the new key that opens the file, not the old one.
func (s *Store) Rekey(ctx context.Context, key Key) error {
	if err := s.settle(ctx); err != nil {
		return wrapUnlessNil("rekey", err)
	}
	return s.rekey(ctx, key, func(now *sealing) *box {
		n := now.last + 1
		return &box{phase: phaseConvert, target: n, plain: now.box.plain, keys: append(slices.Clone(now.box.keys), newDataKey(n))}
	})
}

// Relock is Rekey without encrypting anew: at once, whatever the file holds. Whoever
// knows the old key and has an old copy of the file has what opens the content of
// this one too, so it is for a key that nobody else knew.
func (s *Store) Relock(ctx context.Context, key Key) error {
	return s.rekey(ctx, key, func(now *sealing) *box {
		b := *now.box
		if b.phase == phaseSteady {
			b.phase = phaseFold
		}
		return &b
	})
}

func (s *Store) rekey(ctx context.Context, key Key, next func(*sealing) *box) error {
	if key.IsZero() {
		return errors.New("rekey: no key")
	}
	l, err := newLock(key)
	if err == nil {
		err = s.change(ctx, l, func(now *sealing) (*box, error) {
			if now.number() == 0 {
				return nil, ErrNotEncrypted
			}
			return next(now), nil
		})
	}
	return wrapUnlessNil("rekey", err)
}

func wrapUnlessNil(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// errOtherKey: Encrypt was called on a file that is.
var errOtherKey = errors.New("the file is encrypted already, with another key: rekey changes it")

// change begins a change of the encryption, as alter does, and brings it to its end.
func (s *Store) change(ctx context.Context, l *lock, next func(*sealing) (*box, error)) error {
	err := s.alter(ctx, l, next)
	if err == nil {
		err = s.settle(ctx)
	}
	return err
}

// alter puts a new box into the file, locked with l (nil: with the lock at hand),
// and makes it the store's state by the same commit. next returns the box at hand to
// leave everything as it is.
func (s *Store) alter(ctx context.Context, l *lock, next func(*sealing) (*box, error)) error {
	defer s.vault.try(nil)
	err := s.writer.do(ctx, &request{full: true, fn: func(tx *Tx) error { return tx.alter(l, next) }})
	if err == nil {
		s.step("alter")
	}
	return err
}

func (tx *Tx) alter(l *lock, next func(*sealing) (*box, error)) error {
	now := tx.sealing
	b, err := next(now)
	if err != nil || b == now.box {
		return err
	}
	if l == nil {
		l = tx.vault.current()
	}
	version, last, kdf, locked := now.version+1, now.last, "", []byte{}
	if b != nil {
		if now.number() == 0 && b.target != 0 {
			if err := tx.plainDeclared(); err != nil {
				return err
			}
		}
		if locked, err = b.lock(l, version); err != nil {
			return err
		}
		last, kdf = max(last, b.target), l.kdf
	}
	s, err := now.next(version, last, b)
	if err != nil {
		return err
	}
	if _, err := tx.exec(qSetSealing, version, last, kdf, locked); err != nil {
		return err
	}
	tx.vault.try(l) // others can read what is committed before OnCommit is called
	w, v := tx.w, tx.vault
	tx.OnCommit(func() {
		v.take(l)
		v.publish(s)
		w.sealing = s
	})
	return nil
}

// unlocked does what is left to do when the file has just been opened.
func (s *Store) unlocked(ctx context.Context) error {
	var err error
	switch encrypted := s.vault.now.Load().box != nil; {
	case encrypted:
		// What can be read now can be used; the rest is for another time.
		if err = s.settle(ctx); errors.Is(err, ErrDamaged) || errors.Is(err, ErrDiskFull) {
			err = nil
		}
	case !s.opts.Key.IsZero():
		err = s.encryptEmpty(ctx)
	}
	if errors.Is(err, ErrUnfinished) {
		return nil
	}
	return err
}

// encryptEmpty encrypts a file in which nothing is to be encrypted yet.
func (s *Store) encryptEmpty(ctx context.Context) error {
	err := s.Read(ctx, func(r *Reader) error {
		for _, t := range sealedTables {
			for _, err := range r.c.dynamic(ctx, "SELECT 1 FROM "+t.name+" LIMIT 1", nil) {
				return cmp.Or(err, ErrNotEncrypted)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.Encrypt(ctx, s.opts.Key)
}

// settle brings a change of the encryption to its end, whoever began it. Others may
// do the same at the same time.
func (s *Store) settle(ctx context.Context) error {
	for {
		now := s.vault.now.Load()
		if now.box == nil || now.box.phase == phaseSteady {
			return nil
		}
		if err := s.advance(ctx, now); err != nil {
			return err
		}
	}
}

// advance does what the phase asks for and goes on to the next, unless another one
// has begun meanwhile.
func (s *Store) advance(ctx context.Context, now *sealing) error {
	b := &box{phase: now.box.phase + 1, target: now.box.target, keys: now.box.keys}
	switch now.box.phase {
	case phaseConvert:
		if over, err := s.convert(ctx, now); over || err != nil {
			return err
		}
		if b.target == 0 {
			b = nil // what was encrypted may stay where it was
		} else {
			b.keys = []dataKey{*b.key(b.target)}
		}
	case phaseVacuum:
		if err := s.outside(ctx, func(c *conn) error { return c.run("VACUUM") }); err != nil {
			return err
		}
		s.step("vacuum")
	case phaseFold:
		if err := s.outside(ctx, fold); err != nil {
			return err
		}
		s.step("fold")
		b.phase = phaseSteady
	}
	return s.alter(ctx, nil, func(at *sealing) (*box, error) {
		if at.version != now.version {
			return at.box, nil
		}
		return b, nil
	})
}

// fold empties the WAL into the file. It does not wait for readers.
func fold(c *conn) error {
	patience, err := c.pragma("PRAGMA busy_timeout")
	if err != nil {
		return err
	}
	if err := c.run("PRAGMA busy_timeout = 0"); err != nil {
		return err
	}
	busy, err := c.pragma("PRAGMA wal_checkpoint(TRUNCATE)")
	if err == nil && busy != int64(0) {
		err = ErrUnfinished
	}
	return errors.Join(err, c.run(fmt.Sprintf("PRAGMA busy_timeout = %d", patience)))
}

// outside runs fn in no transaction, again and again for the busy timeout as long as
// others are in its way.
func (s *Store) outside(ctx context.Context, fn func(*conn) error) error {
	for deadline := time.Now().Add(s.opts.BusyTimeout); ; {
		err := s.writer.do(ctx, &request{outside: fn})
		if errors.Is(err, ErrBusy) {
			err = ErrUnfinished
		}
		if !errors.Is(err, ErrUnfinished) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *Store) step(name string) {
	if s.opts.afterStep != nil {
		s.opts.afterStep(name)
	}
}

// sealedTable is a table with content. Each has a column sealed, the number of the
// key that a row's content is sealed with.
type sealedTable struct {
	name    string
	at      string   // its primary key
	id      []string // the columns of a row's ID, as its noun writes it
	content []sealedColumn
}

type sealedColumn struct {
	name   string
	column column
	text   bool
}

// sealedTables are all tables with content.
var sealedTables = [...]sealedTable{
	{"log", "lsn", []string{"lsn"}, []sealedColumn{{"data", columnChange, false}}},
	{"snapshots", "rid", []string{"rid", "lsn"}, []sealedColumn{{"data", columnSnapshot, false}}},
	{"records", "rid", []string{"rid"}, []sealedColumn{{"json", columnView, true}}},
	{"parked", "id", []string{"peer", "set_id"}, []sealedColumn{{"reason", columnParkedReason, true}, {"data", columnParked, false}}},
	{"quarantine", "id", []string{"peer", "hash", "collection", "record"},
		[]sealedColumn{{"detail", columnQuarantineDetail, true}, {"data", columnQuarantined, false}}},
	{"refusals", "id", []string{"peer", "hash", "collection", "record"}, []sealedColumn{{"detail", columnRefusalDetail, true}}},
	{"peers", "id", []string{"replica", "epoch"}, []sealedColumn{{"last_error", columnPeerError, true}, {"carried", columnPeerCarried, true}}},
	{"policies", "collection", []string{"collection"}, []sealedColumn{{"policy", columnPolicy, true}}},
}

// Bounds of what one transaction converts: others wait for it.
const (
	convertRows  = 512
	convertBytes = 1 << 20
)

// convert seals every row as the state says that was handed to it. Rows that come
// meanwhile are sealed so already. over says that another state came in between. Rows
// that cannot be decrypted stay as they are, and are an error in the end.
func (s *Store) convert(ctx context.Context, now *sealing) (over bool, err error) {
	damaged := 0
	var first error
	for i := range sealedTables {
		var after driver.Value // nil: the beginning
		for more := true; more; {
			err := s.Commit(ctx, func(tx *Tx) error {
				if tx.sealing.version != now.version {
					over = true
					return nil
				}
				batch := &conversion{tx: tx, t: &sealedTables[i], after: after}
				if err := batch.run(); err != nil {
					return err
				}
				more, after = batch.more, batch.after
				damaged += batch.damaged
				if first == nil {
					first = batch.first
				}
				return nil
			})
			if err != nil || over {
				return over, err
			}
			s.step(sealedTables[i].name)
		}
	}
	if damaged > 0 {
		return false, fmt.Errorf("%d rows stay as they are, a check lists them; the first: %w", damaged, first)
	}
	return false, nil
}

// conversion is one transaction's part of convert.
type conversion struct {
	tx      *Tx
	t       *sealedTable
	after   driver.Value // the last row that was converted
	more    bool
	damaged int
	first   error // why the first of them is
}

// convertible is a row that is not sealed as it should be.
type convertible struct {
	at      driver.Value
	sealed  int64
	id      []byte
	content [][]byte
}

func (c *conversion) run() error {
	rows, err := c.gather()
	if err != nil {
		return err
	}
	st, err := c.tx.c.prepareSQL("encrypt "+c.t.name, c.t.update())
	if err != nil {
		return c.tx.fail(err)
	}
	defer st.s.Close()
	args := make([]driver.Value, len(c.t.content)+2)
	for _, row := range rows {
		if err := c.reseal(&row, args); errors.Is(err, ErrDamaged) {
			if c.damaged++; c.first == nil {
				c.first = fmt.Errorf("%s %v: %w", c.t.name, row.at, err)
			}
			continue
		} else if err != nil {
			return err
		}
		if _, err := st.exec(args); err != nil {
			return c.tx.fail(err)
		}
	}
	return nil
}

// gather reads what is to be converted next.
func (c *conversion) gather() (rows []convertible, err error) {
	size := 0
	args := []driver.Value{c.tx.sealing.number(), c.after}
	for row, err := range c.tx.c.dynamic(context.Background(), c.t.query(c.after != nil), args) {
		if err != nil {
			return nil, c.tx.fail(err)
		}
		if len(rows) == convertRows || size >= convertBytes {
			c.more = true
			return rows, nil
		}
		x := convertible{at: row[0], sealed: row.int(1)}
		for _, v := range row[2 : 2+len(c.t.id)] {
			x.id = appendValue(x.id, v)
		}
		for _, v := range row[2+len(c.t.id):] {
			b := bytesOf(v)
			size += len(b)
			x.content = append(x.content, b)
		}
		rows, c.after = append(rows, x), x.at
	}
	return rows, nil
}

// reseal fills the arguments of the table's update.
func (c *conversion) reseal(row *convertible, args []driver.Value) error {
	for i, col := range c.t.content {
		plain, err := c.tx.unseal(row.sealed, col.column, row.id, row.content[i])
		if err != nil {
			return err
		}
		sealed := c.tx.seal(col.column, row.id, plain)
		switch {
		case row.content[i] == nil:
			args[i] = nil
		case col.text:
			args[i] = string(sealed)
		default:
			args[i] = slices.Clone(sealed) // the next one takes its place
		}
	}
	args[len(args)-2], args[len(args)-1] = c.tx.sealing.number(), row.at
	return nil
}

func (t *sealedTable) query(further bool) string {
	cols := append([]string{t.at, "sealed"}, t.id...)
	for _, c := range t.content {
		cols = append(cols, c.name)
	}
	where := " WHERE sealed <> ?1 AND ?2 IS NULL"
	if further {
		where = " WHERE sealed <> ?1 AND " + t.at + " > ?2"
	}
	return "SELECT " + strings.Join(cols, ", ") + " FROM " + t.name + where + " ORDER BY " + t.at
}

func (t *sealedTable) update() string {
	set := ""
	for _, c := range t.content {
		set += c.name + " = ?, "
	}
	return "UPDATE " + t.name + " SET " + set + "sealed = ? WHERE " + t.at + " = ?"
}

// appendValue is appendID for a number and appendName for anything else.
func appendValue(b []byte, v driver.Value) []byte {
	if n, ok := v.(int64); ok {
		return appendID(b, n)
	}
	return appendName(b, string(bytesOf(v)))
}

// bytesOf returns text or bytes; nil for NULL.
func bytesOf(v driver.Value) []byte {
	switch v := v.(type) {
	case string:
		return []byte(v)
	case []byte:
		return nonNil(v)
	}
	return nil
}
