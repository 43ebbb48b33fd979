package replica_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

// personV1 and personV2 are what two versions of an app know of the same records.
type personV1 struct {
	Name   string   `godwit:"name,text"`
	Done   bool     `json:"done"`
	Nick   []string `json:"nick"`
	Visits int      `godwit:"visits,counter"`
	Lines  []struct {
		Qty int `json:"qty"`
	} `json:"lines"`
}

type personV2 struct {
	FullName string   `godwit:"fullName,text"`
	Status   string   `json:"status"`
	Aliases  []string `json:"aliases"`
	Visits   int      `godwit:"seen,counter"`
	Level    int      `json:"level"`
	Since    string   `json:"since,omitempty"` // new, needs no lens
	Lines    []struct {
		Count int `json:"count"`
	} `json:"lines"`
}

func v2Lenses() []replica.CollectionOption {
	return []replica.CollectionOption{
		replica.WithLens(2, replica.Rename("name", "fullName"), replica.Rename("nick", "aliases"), replica.Rename("visits", "seen"),
			replica.Within("lines", replica.Rename("qty", "count"))),
		replica.WithLens(3, replica.Default("level", 3), replica.Convert("done",
			func(v any) (any, error) {
				if v == true {
					return "finished", nil
				}
				if v == false {
					return "open", nil
				}
				return nil, fmt.Errorf("%v is no boolean", v)
			},
			func(v any) (any, error) { return v == "finished", nil }), replica.Rename("done", "status")),
	}
}

// The story: two versions of an app, one of which has renamed a field, edit the same
// record while apart; then both see both edits.
func TestTwoVersionsOfAnAppEditOneRecord(t *testing.T) {
	ctx := context.Background()
	net := network(t)
	a, b := open(t, nil), open(t, nil)
	serve(t, net, "b", b)
	old := replica.NewCollection[personV1](a, "notes")
	new := replica.NewCollection[personV2](b, "notes", v2Lenses()...)
	require.Equal(t, 3, new.Version())
	id, err := old.Create(ctx, personV1{Name: "Ana Lopez", Nick: []string{"A"}, Lines: []struct {
		Qty int `json:"qty"`
	}{{1}, {2}}})
	require.NoError(t, err)
	syncWith(t, a, net.Link("a", "b"))
	seen, err := new.Get(ctx, id)
	require.NoError(t, err)
	require.Equal(t, "Ana Lopez", seen.FullName)
	require.Equal(t, "open", seen.Status)
	require.Equal(t, 3, seen.Level)
	require.Equal(t, 2, seen.Lines[1].Count)

	require.NoError(t, old.Edit(ctx, id, func(v *personV1) error {
		v.Name = "Dr. " + v.Name
		v.Nick = append(v.Nick, "from old")
		v.Visits += 2
		v.Lines[0].Qty = 10
		return nil
	}))
	require.NoError(t, new.Edit(ctx, id, func(v *personV2) error {
		v.FullName += " Ruiz"
		v.Aliases = append([]string{"from new"}, v.Aliases...)
		v.Visits += 3
		v.Status, v.Level, v.Since = "finished", 4, "2026"
		v.Lines[1].Count = 20
		return nil
	}))
	require.NoError(t, new.Increment(ctx, id, "seen", 5))
	require.NoError(t, new.Append(ctx, id, "aliases", "last"))
	require.NoError(t, new.SetPath(ctx, id, "lines[1].count", 21))
	syncWith(t, a, net.Link("a", "b"))

	o, err := old.Get(ctx, id)
	require.NoError(t, err)
	require.Equal(t, "Dr. Ana Lopez Ruiz", o.Name)
	require.ElementsMatch(t, []string{"A", "from old", "from new", "last"}, o.Nick)
	require.Equal(t, 10, o.Visits)
	require.True(t, o.Done)
	require.Equal(t, 10, o.Lines[0].Qty)
	require.Equal(t, 21, o.Lines[1].Qty)
	n, err := new.Get(ctx, id)
	require.NoError(t, err)
	require.Equal(t, o.Name, n.FullName)
	require.Equal(t, o.Nick, n.Aliases)
	require.Equal(t, 10, n.Visits)
	require.Equal(t, personV2{FullName: o.Name, Status: "finished", Aliases: o.Nick, Visits: 10, Level: 4, Since: "2026", Lines: n.Lines}, n)
	require.Equal(t, 10, n.Lines[0].Count)

	require.NoError(t, old.Edit(ctx, id, func(v *personV1) error { v.Done = false; return nil }))
	syncWith(t, a, net.Link("a", "b"))
	n, err = new.Get(ctx, id)
	require.NoError(t, err)
	require.Equal(t, personV2{FullName: o.Name, Status: "open", Aliases: o.Nick, Visits: 10, Level: 4, Since: "2026", Lines: n.Lines}, n)
	created, err := new.Create(ctx, n)
	require.NoError(t, err)
	syncWith(t, a, net.Link("a", "b"))
	back, err := old.Get(ctx, created)
	require.NoError(t, err)
	require.Equal(t, n.FullName, back.Name)
	require.Len(t, back.Lines, 2)
	require.Equal(t, 21, back.Lines[1].Qty)
	requireEqual(t, a, b)
	for range a.Conflicts(ctx, "") {
		t.Error("versions that edit different fields made a conflict")
	}
}

