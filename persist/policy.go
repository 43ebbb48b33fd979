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
	return collect(scan(r, r.parsePolicy, qPolicies))
}

// parsePolicy reads the columns of qPolicies.
func (r *Reader) parsePolicy(row row) (p CollectionPolicy, err error) {
	p = CollectionPolicy{Collection: row.text(0), Version: row.int(2)}
	p.JSON, err = r.unseal(row.int(3), columnPolicy, appendName(nil, p.Collection), row.textBytes(1))
	return p, stored("policy of", p.Collection, err)
}

// Policy returns a collection's view policy and its version; nil and 0 when
// none was ever set.
func (r *Reader) Policy(collection string) (json []byte, version int64, err error) {
	row, err := r.one(qPolicy, collection)
	if err != nil || row == nil {
		return nil, 0, err
	}
	p, err := r.parsePolicy(row)
	return p.JSON, p.Version, r.fail(err)
}

// SetPolicy stores a collection's view policy and returns its version, from 1
// on. Storing what is there already changes nothing.
func (tx *Tx) SetPolicy(collection string, json []byte) (version int64, err error) {
	had, version, err := tx.Policy(collection)
	if err != nil || version > 0 && bytes.Equal(had, json) {
		return version, err
	}
	return version + 1, tx.putPolicy(collection, json, version+1)
}

func (tx *Tx) putPolicy(collection string, json []byte, version int64) error {
	sealed := tx.seal(columnPolicy, appendName(nil, collection), json)
	_, err := tx.exec(qSetPolicy, collection, asText(nonNil(sealed)), version, tx.sealing.number())
	return err
}

// RenewPolicy gives a collection's view policy, which may be none, a new version:
// something else that it depends on has changed.
func (tx *Tx) RenewPolicy(collection string) (version int64, err error) {
	had, version, err := tx.Policy(collection)
	if err != nil {
		return version, err
	}
	return version + 1, tx.putPolicy(collection, had, version+1)
}
