package crdt_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

var (
	replica1 = crdt.ReplicaID{1}
	replica2 = crdt.ReplicaID{2}
	foreign  = crdt.ActorID("javascript")
)

// conflicted returns a history in which three authors wrote v, n.v and l[0]
// concurrently, later ones with earlier times, and one of them made v2 after.
func conflicted(t testing.TB) *crdt.History {
	h := crdt.NewHistory()
	var changes []*crdt.Change
	root := crdt.NewHistory()
	e := root.Begin(replica1.Actor([8]byte{}), 1.7e12, nil)
	require.NoError(t, e.Put(nil, parseJSON(t, `{"v":0,"n":{"v":0,"w":1},"l":[0,1],"count":{"$counter":1}}`), crdt.Merge))
	c, err := e.Commit("start")
	require.NoError(t, err)
	changes = append(changes, c)
	for i, actor := range []crdt.ActorID{replica1.Actor([8]byte{}), replica2.Actor([8]byte{}), foreign} {
		site := crdt.NewHistory()
		_, err := site.Add(changes[0])
		require.NoError(t, err)
		e := site.Begin(actor, 1.7e12+1000*int64([]int{2, 3, 1}[i]), nil)
		for _, p := range []string{"v", "n.v", "l[0]"} {
			require.NoError(t, e.Put(pathOf(t, p), actor.String()[:2], crdt.Merge))
		}
		require.NoError(t, e.Put(pathOf(t, "same"), "same", crdt.Merge))
		require.NoError(t, e.Increment(pathOf(t, "count"), 10))
		c, err := e.Commit("by " + actor.String()[:2])
		require.NoError(t, err)
		changes = append(changes, c)
	}
	for _, c := range changes {
		_, err := h.Add(c)
		require.NoError(t, err)
	}
	return h
}

func TestViews(t *testing.T) {
	h := conflicted(t)
	all := func(v string) string {
		return `{"count":31,"l":["` + v + `",1],"n":{"v":"` + v + `","w":1},"same":"same","v":"` + v + `"}`
	}
	tests := []struct {
		policy string
		self   crdt.ReplicaID
		want   string
	}{
		{`{}`, replica1, all("6a")},
		{`{"default":"automerge"}`, replica1, all("6a")},
		{`{"default":"lww"}`, replica1, all("02")},
		{`{"default":"fww"}`, replica1, all("6a")},
		{`{"default":"local"}`, replica1, all("01")},
		{`{"default":"local"}`, replica2, all("02")},
		{`{"default":"local"}`, crdt.ReplicaID{9}, all("6a")},
		{`{"default":"remote"}`, replica1, all("6a")},
		{`{"fields":[{"field":"n.v","resolver":"lww"}]}`, replica1,
			`{"count":31,"l":["6a",1],"n":{"v":"02","w":1},"same":"same","v":"6a"}`},
		{`{"fields":[{"field":"n","resolver":"lww"}]}`, replica1,
			`{"count":31,"l":["6a",1],"n":{"v":"02","w":1},"same":"same","v":"6a"}`},
		{`{"fields":[{"field":"*","resolver":"local"},{"field":"n.*","resolver":"lww"}]}`, replica1,
			`{"count":31,"l":["01",1],"n":{"v":"02","w":1},"same":"same","v":"01"}`},
		{`{"default":"local","fields":[{"field":"l[*]","resolver":"lww"},{"field":"l[0]","resolver":"fww"}]}`, replica1,
			`{"count":31,"l":["6a",1],"n":{"v":"01","w":1},"same":"same","v":"01"}`},
		{`{"default":"local","fields":[{"field":"l[1]","resolver":"lww"},{"field":"[\"v\"]","resolver":"fww"}]}`, replica1,
			`{"count":31,"l":["01",1],"n":{"v":"01","w":1},"same":"same","v":"6a"}`},
	}
	for _, tt := range tests {
		t.Run(tt.policy, func(t *testing.T) {
			var p crdt.Policy
			require.NoError(t, json.Unmarshal([]byte(tt.policy), &p))
			v, err := p.View(tt.self)
			require.NoError(t, err)
			require.Equal(t, tt.want, jsonOf(t, h, v))
			again, err := json.Marshal(p)
			require.NoError(t, err)
			require.Equal(t, tt.policy, string(again))
		})
	}
}