func TestSplit(t *testing.T) {
	ctx := context.Background()
	r := open(t, &replica.Options{Synchronous: persist.Normal})
	type named struct {
		First string `json:"first,omitempty"`
		Last  string `json:"last,omitempty"`
	}
	type half struct {
		First string `json:"first"`
	}
	lens := replica.WithLens(2, replica.Split("name", []string{"first", "last"},
		func(v any) (map[string]any, error) {
			s, ok := v.(string)
			if !ok {
				return nil, errors.New("no string")
			}
			first, last, _ := strings.Cut(s, " ")
			return map[string]any{"first": first, "last": last}, nil
		},
		func(parts map[string]any) (any, error) {
			first, _ := parts["first"].(string)
			last, _ := parts["last"].(string)
			if strings.Contains(first, " ") {
				return nil, errors.New("a first name with a space")
			}
			return strings.TrimSpace(first + " " + last), nil
		}))
	c := replica.NewCollection[named](r, "notes", lens)
	put(t, r, "1", `{"name":"Ana  Lopez","x":1}`)
	require.Zero(t, opsOf(t, r, "1", func() error { return c.Edit(ctx, "1", func(*named) error { return nil }) }), "two spaces stay")
	require.NoError(t, c.Edit(ctx, "1", func(v *named) error { v.First = "Anna"; return nil }))
	require.Equal(t, `{"name":"Anna  Lopez","x":1}`, get(t, r, "1"))
	require.NoError(t, replica.NewCollection[half](r, "notes", lens).Edit(ctx, "1", func(v *half) error { v.First = "Eva"; return nil }))
	require.Equal(t, `{"name":"Eva  Lopez","x":1}`, get(t, r, "1"), "a part that the type lacks is kept")
	require.NoError(t, c.Edit(ctx, "1", func(v *named) error { v.Last = ""; return nil }))
	require.Equal(t, `{"name":"Eva","x":1}`, get(t, r, "1"))

	before := contents(t, r)
	var field *replica.FieldError
	require.ErrorAs(t, c.Edit(ctx, "1", func(v *named) error { v.First = "A B"; return nil }), &field)
	require.Equal(t, "name", field.Path.String())
	require.ErrorContains(t, c.SetPath(ctx, "1", "first", "x"), "converted by a lens")
	require.Equal(t, before, contents(t, r))

	put(t, r, "2", `{"name":5}`)
	_, err := c.Get(ctx, "2")
	require.ErrorAs(t, err, &field)
	require.ErrorContains(t, c.Edit(ctx, "2", func(v *named) error { v.First = "x"; return nil }), "could not be read")
	require.NoError(t, c.Put(ctx, "2", named{"New", "Name"}))
	require.Equal(t, `{"name":"New Name"}`, get(t, r, "2"))
}

