package persist

import "bytes"

// CollectionPolicy is the view policy of one collection.
type CollectionPolicy struct {
	Collection string
	JSON       []byte
	Version    int64
}

// Policies returns all collections' view policies, by collection.
func (r *Reader) Policies() ([]CollectionPolicy, error) {
	return collect(scan(r, func(row row) (CollectionPolicy, error) {
		return CollectionPolicy{Collection: row.text(0), JSON: row.textBytes(1), Version: row.int(2)}, nil
	}, qPolicies))
}

// Policy returns a collection's view policy and its version; nil and 0 when
// none was ever set.
func (r *Reader) Policy(collection string) (json []byte, version int64, err error) {
	row, err := r.one(qPolicy, collection)
	if err != nil || row == nil {
		return nil, 0, err
	}
	return row.textBytes(0), row.int(1), nil
}

// SetPolicy stores a collection's view policy and returns its version, from 1
// on. Storing what is there already changes nothing.
func (tx *Tx) SetPolicy(collection string, json []byte) (version int64, err error) {
	had, version, err := tx.Policy(collection)
	if err != nil || version > 0 && bytes.Equal(had, json) {
		return version, err
	}
	_, err = tx.exec(qSetPolicy, collection, asText(nonNil(json)), version+1)
	return version + 1, err
}

// RenewPolicy gives a collection's view policy, which may be none, a new version:
// something else that it depends on has changed.
func (tx *Tx) RenewPolicy(collection string) (version int64, err error) {
	had, version, err := tx.Policy(collection)
	if err != nil {
		return version, err
	}
	_, err = tx.exec(qSetPolicy, collection, asText(nonNil(had)), version+1)
	return version + 1, err
}