func TestPolicyErrors(t *testing.T) {
	for policy, want := range map[string]string{
		`{"default":"newest"}`:                           `unknown resolver "newest": there are automerge, lww, fww, local, remote`,
		`{"fields":[{"field":"a","resolver":"nope"}]}`:   `field "a": unknown resolver`,
		`{"fields":[{"field":"","resolver":"lww"}]}`:     "is empty",
		`{"fields":[{"field":"a.","resolver":"lww"}]}`:   "expected . or [",
		`{"fields":[{"field":".a","resolver":"lww"}]}`:   "cannot read",
		`{"fields":[{"field":"a[x]","resolver":"lww"}]}`: "cannot read",
		`{"fields":[{"field":"a[","resolver":"lww"}]}`:   "cannot read",
		`{"fields":[{"field":"**","resolver":"lww"}]}`:   "expected . or [",
		`{"fields":[{"field":"a b","resolver":"lww"}]}`:  "expected . or [",
	} {
		var p crdt.Policy
		require.NoError(t, json.Unmarshal([]byte(policy), &p))
		_, err := p.View(replica1)
		require.ErrorContains(t, err, want, policy)
	}
}

func TestConflicts(t *testing.T) {
	h := conflicted(t)
	lww, err := crdt.Policy{Default: "lww"}.View(replica1)
	require.NoError(t, err)
	conflicts := h.Conflicts(lww)
	require.Equal(t, 3, h.ConflictCount(lww))
	var paths []string
	for _, c := range conflicts {
		paths = append(paths, c.Path.String())
		require.Len(t, c.Candidates, 3)
	}
	require.Equal(t, []string{"l[0]", "n.v", "v"}, paths, "equal values are no conflict")
	got := conflicts[2].Candidates
	require.Equal(t, []any{"6a", "02", "01"}, []any{got[0].Value, got[1].Value, got[2].Value})
	require.Equal(t, []bool{false, true, false}, []bool{got[0].Winner, got[1].Winner, got[2].Winner})
	require.Positive(t, got[0].Op.Compare(got[1].Op))
	require.Equal(t, foreign, got[0].Actor)
	require.Zero(t, got[0].Replica)
	require.Equal(t, replica2, got[1].Replica)
	require.EqualValues(t, 1.7e12+3000, got[1].Time)
	require.Equal(t, "by 02", got[1].Message)
	require.Equal(t, got[1].Hash, h.Change(got[1].Hash).Hash())
}

func TestResolve(t *testing.T) {
	h := conflicted(t)
	for _, path := range []string{"l[0]", "n.v", "v"} {
		var pick crdt.Candidate
		for _, c := range h.Conflicts(nil) {
			if c.Path.String() == path {
				pick = c.Candidates[1]
			}
		}
		commit(t, h, func(e *crdt.Edit) error { return e.Resolve(pathOf(t, path), pick.Op) })
	}
	require.Zero(t, h.ConflictCount(nil))
	require.Equal(t, `{"count":31,"l":["02",1],"n":{"v":"02","w":1},"same":"same","v":"02"}`, jsonOf(t, h, nil))
	mustEqualCore(t, h)
}

// TestPutSettles: a new value takes the place of all candidates, an equal one
// leaves them.
func TestPutSettles(t *testing.T) {
	h := conflicted(t)
	require.Nil(t, put(t, h, "v", "6a", crdt.Merge))
	require.Equal(t, 3, h.ConflictCount(nil))
	put(t, h, "v", "mine", crdt.Merge)
	require.Equal(t, 2, h.ConflictCount(nil))
	mustEqualCore(t, h)
}

// TestCandidatesOfCounters: candidates of a counter show what was added to them.
func TestCandidatesOfCounters(t *testing.T) {
	h := crdt.NewHistory()
	for i, r := range []crdt.ReplicaID{replica1, replica2} {
		site := crdt.NewHistory()
		for _, by := range []int64{100, 10} {
			e := site.Begin(r.Actor([8]byte{}), 1.7e12, nil)
			if site.Len() == 0 {
				require.NoError(t, e.Put(pathOf(t, "c"), crdt.Counter(i), crdt.Merge))
			}
			require.NoError(t, e.Increment(pathOf(t, "c"), by))
			c, err := e.Commit("")
			require.NoError(t, err)
			_, err = h.Add(c)
			require.NoError(t, err)
		}
	}
	c := h.Conflicts(nil)[0].Candidates
	require.Equal(t, []any{crdt.Counter(111), crdt.Counter(110)}, []any{c[0].Value, c[1].Value})
	mustEqualCore(t, h)
	commit(t, h, func(e *crdt.Edit) error { return e.Increment(pathOf(t, "c"), 5) })
	c = h.Conflicts(nil)[0].Candidates
	require.Equal(t, []any{crdt.Counter(116), crdt.Counter(110)}, []any{c[0].Value, c[1].Value})
	mustEqualCore(t, h)
	put(t, h, "c", int64(7), crdt.Merge)
	require.Zero(t, h.ConflictCount(nil))
	require.Equal(t, `{"c":7}`, jsonOf(t, h, nil))
	mustEqualCore(t, h)
}
