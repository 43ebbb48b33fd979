package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// readItems returns the items of an input and what ended it.
func readItems(in io.Reader, array string) (items []string, err error) {
	for r := newItemReader(in, array); ; {
		it, err := r.next()
		if err == io.EOF {
			return items, nil
		}
		if err != nil {
			return items, err
		}
		items = append(items, string(it.data))
	}
}

func TestItems(t *testing.T) {
	for _, test := range []struct {
		name, in, array string
		want            []string
		err             string // "" for none
	}{
		{"array", ` [ {"a":1} ,{"b":[{}]}]` + "\n", "", []string{`{"a":1}`, `{"b":[{}]}`}, ""},
		{"empty array", `[]`, "", nil, ""},
		{"lines", "{}\r\n\n{\"a\":\"}\\\"\"}", "", []string{`{}`, `{"a":"}\""}`}, ""},
		{"nothing", " ", "", nil, ""},
		{"byte order mark", "\xef\xbb\xbf[{}]", "", []string{`{}`}, ""},
		{"inside", `{"x":{"rows":[{"no":1}]},"n":-1e3,"s":"[","rows":[{"a":1}],"t":true}`, "rows", []string{`{"a":1}`}, ""},
		{"escaped key", `{"r\u006fws":[{}]}`, "rows", []string{`{}`}, ""},
		{"unclosed array", `[{"a":1}`, "", []string{`{"a":1}`}, "at offset 8: the input ends too early"},
		{"unclosed item", `[{"a":"1}`, "", nil, "item 1 at offset 9: the input ends too early"},
		{"no comma", `[{} {}]`, "", []string{`{}`}, "at offset 4: expected , or ]"},
		{"trailing comma", `[{},]`, "", []string{`{}`}, "item 2 at offset 4: a record is"},
		{"number", `[{},12]`, "", []string{`{}`}, "item 2 at offset 4: a record is"},
		{"after", `[] []`, "", nil, "at offset 3: something follows the end"},
		{"top array", `[]`, "rows", nil, "at offset 0: expected an object around the array"},
		{"no such key", `{"a":1}`, "rows", nil, `at offset 6: there is no array "rows"`},
		{"empty object", `{}`, "rows", nil, `at offset 1: there is no array "rows"`},
		{"no array", `{"rows":{}}`, "rows", nil, "at offset 8: expected an array here"},
		{"twice", `{"rows":[],"rows":[]}`, "rows", nil, `at offset 11: the key "rows" is there twice`},
		{"unclosed object", `{"rows":[]`, "rows", nil, "at offset 10: the input ends too early"},
		{"no value", `{"a":,"rows":[]}`, "rows", nil, "at offset 5: expected a value"},
		{"no key", `{1:2}`, "rows", nil, "at offset 1: expected a key"},
		{"bad key", `{"\x":2}`, "rows", nil, "at offset 1: JSON at offset 1: an unknown escape"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := readItems(strings.NewReader(test.in), test.array)
			require.Equal(t, test.want, got)
			if test.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.err)
			var bad *badInput
			require.ErrorAs(t, err, &bad)
		})
	}
}

// endless repeats a byte, up to a gigabyte.
func endless(b byte) io.Reader {
	return io.LimitReader(repeat(b), 1<<30)
}

type repeat byte

