package replica_test

import (
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/persist"
	"github.com/godwitdb/godwit/replica"
)

// said hands on the lines that are logged.
type said chan string

func (c said) Write(line []byte) (int, error) {
	select {
	case c <- string(line):
	default: // nobody listens
	}
	return len(line), nil
}

// TestCompactEvery: what is long enough is compacted again and again without being asked
// for, while others write; Close ends it. (Automerge's core has finalizers of its own,
// which no testing/synctest bubble takes.)
func TestCompactEvery(t *testing.T) {
	lines := make(said, 100)
	r := open(t, &replica.Options{Synchronous: persist.Normal, CompactEvery: 10 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(lines, nil))})
	compacted := func() {
		t.Helper()
		for deadline := time.After(time.Minute); ; {
			select {
			case line := <-lines:
				if strings.Contains(line, "msg=compacted") && strings.Contains(line, "count=1") {
					return
				}
				require.NotContains(t, line, "level=ERROR")
			case <-deadline:
				t.Fatal("nothing is compacted")
			}
		}
	}
	for i := range 2 {
		edits(t, r, rand.New(rand.NewPCG(uint64(i), 1)), "1", 450)
		compacted()
	}
	requireClean(t, r)
	st, err := r.Stats(t.Context())
	require.NoError(t, err)
	require.Positive(t, st.Bytes.Snapshots)
	h, err := r.History(t.Context(), key("1"))
	require.NoError(t, err)
	require.Equal(t, 900, h.Len())
}
