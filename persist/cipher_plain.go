package persist

import (
	"errors"
	"fmt"
)

// ErrPlainIndex: an index or a full text keeps what a field holds as plain text, and
// the field was not declared to be for all to see.
var ErrPlainIndex = errors.New("an index keeps its values as plain text in the encrypted file: drop it, or declare the field plaintext")

// SetPlainFields declares the fields of a collection, by their paths, that may stand as
// plain text in an encrypted file, and no others: values of them in indexes and words
// of them in a full text. A field that has either cannot be taken out of an encrypted
// file: ErrPlainIndex.
func (tx *Tx) SetPlainFields(collection string, fields []string) error {
	if _, err := tx.exec(qDropPlainFields, collection); err != nil {
		return err
	}
	for _, f := range fields {
		path, err := fieldPath(f)
		if err != nil {
			return err
		}
		if _, err := tx.exec(qPutPlainField, collection, path, f); err != nil {
			return err
		}
	}
	return tx.checkPlain()
}

// PlainFields returns what SetPlainFields declared.
func (r *Reader) PlainFields(collection string) ([]string, error) {
	return collect(scan(r, func(row row) (string, error) { return row.text(0), nil }, qPlainFields, collection))
}

// PlainField is a field that SetPlainFields declared.
type PlainField struct{ Collection, Field string }

// AllPlainFields returns what SetPlainFields declared, by collection.
func (r *Reader) AllPlainFields() ([]PlainField, error) {
	return collect(scan(r, func(row row) (PlainField, error) { return PlainField{row.text(0), row.text(1)}, nil }, qAllPlainFields))
}

// checkPlain makes sure that an encrypted file has no plain text but what was declared
// so. Whatever adds an index, takes a declaration away, or encrypts, asks it last.
func (tx *Tx) checkPlain() error {
	if tx.sealing.number() == 0 {
		return nil
	}
	return tx.plainDeclared()
}

// plainDeclared returns an error if a field is in an index or a full text that was not
// declared plaintext.
func (tx *Tx) plainDeclared() error {
	for row, err := range tx.rows(qIndexedFields) {
		if err != nil {
			return err
		}
		collection, field := row.text(0), row.text(1)
		path, err := fieldPath(field)
		if err != nil {
			return tx.fail(err)
		}
		if declared, err := tx.one(qPlainField, collection, path); err != nil {
			return err
		} else if declared == nil {
			return tx.fail(fmt.Errorf("field %s of %s: %w", field, collection, ErrPlainIndex))
		}
	}
	return nil
}
