package persist_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

var kills = flag.Int("persist.kills", 6, "how often TestKillWhileEncrypting kills a process")

// cipherRoles are what a process that is to be killed does.
var cipherRoles = []struct {
	name          string
	before, after byte // the bytes of the key; 0: none
	change        func(context.Context, *persist.Store, persist.Key) error
}{
	{"encrypt", 0, 1, func(ctx context.Context, s *persist.Store, k persist.Key) error { return s.Encrypt(ctx, k) }},
	{"decrypt", 1, 0, func(ctx context.Context, s *persist.Store, k persist.Key) error { return s.Decrypt(ctx) }},
	{"rekey", 1, 2, func(ctx context.Context, s *persist.Store, k persist.Key) error { return s.Rekey(ctx, k) }},
}

func keyOf(b byte) (k persist.Key) {
	if b != 0 {
		k, _ = persist.NewKey([]byte(fmt.Sprintf("%032d", b)))
	}
	return k
}

// runCipherRole says when the change begins and when it has ended.
func runCipherRole(role, path string) error {
	for _, r := range cipherRoles {
		if r.name != role {
			continue
		}
		s, err := persist.Open(context.Background(), path, &persist.Options{Key: keyOf(r.before), Synchronous: persist.Normal})
		if err != nil {
			return err
		}
		fmt.Println("begun")
		if err := r.change(context.Background(), s, keyOf(r.after)); err != nil {
			return err
		}
		fmt.Println("ended")
		return s.Close()
	}
	return errors.New("no such role")
}

// TestKillWhileEncrypting kills a process at any moment of turning encryption on or
// off or changing the key; opening the file completes it, and nothing is lost.
func TestKillWhileEncrypting(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	plain, sealed := filepath.Join(t.TempDir(), "plain.db"), filepath.Join(t.TempDir(), "sealed.db")
	s, err := persist.Open(t.Context(), plain, nil)
	require.NoError(t, err)
	fillSecrets(t, s, 600)
	want := contentOf(t, s)
	require.NoError(t, s.Close())
	copyFile(t, plain, sealed)
	s, err = persist.Open(t.Context(), sealed, nil)
	require.NoError(t, err)
	require.NoError(t, s.Encrypt(t.Context(), keyOf(1)))
	require.NoError(t, s.Close())

	took := map[string]time.Duration{}
	amid := 0
	for round := range *kills + len(cipherRoles) { // the first of each lives
		role := cipherRoles[round%len(cipherRoles)]
		path := tempPath(t)
		copyFile(t, map[bool]string{true: plain, false: sealed}[role.before == 0], path)
		cmd := startProcess(t, "cipher-"+role.name, path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		require.True(t, lines.Scan())
		if begun := time.Now(); took[role.name] == 0 {
			require.True(t, lines.Scan())
			took[role.name] = time.Since(begun)
			require.NoError(t, cmd.Wait())
		} else {
			<-time.After(time.Duration(rng.Int64N(int64(took[role.name]))))
			require.NoError(t, cmd.Process.Kill())
			if !lines.Scan() {
				amid++
			}
			_ = cmd.Wait()
		}
		final := resume(t, path, role.before, role.after)
		require.Equal(t, want, contentOf(t, final), "round %d: %s", round, role.name)
		require.Empty(t, problems(t, final))
		encrypted := false
		require.NoError(t, final.Read(t.Context(), func(r *persist.Reader) (err error) {
			encrypted, err = r.Encrypted()
			return err
		}))
		require.NoError(t, final.Close())
		require.Equal(t, encrypted, len(leaks(t, path)) == 0)
	}
	t.Logf("killed %d times before the end", amid)
}

// resume opens the file with the key that it has to have after the change, or, if
// that had not begun, before.
func resume(t *testing.T, path string, before, after byte) *persist.Store {
	for _, b := range []byte{after, before, 0} {
		s, err := persist.Open(t.Context(), path, &persist.Options{Key: keyOf(b)})
		if err == nil {
			return s
		}
		if !errors.Is(err, persist.ErrEncrypted) && !errors.Is(err, persist.ErrNotEncrypted) {
			require.ErrorIs(t, err, persist.ErrWrongKey)
		}
	}
	t.Fatal("no key opens it")
	return nil
}

func copyFile(t *testing.T, from, to string) {
	b, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, b, 0o600))
}

// Two processes have the key; what one changes, the other keeps up with, or is told.
func TestEncryptionOfSeveralProcesses(t *testing.T) {
	path := tempPath(t)
	s := open(t, path, nil)
	fillSecrets(t, s, 50)
	blind := open(t, path, nil) // has no key
	require.NoError(t, s.Encrypt(t.Context(), newKey(t, 1)))
	keyed := open(t, path, &persist.Options{Key: newKey(t, 1)})
	same := open(t, path, &persist.Options{Key: newKey(t, 1)})
	for range 2 {
		mustEdit(t, keyed, "theirs", `{}`)
		mustEdit(t, s, "theirs", `{}`)
		require.Equal(t, contentOf(t, s), contentOf(t, keyed))
		require.ErrorIs(t, blind.Commit(t.Context(), put("x")), persist.ErrEncrypted)
	}
	require.NoError(t, s.Rekey(t.Context(), newKey(t, 1)), "the same key, but all is sealed with another")
	mustEdit(t, s, "theirs", `{"n":1}`)
	mustEdit(t, s, "ours", `{"n":1}`)
	require.NoError(t, keyed.Read(t.Context(), func(r *persist.Reader) error {
		require.Len(t, gather(t, r.Duplicates("notes", crdt.Path{{Key: "n"}})), 2, "SQL comes by the new key too")
		return nil
	}))
	require.Equal(t, contentOf(t, s), contentOf(t, keyed))
	mustEdit(t, keyed, "theirs", `{"n":2}`)
	require.NoError(t, s.Rekey(t.Context(), newKey(t, 2)))
	require.ErrorIs(t, keyed.Commit(t.Context(), put("x")), persist.ErrWrongKey)
	require.ErrorIs(t, same.Read(t.Context(), func(r *persist.Reader) error {
		_, err := r.Record(key("theirs"))
		return err
	}), persist.ErrWrongKey)
	require.NoError(t, s.Decrypt(t.Context()))
	require.Equal(t, contentOf(t, s), contentOf(t, same), "what needs no key is for all")
	mustEdit(t, blind, "theirs", `{"n":3}`)
	mustEdit(t, keyed, "theirs", `{"n":4}`)
	require.Equal(t, contentOf(t, s), contentOf(t, blind))
	require.Empty(t, problems(t, s))
}

func FuzzParseBox(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0})
	f.Add(append([]byte{1, 1, 1, 5, 5}, make([]byte, persist.KeySize)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if again, err := persist.ParseBox(b); err == nil {
			twice, err := persist.ParseBox(again)
			require.NoError(t, err)
			require.Equal(t, again, twice)
		}
	})
}

func FuzzParseKDF(f *testing.F) {
	f.Add("raw")
	f.Add("$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, s string) {
		cost, salt, err := persist.ParseKDF(s)
		if err == nil {
			require.LessOrEqual(t, cost.Memory, uint32(1<<20))
			require.LessOrEqual(t, cost.Time, uint32(64))
			require.LessOrEqual(t, len(salt), 64)
		}
	})
}
