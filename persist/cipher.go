package persist

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
)

// column is a place in a row that holds content. Its number is bound to what is
// sealed there: none may ever mean another one.
type column byte

const (
	columnChange           column = 1 // log.data
	columnSnapshot         column = 2
	columnView             column = 3 // records.json
	columnParked           column = 4
	columnParkedReason     column = 5
	columnQuarantined      column = 6
	columnQuarantineDetail column = 7
	columnRefusalDetail    column = 8
	columnPeerError        column = 9
	columnPolicy           column = 10
	columnPeerCarried      column = 11
)

// appendID writes a number that tells a row from others of its table; with
// appendName it makes up the row's ID.
func appendID(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, 'i'), uint64(n))
}

// appendName writes bytes that tell a row from others of its table.
func appendName(b []byte, name string) []byte {
	return append(binary.AppendUvarint(append(b, 's'), uint64(len(name))), name...)
}

// vault holds the file's key and the state of its encryption. Safe for concurrent
// use.
type vault struct {
	now atomic.Pointer[sealing] // the newest state that was seen; never nil

	mu        sync.Mutex // guards what follows
	lock      lock       // the file's
	candidate *lock      // the one it gets by a transaction that is about to be committed
}

// lock is a key and what was derived of it last: that takes a while.
type lock struct {
	key Key
	kdf string
	kek []byte
}

// newLock derives what is to lock a box with the key, in a way of its own.
func newLock(key Key) (*lock, error) {
	l := &lock{key: key, kdf: key.newKDF()}
	var err error
	l.kek, err = key.derive(l.kdf)
	return l, err
}

// open opens a box that was locked with the same key.
func (l *lock) open(locked []byte, version int64, kdf string) (*box, error) {
	if l.key.IsZero() {
		return nil, ErrEncrypted
	}
	if l.kek == nil || l.kdf != kdf {
		kek, err := l.key.derive(kdf)
		if err != nil {
			return nil, err
		}
		l.kek, l.kdf = kek, kdf
	}
	return unlockBox(bytes.Clone(locked), l.kek, version, kdf)
}

func newVault(key Key) *vault {
	v := &vault{lock: lock{key: key}}
	v.now.Store(&sealing{})
	return v
}

// publish makes s the newest state, unless a newer one is known.
func (v *vault) publish(s *sealing) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s.version > v.now.Load().version {
		v.now.Store(s)
	}
}

// load returns the state as the connection's transaction sees it. Without the
// right key that is ErrEncrypted or ErrWrongKey.
func (v *vault) load(c *conn) (*sealing, error) {
	row, err := c.one(qSealing)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, fmt.Errorf("no state of the encryption: %w", ErrDamaged)
	}
	now := v.now.Load()
	version, last, kdf, locked := row.int(0), row.int(1), row.text(2), row.blob(3)
	if version == now.version {
		return now, nil
	}
	var b *box
	if len(locked) > 0 {
		if b, err = v.open(locked, version, kdf); err != nil {
			return nil, err
		}
	}
	s, err := now.next(version, last, b)
	if err != nil {
		return nil, err
	}
	v.publish(s)
	return s, nil
}

func (v *vault) open(locked []byte, version int64, kdf string) (*box, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	b, err := v.lock.open(locked, version, kdf)
	if err != nil && v.candidate != nil {
		b, err = v.candidate.open(locked, version, kdf)
	}
	return b, err
}

// loadFirst is load for a file that is being opened: it may be older than its
// encryption, or hold nothing yet.
func (v *vault) loadFirst(c *conn) error {
	has, err := c.one(qHasSealing)
	if err == nil && has != nil {
		_, err = v.load(c)
	}
	return err
}

// holds reports whether key is the file's.
func (v *vault) holds(key Key) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.lock.key.Equal(key)
}

// current returns the file's lock.
func (v *vault) current() *lock {
	v.mu.Lock()
	defer v.mu.Unlock()
	l := v.lock
	return &l
}