func TestLensesThatDoNotFit(t *testing.T) {
	ctx := context.Background()
	r := open(t, nil)
	same := func(v any) (any, error) { return v, nil }
	for name, err := range map[string]error{
		"versions":      tryLens(r, replica.WithLens(3, replica.Default("a", 1)), replica.WithLens(2, replica.Default("b", 1))),
		"version 1":     tryLens(r, replica.WithLens(1)),
		"empty":         tryLens(r, replica.WithLens(2, replica.Lens{})),
		"empty within":  tryLens(r, replica.WithLens(2, replica.Within("a", replica.Lens{}))),
		"name is taken": tryLens(r, replica.WithLens(2, replica.Rename("name", "b"))),
		"is split":      tryLens(r, replica.WithLens(2, replica.Split("name", []string{"b"}, nil, nil))),
		"default":       tryLens(r, replica.WithLens(2, replica.Default("a", make(chan int)))),
	} {
		var typed *replica.Error
		require.ErrorAs(t, err, &typed, name)
	}
	require.NoError(t, tryLens(r, replica.WithLens(2, replica.Convert("name", same, same))))
	c := replica.NewCollection[personV2](r, "notes", v2Lenses()...)
	put(t, r, "1", `{"done":"maybe","name":"Ana","fullName":"ignored"}`)
	v, err := c.Get(ctx, "1")
	require.ErrorContains(t, err, "field status: want a value that the lens converts, got maybe is no boolean")
	require.Equal(t, "Ana", v.FullName)
	require.NoError(t, c.Edit(ctx, "1", func(v *personV2) error { v.FullName = "Eva"; return nil }))
	require.ErrorContains(t, c.Edit(ctx, "1", func(v *personV2) error { v.Status = "open"; return nil }), "status was to be changed, but could not be read")
	require.Equal(t, `{"done":"maybe","fullName":"ignored","name":"Eva"}`, get(t, r, "1"))
	v.FullName, v.Status = "Eva", "finished"
	require.NoError(t, c.Put(ctx, "1", v))
	require.Contains(t, get(t, r, "1"), `"done":true`)
}

func tryLens(r *replica.Replica, o ...replica.CollectionOption) error {
	type T struct {
		Name string `json:"name"`
	}
	_, err := replica.NewCollection[T](r, "notes", o...).Count(context.Background())
	return err
}

// Kinds of values that a version does not know survive its edits.
func TestUnknownKindsSurviveLenses(t *testing.T) {
	ctx := context.Background()
	r := open(t, nil)
	require.NoError(t, r.Update(ctx, func(tx *replica.Tx) error {
		return tx.Put(key("1"), map[string]any{"name": crdt.Text("Ana"), "clicks": crdt.Counter(4), "essay": crdt.Text("x"),
			"lines": []any{map[string]any{"qty": int64(1), "deep": crdt.Counter(2)}, map[string]any{"qty": int64(2), "deep": crdt.Text("y")}}})
	}))
	c := replica.NewCollection[personV2](r, "notes", v2Lenses()...)
	require.NoError(t, c.Edit(ctx, "1", func(v *personV2) error {
		v.Lines[0], v.Lines[1] = v.Lines[1], v.Lines[0]
		v.FullName = "Eva"
		return nil
	}))
	h, err := r.History(ctx, key("1"))
	require.NoError(t, err)
	require.Equal(t, map[string]any{"name": crdt.Text("Eva"), "clicks": crdt.Counter(4), "essay": crdt.Text("x"),
		"lines": []any{map[string]any{"qty": int64(2), "deep": crdt.Text("y")}, map[string]any{"qty": int64(1), "deep": crdt.Counter(2)}}}, h.Value(nil))
}
