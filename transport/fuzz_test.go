package transport_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/transport"
)

var writeCorpus = flag.Bool("write-corpus", false, "write the frames of this test to testdata/fuzz/FuzzDecode")

// FuzzDecode holds Decode against any bytes: no panic, only the errors it
// documents, and what was decoded encodes to something that decodes to the same.
func FuzzDecode(f *testing.F) {
	codec := transport.NewCodec()
	for _, frame := range frames() {
		message, err := codec.Encode(frame)
		require.NoError(f, err)
		f.Add(message)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		got, err := codec.Decode(message)
		if err != nil {
			known := errors.Is(err, transport.ErrMalformed) || errors.Is(err, transport.ErrTooLarge) || errors.Is(err, transport.ErrUnknownFrame)
			require.True(t, known, "%v", err)
			return
		}
		again, err := codec.Encode(got)
		require.NoError(t, err)
		require.LessOrEqual(t, len(again), transport.MaxFrame)
		second, err := codec.Decode(again)
		require.NoError(t, err)
		require.Equal(t, got, second)
	})
}

// TestWriteCorpus makes the committed corpus, from which fuzzing starts: the
// smaller frames of this package's tests. A new file there is a find of fuzzing.
func TestWriteCorpus(t *testing.T) {
	if !*writeCorpus {
		t.Skip("only with -write-corpus")
	}
	codec := transport.NewCodec()
	dir := filepath.Join("testdata", "fuzz", "FuzzDecode")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for name, frame := range frames() {
		message, err := codec.Encode(frame)
		require.NoError(t, err)
		if len(message) > 4096 {
			continue
		}
		text := "go test fuzz v1\n[]byte(" + strconv.Quote(string(message)) + ")\n"
		require.NoError(t, os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, " ", "-")), []byte(text), 0o644))
	}
}