// try makes l one that opens the file too, take makes it the file's; nil ends the
// trial.
func (v *vault) try(l *lock) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.candidate = l
}

func (v *vault) take(l *lock) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lock, v.candidate = *l, nil
}

// viewJSON is the SQL of a record's stored value, sealed or not; alias names the row
// of records, "" where SQL allows no name. It does not notice plain text in an
// encrypted file, as reading records does; for that there is Check.
func viewJSON(alias string) string {
	if alias != "" {
		alias += "."
	}
	return "(CASE WHEN " + alias + "sealed = 0 THEN " + alias + "json ELSE godwit_open(" + alias + "sealed, " + alias + "rid, " + alias + "json) END)"
}

// register makes what is sealed readable in SQL:
//
//	godwit_open(sealed, rid, json)
//
// gives the stored value of a record in table records.
func (v *vault) register(c *conn) error {
	return c.db.RegisterFunc("godwit_open", func(sealed, rid int64, json any) (any, error) {
		text, ok := json.(string)
		if !ok {
			return nil, nil
		}
		s := v.now.Load()
		if s.keys[sealed] == nil {
			var err error
			if s, err = v.load(c); err != nil { // SQLite allows it here
				return nil, err
			}
		}
		plain, err := s.open(sealed, []byte(text), appendID([]byte{byte(columnView)}, rid))
		if err != nil {
			return nil, fmt.Errorf("record with rid %d: %w", rid, err)
		}
		return string(plain), nil
	}, true)
}

// open returns what was sealed with the key of the given number, in the memory of
// b.
func (s *sealing) open(number int64, b, aad []byte) ([]byte, error) {
	if number == 0 {
		return nil, errUnsealed
	}
	a := s.keys[number]
	if a == nil {
		return nil, fmt.Errorf("sealed with key %d, which is none of the file's: %w", number, errAltered)
	}
	return openWith(a, b, aad)
}

// unseal returns the content of a column, in the memory of b. number is what the
// row says it was sealed with. What is empty is not sealed.
func (r *Reader) unseal(number int64, col column, id, b []byte) ([]byte, error) {
	if len(b) == 0 || number == 0 && r.sealing.plain() {
		return b, nil
	}
	if r.sealing.keys[number] == nil {
		// Another process may have changed the encryption, before this
		// transaction began or since.
		s, err := r.vault.load(r.c)
		if err != nil {
			return nil, r.fail(err)
		}
		r.sealing = s
		if number == 0 && s.plain() {
			return b, nil
		}
	}
	r.aad = append(append(r.aad[:0], byte(col)), id...)
	return r.sealing.open(number, b, r.aad)
}

// unsealText is unseal for a column of text.
func (r *Reader) unsealText(number int64, col column, id []byte, text string) (string, error) {
	if number == 0 && r.sealing.plain() {
		return text, nil
	}
	b, err := r.unseal(number, col, id, []byte(text))
	return string(b), err
}

// rowID is the ID of a row that one number names. It is valid until the next.
func (r *Reader) rowID(n int64) []byte {
	r.id = appendID(r.id[:0], n)
	return r.id
}

// seal returns what is to be stored in a column. It is valid until the next call.
// The row has to say tx.sealing.number().
func (tx *Tx) seal(col column, id, b []byte) []byte {
	if tx.sealing.target == nil || len(b) == 0 {
		return b
	}
	tx.aad = append(append(tx.aad[:0], byte(col)), id...)
	tx.sealed = sealWith(tx.sealing.target, tx.sealed[:0], b, tx.aad)
	return tx.sealed
}

// sealText is seal for a column of text.
func (tx *Tx) sealText(col column, id []byte, text string) string {
	if tx.sealing.target == nil {
		return text
	}
	return string(tx.seal(col, id, []byte(text)))
}

// Encrypted reports whether content is stored encrypted, or about to be.
func (r *Reader) Encrypted() (bool, error) {
	s, err := r.vault.load(r.c)
	if err != nil {
		return false, r.fail(err)
	}
	r.sealing = s
	return s.box != nil, nil
}
