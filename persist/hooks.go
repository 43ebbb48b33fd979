package persist

import (
	"context"
	"crypto/rand"
	"io"
)

// Hooks are what simulations and tests of crashes reach into a store by, and nothing
// else should. They come with the context that Open is given, so that no program has
// options for them; the zero value changes nothing.
type Hooks struct {
	// Random is where the names of a new file and of its incarnations are drawn from;
	// nil is crypto/rand. Whoever gives the same twice gets the same names twice.
	Random io.Reader
	// Call, unless nil, is called on the goroutine that writes: before each statement
	// that changes something, named by what it does, and with CallCommitted between a
	// commit and those who are told of it. It must not use the store.
	Call func(what string)
	// Opened, unless nil, is given the store when it is open.
	Opened func(*Store)
	// Alone says that no other process writes to the file, so that nobody looks for
	// its commits.
	Alone bool
}

// CallCommitted names the moment at which a transaction is in the file and nobody knows.
const CallCommitted = "committed"

type hooksKey struct{}

// WithHooks returns a context for Open, in which they are.
func WithHooks(ctx context.Context, h *Hooks) context.Context {
	return context.WithValue(ctx, hooksKey{}, h)
}

// hooksOf returns those of the context, or such as change nothing.
func hooksOf(ctx context.Context) Hooks {
	if h, ok := ctx.Value(hooksKey{}).(*Hooks); ok {
		return *h
	}
	return Hooks{}
}

// name fills b with a new random name.
func (h *Hooks) name(b []byte) error {
	if h.Random == nil {
		_, err := rand.Read(b) // never fails
		return err
	}
	_, err := io.ReadFull(h.Random, b)
	return err
}