func (r repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

// TestItemsAreBounded has inputs without line ends or brackets where they
// should be. None is read much further than an item may be long, or held.
func TestItemsAreBounded(t *testing.T) {
	for _, start := range []string{`{"a":"`, `{`, `[{"a":`, `[{"a":"\u0`} {
		in := endless('{')
		_, err := readItems(io.MultiReader(strings.NewReader(start), in), "")
		require.ErrorIs(t, err, errTooLong, start)
		read := (1 << 30) - in.(*io.LimitedReader).N
		require.Less(t, read, int64(maxItem+1<<20), start)
	}
	_, err := readItems(io.MultiReader(strings.NewReader(`{"`), endless('a')), "rows")
	require.ErrorIs(t, err, errTooLong)

	allocated := testing.AllocsPerRun(1, func() {
		skipped := io.LimitReader(repeat('x'), 2*maxItem)
		in := io.MultiReader(strings.NewReader(`{"a":"`), skipped, strings.NewReader(`","rows":[{}]}`))
		items, err := readItems(in, "rows")
		require.NoError(t, err)
		require.Equal(t, []string{"{}"}, items)
	})
	require.Less(t, allocated, 1000.0, "what is passed over is not held")
}

// TestImportLargeLine imports a file whose first line is good and whose second
// never ends.
func TestImportLargeLine(t *testing.T) {
	dir := t.TempDir()
	db, file := filepath.Join(dir, "a.db"), filepath.Join(dir, "large.ndjson")
	line := `{"id":1,"text":"` + strings.Repeat("x", 4<<20) + `"}` + "\n" + `{"id":2,"text":"` + strings.Repeat("y", maxItem)
	require.NoError(t, os.WriteFile(file, []byte(line), 0o600))
	_, err := godwit("--db", db, "import", "rows", file)
	require.ErrorContains(t, err, fmt.Sprintf("item 2 at offset %d: longer than 8 MiB", len(`{"id":1,"text":""}`)+4<<20+1))
	require.ErrorContains(t, err, "; 1 records were imported and stay")
	require.Equal(t, status{Records: 1, Changes: 1}, statusOfFile(t, db))
}

// TestImportDeep has nesting beyond the bound.
func TestImportDeep(t *testing.T) {
	dir := t.TempDir()
	db, file := filepath.Join(dir, "a.db"), filepath.Join(dir, "deep.json")
	deep := `[{"id":1},{"id":2,"a":` + strings.Repeat("[", 500_000) + strings.Repeat("]", 500_000) + `}]`
	require.NoError(t, os.WriteFile(file, []byte(deep), 0o600))
	_, err := godwit("--db", db, "import", "rows", file)
	require.ErrorContains(t, err, "item 2 at offset 149: nested deeper than 128; 1 records were imported and stay")
}

// TestImportInterrupted ends an import while it waits for more input. Whole sets
// stay, and what it had read beyond them is not imported.
func TestImportInterrupted(t *testing.T) {
	db := filepath.Join(t.TempDir(), "a.db")
	watch := startWatch(t, db)
	ctx, cancel := context.WithCancel(context.Background())
	in, feed := io.Pipe()
	defer feed.Close()
	go func() {
		defer cancel()
		_, _ = io.WriteString(feed, rows(1500))
		_, _ = watch.await(regexp.MustCompile(`"id":"999"`)) // or the count below is wrong
	}()
	var stderr strings.Builder
	code := run(ctx, []string{"--db", db, "import", "rows", "-"}, in, io.Discard, &stderr)
	require.Equal(t, 1, code)
	require.Equal(t, "godwit: import -: interrupted; 1000 records were imported and stay, "+
		"the same command again imports the rest\n", stderr.String())
	require.Equal(t, status{Records: 1000, Changes: 1000}, statusOfFile(t, db))
}

// FuzzItems holds the reader of items against the parser of whole values.
func FuzzItems(f *testing.F) {
	for _, seed := range []string{`[{"a":1},{"b":"]"}]`, `{"a":1}{"b":2}`, `{"rows":[{"a":[{}]}],"x":1}`, `[`, `{"rows":`, "[{}]]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, array := range []string{"", "rows"} {
			items, err := readItems(strings.NewReader(string(in)), array)
			want, ok := wholeItems(in, array)
			if !ok {
				continue
			}
			require.NoError(t, err)
			require.Len(t, items, len(want))
			for i := range want {
				got, err := crdt.ParseJSON([]byte(items[i]))
				require.NoError(t, err)
				a, err := crdt.AppendJSON(nil, got)
				require.NoError(t, err)
				b, err := crdt.AppendJSON(nil, want[i])
				require.NoError(t, err)
				require.Equal(t, string(b), string(a))
			}
		}
	})
}

// wholeItems returns the items of an input that is an array of objects, or has
// one, read at once; ok is false for other inputs.
func wholeItems(in []byte, array string) (items []any, ok bool) {
	v, err := crdt.ParseJSON(in)
	if err != nil {
		return nil, false
	}
	if array != "" {
		object, _ := v.(map[string]any)
		v = object[array]
	}
	if items, ok = v.([]any); !ok {
		return nil, false
	}
	for _, it := range items {
		if _, ok := it.(map[string]any); !ok {
			return nil, false
		}
	}
	return items, true
}
