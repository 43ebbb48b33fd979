package crdt_test

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// recordHistory appends the changes of a history, its heads and its value to the
// file that GODWIT_MUTANT_LOG names, a line each. testdata/js/check.mjs holds
// such a file against JavaScript's Automerge, which takes less than the core.
func recordHistory(t testing.TB, changes []*crdt.Change, h *crdt.History) {
	name := os.Getenv("GODWIT_MUTANT_LOG")
	if name == "" {
		return
	}
	line, err := json.Marshal(map[string]any{
		"chunks": join(changes), "heads": headsOf(h), "value": textNumbers(canon(t, h.Value(nil))),
	})
	require.NoError(t, err)
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	require.NoError(t, err)
	_, err = f.Write(append(line, '\n'))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// textNumbers writes floats as text, since JSON has no NaN.
func textNumbers(v any) any {
	switch v := v.(type) {
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []any:
		for i := range v {
			v[i] = textNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = textNumbers(v[k])
		}
	}
	return v
}
