package replica

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// Policy returns the collection's view policy: this replica's own if it has one,
// else the space's, else the zero Policy.
func (r *Replica) Policy(ctx context.Context, collection string) (p crdt.Policy, err error) {
	err = r.store.Read(ctx, func(rd *persist.Reader) error {
		text, _, err := rd.Policy(collection)
		switch {
		case err != nil:
			return err
		case len(text) > 0:
			p, err = parsePolicy(collection, text)
		default:
			p, err = spacePolicy(rd, collection)
		}
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
	if _, err := r.compile(p); err != nil {
		return fmt.Errorf("set policy of %s: %w", collection, err)
	}
	text, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("set policy of %s: %w", collection, err)
	}
	return r.setPolicy(ctx, collection, text, progress)
}

// ClearPolicy removes this replica's own policy of a collection, so that the
// space's counts again. It is otherwise like SetPolicy.
func (r *Replica) ClearPolicy(ctx context.Context, collection string, progress func(done int)) error {
	return r.setPolicy(ctx, collection, nil, progress)
}

func (r *Replica) setPolicy(ctx context.Context, collection string, text []byte, progress func(done int)) error {
	if strings.HasPrefix(collection, "_") {
		return fmt.Errorf("set policy of %s: %w", collection, ErrReserved)
	}
	err := r.commit(ctx, 0, func(b *batch) error {
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
	local := len(text) > 0
	if !local && version > 0 {
		if text, err = spaceText(rd, collection); err != nil {
			return view{}, err
		}
	}
	key := collection + "\x00" + string(text)
	if v, ok := r.compiled.Load(key); ok {
		return view{v.(*crdt.View), version}, nil
	}
	p, err := parsePolicy(collection, text)
	if err != nil {
		if local {
			return view{}, err
		}
		r.opts.Logger.Warn("the space's policy is ignored", logError, err)
		p = crdt.Policy{}
	}
	if bug(bugWrongWinner) && p.Default == crdt.ResolverLWW {
		p.Default = crdt.ResolverLocal
	}
	v, err := r.compile(p)
	if err != nil {
		return view{}, fmt.Errorf("stored policy of %s: %w", collection, err)
	}
	for _, name := range p.Functions() {
		if r.opts.Resolvers[name] == nil {
			r.opts.Logger.Warn("this process lacks a function of a policy, and shows conflicts as automerge does",
				logCollection, collection, logFunction, name)
		}
	}
	r.compiled.Store(key, v)
	return view{v, version}, nil
}

// compile makes a policy ready with this process's functions.
func (r *Replica) compile(p crdt.Policy) (*crdt.View, error) {
	return p.Compile(r.id, crdt.ViewOptions{Resolvers: r.opts.Resolvers, Failed: func(name string, err error) {
		r.resolverFailures.Add(1)
		r.opts.Logger.Error("a resolver failed, shown is what automerge shows", logFunction, name, logError, err)
	}})
}

func parsePolicy(collection string, text []byte) (p crdt.Policy, err error) {
	if len(text) == 0 {
		return p, nil
	}
	if p, err = crdt.ParsePolicy(text); err != nil {
		return p, fmt.Errorf("stored policy of %s: %w", collection, err)
	}
	return p, nil
}
