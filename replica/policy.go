package replica

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// Policy returns the collection's view policy; the zero Policy if none was set.
func (r *Replica) Policy(ctx context.Context, collection string) (p crdt.Policy, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		p, _, err = readPolicy(rd, collection)
		return err
	})
	return p, translate(err)
}

// SetPolicy changes how the collection is shown, and returns when the stored
// values of all its records follow. Readers see the new policy at once. Nothing
// of the history changes, so any policy can be set back. progress, which may be
// nil, is told how many records were recomputed so far.
//
// If it ends before, by ctx or with the process, the remaining records are computed
// when they are read, and rebuilt in the background: at once, or after the next
// Open. Watchers are told of records that show something else then.
func (r *Replica) SetPolicy(ctx context.Context, collection string, p crdt.Policy, progress func(done int)) error {
	if _, err := p.View(r.id); err != nil {
		return fmt.Errorf("set policy of %s: %w", collection, err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("set policy of %s: %w", collection, err)
	}
	err = r.commit(ctx, 0, func(b *batch) error {
		forget := func() { delete(b.w.views, collection) }
		b.tx.OnRollback(forget)
		forget()
		_, err := b.tx.SetPolicy(collection, text)
		return err
	})
	if err != nil {
		return fmt.Errorf("set policy of %s: %w", collection, err)
	}
	err = r.rebuild(ctx, collection, progress)
	if err != nil {
		r.rebuildSoon()
	}
	return err
}

// loadView returns the collection's compiled policy.
func (r *Replica) loadView(rd *persist.Reader, collection string) (view, error) {
	text, version, err := rd.Policy(collection)
	if err != nil {
		return view{}, err
	}
	key := collection + "\x00" + string(text)
	if v, ok := r.compiled.Load(key); ok {
		return view{v.(*crdt.View), version}, nil
	}
	p, err := parsePolicy(collection, text)
	if err != nil {
		return view{}, err
	}
	if bug(bugWrongWinner) && p.Default == crdt.ResolverLWW {
		p.Default = crdt.ResolverLocal
	}
	v, err := p.View(r.id)
	if err != nil {
		return view{}, fmt.Errorf("stored policy of %s: %w", collection, err)
	}
	r.compiled.Store(key, v)
	return view{v, version}, nil
}

func readPolicy(rd *persist.Reader, collection string) (crdt.Policy, int64, error) {
	text, version, err := rd.Policy(collection)
	if err != nil {
		return crdt.Policy{}, 0, err
	}
	p, err := parsePolicy(collection, text)
	return p, version, err
}

func parsePolicy(collection string, text []byte) (p crdt.Policy, err error) {
	if len(text) == 0 {
		return p, nil
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("stored policy of %s: %w", collection, err)
	}
	return p, nil
}
