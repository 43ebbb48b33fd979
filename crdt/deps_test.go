package crdt_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/godwitdb/godwit"

// compactor is the one package that uses the engine in C.
const compactor = "replica/internal/compactor"

// mayImport says for a package, named by its path within the module, which
// others of the module it may import: a path stands for all below it, a final
// "." for that one alone. Test files are free.
func mayImport(pkg string) []string {
	within := func(dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }
	switch {
	case within("crdt"):
		return []string{"crdt/internal"}
	case within("persist"):
		return []string{"persist", "crdt"}
	case pkg == "transport":
		return []string{"crdt"}
	case within("transport/transporttest"), within("transport/internal"):
		return []string{"transport.", "transport/internal", "crdt"}
	case within("transport"): // the links know not each other
		link := path.Join("transport", strings.Split(pkg, "/")[1])
		return []string{"transport.", "transport/internal", link, "crdt"}
	case within(compactor):
		return []string{"crdt"}
	case within("replica/internal/sim"), within("replica/internal/chaos"):
		return []string{"replica", "persist", "transport", "crdt"}
	case within("replica"): // which writes bundles itself
		return []string{"replica", "persist", "transport.", "transport/bundle", "crdt"}
	case within("cmd"):
		return []string{"cmd/" + strings.Split(pkg, "/")[1], "replica", "persist", "transport", "crdt"}
	case within("examples"):
		return []string{"examples/" + strings.Split(pkg, "/")[1], "replica", "persist", "transport", "crdt"}
	}
	return nil
}

func allowed(pkg, imported string) bool {
	for _, p := range mayImport(pkg) {
		exact, only := strings.CutSuffix(p, ".")
		if imported == exact || !only && strings.HasPrefix(imported, p+"/") {
			return true
		}
	}
	return false
}

// TestImportDirections holds the module to its layers: crdt, then persist and
// transport, which know not each other, then replica, then programs. The engine
// in C is a reference for tests, and the compactor's.
func TestImportDirections(t *testing.T) {
	files := 0
	eachImport(t, "..", func(file, imported string) {
		files++
		pkg := path.Dir(file)
		if inner, ok := strings.CutPrefix(imported, module+"/"); ok {
			require.True(t, allowed(pkg, inner), "%s imports %s, against the layers", file, inner)
		}
		if pkg != compactor {
			require.NotContains(t, imported, "github.com/automerge/", "%s imports it outside tests", file)
		}
	})
	require.Greater(t, files, 20, "the module was found")
}

// TestImportRules proves the checker on what it must refuse.
func TestImportRules(t *testing.T) {
	for _, tt := range []struct {
		pkg, imports string
		want         bool
	}{
		{"crdt", "persist", false}, {"crdt", "transport", false}, {"crdt", "crdt/internal/core", true},
		{"persist", "crdt", true}, {"persist", "transport", false}, {"persist", "replica", false},
		{"transport", "crdt", true}, {"transport", "persist", false}, {"transport", "transport/memlink", false},
		{"transport/memlink", "transport", true}, {"transport/memlink", "transport/httplink", false},
		{"transport/httplink", "transport/memlink", false}, {"transport/httplink", "replica", false},
		{"transport/httplink", "transport/auth", false}, {"transport/auth", "transport", true},
		{"transport/natslink", "transport/httplink", false}, {"transport/httplink", "transport/transporttest", false},
		{"transport/transporttest", "transport/memlink", false}, {"transport/transporttest", "transport", true},
		{"replica", "persist", true}, {"replica", "transport", true}, {"replica", "transport/httplink", false},
		{"replica", "transport/memlink", false}, {"replica", "transport/bundle", true}, {"transport/bundle", "replica", false}, {"replica/internal/sim", "transport/memlink", true},
		{"replica/bridge", "replica", true}, {"replica", "cmd/godwit", false}, {"replica", "examples/offline", false},
		{"cmd/godwit", "transport/httplink", true}, {"cmd/godwit", "examples/offline", false},
		{"examples/offline", "replica", true}, {"examples/offline", "cmd/godwit", false},
		{compactor, "crdt", true}, {compactor, "replica", false}, {"replica", compactor, true},
		{"elsewhere", "crdt", false},
	} {
		require.Equal(t, tt.want, allowed(tt.pkg, tt.imports), "%s imports %s", tt.pkg, tt.imports)
	}
}

// eachImport calls f with each import of each file in the module that is no
// test. file is slash-separated, from the module's root.
func eachImport(t *testing.T, root string, f func(file, imported string)) {
	fset := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && name != root && (strings.HasPrefix(base, ".") || base == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(base, ".go") || strings.HasSuffix(base, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(fset, name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		file, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		for _, imp := range parsed.Imports {
			imported, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			f(filepath.ToSlash(file), imported)
		}
		return nil
	})
	require.NoError(t, err)
}

// TestTopLevel keeps the module's root to what a newcomer should see first.
func TestTopLevel(t *testing.T) {
	want := map[string]bool{
		"crdt": true, "persist": true, "transport": true, "replica": true, "cmd": true, "examples": true,
		"go.mod": true, "go.sum": true, "README.md": true, "CONTRIBUTING.md": true, "LICENSE": true,
	}
	entries, err := os.ReadDir("..")
	require.NoError(t, err)
	for _, e := range entries {
		require.True(t, want[e.Name()] || strings.HasPrefix(e.Name(), "."), "%s does not belong at the top", e.Name())
	}
}
