package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"github.com/godwitdb/godwit/replica"
)

// maxKeyFile bounds a file with a key.
const maxKeyFile = 64 << 10

// keySource is where a key comes from: a file, or else a variable of the environment.
// Never an argument, which everyone on the machine can see.
type keySource struct {
	file     string
	variable string
}

// key returns the key, none if nothing names one.
func (s keySource) key() (replica.Key, error) {
	if s.file == "" {
		text, ok := os.LookupEnv(s.variable)
		if !ok {
			return replica.Key{}, nil
		}
		k, err := parseKey([]byte(text))
		if err != nil {
			return k, fmt.Errorf("%s: %w", s.variable, err)
		}
		return k, nil
	}
	f, err := os.Open(s.file)
	if err != nil {
		return replica.Key{}, fmt.Errorf("read key: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(b) > maxKeyFile {
		err = fmt.Errorf("%s is larger than %d bytes", s.file, maxKeyFile)
	}
	if err != nil {
		return replica.Key{}, fmt.Errorf("read key: %w", err)
	}
	k, err := parseKey(b)
	if err != nil {
		return k, fmt.Errorf("%s: %w", s.file, err)
	}
	return k, nil
}

// parseKey reads a key: 64 hexadecimal digits are its bytes, anything else is a
// passphrase. An end of line behind it does not count.
func parseKey(text []byte) (replica.Key, error) {
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if b, err := hex.DecodeString(string(text)); err == nil && len(b) == replica.KeySize {
		return replica.NewKey(b)
	}
	return replica.Passphrase(string(text))
}

// generateKey writes a new key to a file that none but the user may read, and never
// over another.
func generateKey(e *env, name string) (replica.Key, error) {
	b := make([]byte, replica.KeySize)
	rand.Read(b) // never fails
	if err := writeNew(name, append(hex.AppendEncode(nil, b), '\n'), 0o600); err != nil {
		return replica.Key{}, err
	}
	e.note("wrote %s: without it nobody can read the replica, you neither", name)
	return replica.NewKey(b)
}

const keyHelp = `
A key is 64 hexadecimal digits, or else a passphrase, in the file that --key-file or GODWIT_KEY_FILE names, or in GODWIT_KEY.
Every command that opens the replica needs it then.`

type encryptCmd struct {
	GenerateKey string `placeholder:"FILE" help:"Write a new key to FILE and take that."`
}

// Help is shown by --help.
func (encryptCmd) Help() string {
	return `Encrypts what the replica holds, now and from now on: changes, stored values, and whatever else has content. When it
returns, no byte of that is left as plain text in the file. Ids and collections of records stay visible, and so do their
heads, actors, sizes and times. Others may use the replica meanwhile if they have the key. When it is interrupted, the next
command with the key completes it. A replica that a command creates with a key is encrypted from the start.
` + keyHelp + `

    godwit encrypt --generate-key notes.key
    godwit get notes/1 --key-file notes.key`
}

// Run encrypts.
func (c *encryptCmd) Run(e *env) error {
	if err := e.findDB(mustExist); err != nil {
		return err
	}
	key, err := e.key.key()
	if c.GenerateKey != "" {
		if err == nil && !key.IsZero() {
			return usagef("--generate-key, and another key by --key-file or the environment: give one")
		}
		key, err = generateKey(e, c.GenerateKey)
	}
	if err != nil {
		return err
	}
	if key.IsZero() {
		return usagef("no key: give --generate-key FILE or --key-file FILE, or set GODWIT_KEY_FILE or GODWIT_KEY")
	}
	done := func(*replica.Replica) error { return e.encrypted(true) }
	err = e.replicaWith(key, done) // completes what was interrupted
	if errors.Is(err, replica.ErrNotEncrypted) {
		err = e.replicaWith(replica.Key{}, func(r *replica.Replica) error {
			if err := r.Encrypt(e.ctx, key); err != nil {
				return err
			}
			return done(r)
		})
	}
	return err
}

type decryptCmd struct{}

// Help is shown by --help.
func (decryptCmd) Help() string {
	return `Stores everything as plain text again; no command needs the key then. When it is interrupted, the next command with the
key completes it.
` + keyHelp + `

    godwit decrypt --key-file notes.key`
}

// Run decrypts.
func (c *decryptCmd) Run(e *env) error {
	if err := e.findDB(mustExist); err != nil {
		return err
	}
	key, err := e.key.key()
	if err != nil {
		return err
	}
	decrypt := func(r *replica.Replica) error {
		if err := r.Decrypt(e.ctx); err != nil {
			return err
		}
		return e.encrypted(false)
	}
	err = e.replicaWith(key, decrypt)
	if errors.Is(err, replica.ErrNotEncrypted) {
		err = e.replicaWith(replica.Key{}, decrypt)
	}
	return err
}

type rekeyCmd struct {
	NewKeyFile  string `env:"GODWIT_NEW_KEY_FILE" placeholder:"FILE" help:"The new key is in this file."`
	GenerateKey string `placeholder:"FILE" help:"Write a new key to FILE and take that."`
	LockOnly    bool   `help:"Change the key without encrypting anything anew: at once, but with the old key an old copy opens all that is written later too."`
}

// Help is shown by --help.
func (rekeyCmd) Help() string {
	return `Changes the key. Everything is encrypted anew, so that the old key is good for nothing, not even in the hands of somebody
who had the file once. From the beginning the new key opens the replica and the old one does not; when it is interrupted,
the next command with the new key completes it. --lock-only is for an old key that nobody else knew.

The new key is in the file that --new-key-file or GODWIT_NEW_KEY_FILE names, or in GODWIT_NEW_KEY.
` + keyHelp + `

    godwit rekey --key-file old.key --new-key-file new.key
    godwit rekey --key-file old.key --generate-key new.key`
}

// Run changes the key.
func (c *rekeyCmd) Run(e *env) error {
	if err := e.findDB(mustExist); err != nil {
		return err
	}
	old, err := e.key.key()
	if err != nil {
		return err
	}
	key, err := c.newKey(e)
	if err != nil {
		return err
	}
	done := func(*replica.Replica) error { return e.encrypted(true) }
	err = e.replicaWith(old, func(r *replica.Replica) error {
		change := r.Rekey
		if c.LockOnly {
			change = r.Relock
		}
		if err := change(e.ctx, key); err != nil {
			return err
		}
		return done(r)
	})
	if errors.Is(err, replica.ErrWrongKey) && e.replicaWith(key, done) == nil {
		e.note("the key had been changed already")
		return nil
	}
	return err
}

func (c *rekeyCmd) newKey(e *env) (replica.Key, error) {
	key, err := keySource{c.NewKeyFile, "GODWIT_NEW_KEY"}.key()
	if err != nil {
		return key, err
	}
	switch {
	case c.GenerateKey != "" && !key.IsZero():
		return key, usagef("--generate-key, and another new key by --new-key-file or the environment: give one")
	case c.GenerateKey != "":
		return generateKey(e, c.GenerateKey)
	case key.IsZero():
		return key, usagef("no new key: give --generate-key FILE or --new-key-file FILE, or set GODWIT_NEW_KEY_FILE or GODWIT_NEW_KEY")
	}
	return key, nil
}

// encrypted says how the replica is stored now.
func (e *env) encrypted(yes bool) error {
	if e.json {
		return e.printJSON(map[string]bool{"encrypted": yes})
	}
	if yes {
		e.printf("%s is encrypted\n", e.db)
	} else {
		e.printf("%s is not encrypted\n", e.db)
	}
	return nil
}

type plaintextCmd struct {
	Collection collectionArg `arg:"" optional:"" help:"The collection; without one, all fields are listed that were declared."`
	Fields     []pathArg     `arg:"" optional:"" name:"field" help:"These fields, and no others of the collection; without any, those are listed that were declared."`
	None       bool          `help:"No field of the collection."`
}

// Help is shown by --help.
func (plaintextCmd) Help() string {
	return `An index on a field keeps the field's values sorted, and a full text its words, as plain text. An encrypted replica refuses
both but for the fields that are declared here, and a replica that has them is encrypted when they are. A field that has one
is declared until it is dropped.

    godwit plaintext tasks status due
    godwit plaintext`
}

// Run declares or lists the fields.
func (c *plaintextCmd) Run(e *env) error {
	fields := make([]string, len(c.Fields))
	for i, f := range c.Fields {
		fields[i] = f.String()
	}
	if c.None && (len(fields) > 0 || c.Collection == "") {
		return usagef("--none takes a collection, and no fields")
	}
	return e.replica(mustExist, func(r *replica.Replica) error {
		if c.None || len(fields) > 0 {
			return r.SetPlaintext(e.ctx, string(c.Collection), fields...)
		}
		all, err := r.Plaintext(e.ctx)
		for _, name := range slices.Sorted(maps.Keys(all)) {
			if c.Collection != "" && name != string(c.Collection) {
				continue
			}
			for _, f := range all[name] {
				if err := e.printJSON(plainField{name, f}); err != nil {
					return err
				}
			}
		}
		return err
	})
}

// plainField is a line of plaintext.
type plainField struct {
	Collection string `json:"collection"`
	Field      string `json:"field"`
}
