package replica

import (
	"context"

	"github.com/godwitdb/godwit/persist"
)

// Key locks and opens an encrypted replica: 32 random bytes, or a passphrase. The
// zero Key is none. It prints as nothing that tells what it is.
type Key = persist.Key

// KeySize is the length of a key in bytes.
const KeySize = persist.KeySize

// NewKey returns the key of exactly KeySize bytes, which have to be random.
func NewKey(b []byte) (Key, error) { return persist.NewKey(b) }

// Passphrase returns the key that is derived from a passphrase with Argon2id, which
// takes 64 MiB and some tenths of a second each time a file is opened. A hub with
// many spaces is better off with NewKey.
func Passphrase(text string) (Key, error) { return persist.Passphrase(text) }

// What is wrong with a key. Opening a file that fails with one of them has changed
// nothing of it.
var (
	// ErrEncrypted: the file is encrypted, and no key was given.
	ErrEncrypted = persist.ErrEncrypted
	// ErrWrongKey: the file is locked with another key.
	ErrWrongKey = persist.ErrWrongKey
	// ErrNotEncrypted: a key was given for a file with content that is not encrypted.
	ErrNotEncrypted = persist.ErrNotEncrypted
	// ErrUnfinished: all content is stored as it was asked for, but another process
	// that reads the file keeps what was overwritten. It goes away when the file is
	// opened the next time, or the call is repeated.
	ErrUnfinished = persist.ErrUnfinished
)

// Encrypt has everything that the replica holds encrypted on its disk, from now on
// and what is there already: changes, snapshots, stored values, policies, what waits
// or was refused. It returns when no byte of that is left as plain text in the file
// and beside it; Options.Key then opens it.
//
// The ids and collections of records stay visible, their heads and actors, when they
// changed and how large that was, and the names of peers.
//
// The replica can be used meanwhile. When Encrypt is interrupted, by ctx or by the
// death of the process, it is completed by the next Open with the key, or by another
// Encrypt.
func (r *Replica) Encrypt(ctx context.Context, key Key) error {
	return translate(r.store.Encrypt(ctx, key))
}

// Decrypt has everything stored as plain text again; the replica is then opened
// without a key. It is completed, when interrupted, as Encrypt is.
func (r *Replica) Decrypt(ctx context.Context) error { return translate(r.store.Decrypt(ctx)) }

// Rekey changes the key, and encrypts everything anew: the old one opens nothing of
// the file any more, from the beginning of Rekey on, not even for somebody who had a
// copy of the file. It is completed, when interrupted, by the next Open with the new
// key.
func (r *Replica) Rekey(ctx context.Context, key Key) error {
	return translate(r.store.Rekey(ctx, key))
}

// Relock changes the key without encrypting anything anew, at once. It is for a key
// that nobody else knows: whoever has the old key and a copy of the file from before
// has what opens the content of this one too.
func (r *Replica) Relock(ctx context.Context, key Key) error {
	return translate(r.store.Relock(ctx, key))
}

// Encrypted reports whether the replica is stored encrypted, or is about to be.
func (r *Replica) Encrypted(ctx context.Context) (yes bool, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		yes, err = rd.Encrypted()
		return err
	})
	return yes, translate(err)
}

// ErrPlainIndex: an index or full text keeps what a field holds as plain text, which
// an encrypted replica does for fields of SetPlaintext only.
var ErrPlainIndex = persist.ErrPlainIndex

// SetPlaintext declares the fields of a collection, by their paths, that may be indexed
// and searched though the replica is encrypted, in place of those declared before. The
// values of such an index, and the words of such a full text, stand in the file as plain
// text. A field that has one cannot be taken out of an encrypted replica.
func (r *Replica) SetPlaintext(ctx context.Context, collection string, fields ...string) error {
	err := r.commit(ctx, 0, func(b *batch) error { return b.tx.SetPlainFields(collection, fields) })
	if err != nil {
		return &Error{Op: "declare plaintext of " + collection, Err: err}
	}
	return nil
}

// Plaintext returns the fields that SetPlaintext declared, by collection.
func (r *Replica) Plaintext(ctx context.Context) (fields map[string][]string, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) (err error) {
		fields, err = plaintext(rd)
		return err
	})
	return fields, translate(err)
}

func plaintext(rd *persist.Reader) (map[string][]string, error) {
	all, err := rd.AllPlainFields()
	fields := map[string][]string{}
	for _, f := range all {
		fields[f.Collection] = append(fields[f.Collection], f.Field)
	}
	return fields, err
}
