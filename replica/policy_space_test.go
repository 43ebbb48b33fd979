package replica_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/replica"
)

// apart returns two replicas that wrote to note x while apart, and met.
func apart(t *testing.T, o *replica.Options) (a, b *replica.Replica, meet func()) {
	net := network(t)
	a, b = open(t, o), open(t, nil)
	serve(t, net, "b", b)
	meet = func() { syncWith(t, a, net.Link("a", "b")) }
	put(t, a, "x", `{"tags":["a"]}`)
	put(t, b, "x", `{"tags":["b"]}`)
	meet()
	return a, b, meet
}

// rebuilt waits until nothing stored follows an older policy.
func rebuilt(t *testing.T, r *replica.Replica) {
	require.Eventually(t, func() bool { return stale(t, r) == 0 }, 20*time.Second, time.Millisecond)
}

func TestSpacePolicyReplicates(t *testing.T) {
	ctx := context.Background()
	a, b, meet := apart(t, nil)
	heads, err := a.Heads(ctx, key("x"))
	require.NoError(t, err)
	p := crdt.Policy{Fields: []crdt.FieldPolicy{{Field: "tags", Resolver: crdt.ResolverUnion}}}
	require.NoError(t, a.SetSpacePolicy(ctx, "notes", p, nil))
	meet()
	for _, r := range []*replica.Replica{a, b} {
		require.Len(t, get(t, r, "x"), len(`{"tags":["a","b"]}`))
		got, err := r.Policy(ctx, "notes")
		require.NoError(t, err)
		require.Equal(t, p.Fields, got.Fields)
	}
	rebuilt(t, b)
	requireEqual(t, a, b)
	require.Equal(t, get(t, a, "x"), get(t, b, "x"))

	require.NoError(t, b.SetPolicy(ctx, "notes", crdt.Policy{Default: crdt.ResolverLocal}, nil))
	require.Equal(t, `{"tags":["b"]}`, get(t, b, "x"))
	require.NoError(t, a.SetSpacePolicy(ctx, "notes", crdt.Policy{Default: crdt.ResolverLocal}, nil))
	require.Equal(t, `{"tags":["a"]}`, get(t, a, "x"))
	meet()
	require.Equal(t, `{"tags":["b"]}`, get(t, b, "x"), "its own policy counts")
	require.NoError(t, a.SetSpacePolicy(ctx, "notes", p, nil))
	meet()
	require.NoError(t, b.ClearPolicy(ctx, "notes", nil))
	require.Equal(t, get(t, a, "x"), get(t, b, "x"))
	after, err := a.Heads(ctx, key("x"))
	require.NoError(t, err)
	require.Equal(t, heads, after)

	require.ErrorIs(t, a.SetSpacePolicy(ctx, "_godwit", p, nil), replica.ErrReserved)
	require.ErrorIs(t, a.SetPolicy(ctx, "_godwit", p, nil), replica.ErrReserved)
	require.Error(t, a.SetSpacePolicy(ctx, "notes", crdt.Policy{Default: "nonsense"}, nil))
}

// TestMalformedSpacePolicy: whatever a peer writes there, reading goes on.
func TestMalformedSpacePolicy(t *testing.T) {
	ctx := context.Background()
	for _, text := range []string{`{"default":"nonsense"}`, `{"default":7}`, `{"fields":{"a":1}}`, `{"version":99}`,
		`{"fields":[{"field":"[","resolver":"lww"}]}`} {
		a, b, meet := apart(t, nil)
		want := get(t, b, "x")
		require.NoError(t, a.PutSpaceRecord(ctx, "policy-notes", text))
		meet()
		require.Equal(t, want, get(t, b, "x"))
		put(t, b, "y", `{"v":1}`)
		rebuilt(t, b)
		var problems []replica.Problem
		require.NoError(t, b.Check(ctx, func(p replica.Problem) { problems = append(problems, p) }))
		require.Len(t, problems, 1)
		require.Equal(t, "policy", problems[0].Kind)
		require.NoError(t, b.SetSpacePolicy(ctx, "notes", crdt.Policy{Default: "lww"}, nil))
		rebuilt(t, b)
		requireClean(t, b)
	}
}

// TestResolverFunctions: a process that lacks a function shows what automerge
// shows, and leaves the record to one that has it.
func TestResolverFunctions(t *testing.T) {
	ctx := context.Background()
	var fail error
	o := &replica.Options{Resolvers: map[string]crdt.Resolver{
		"count": func(c []crdt.Candidate) (any, error) {
			if fail != nil {
				panic(fail)
			}
			return len(c), fail
		},
	}}
	a, b, meet := apart(t, o)
	plain := get(t, a, "x")
	require.NoError(t, a.SetSpacePolicy(ctx, "notes", crdt.Policy{Default: "go:count"}, nil))
	require.Equal(t, `{"tags":2}`, get(t, a, "x"))
	meet()
	require.Equal(t, plain, get(t, b, "x"))
	require.EqualValues(t, 1, stale(t, b))
	put(t, b, "y", `{"v":1}`)
	requireClean(t, b)

	require.Zero(t, stale(t, a))
	fail = errors.New("no idea")
	require.NoError(t, a.SetPolicy(ctx, "notes", crdt.Policy{Default: "go:count"}, nil))
	require.Equal(t, plain, get(t, a, "x"))
	st, err := a.Status(ctx)
	require.NoError(t, err)
	require.Positive(t, st.ResolverFailures)
}
