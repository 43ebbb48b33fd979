package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

// Link returns a link to what is in a file. It can be received from only. progress, if
// not nil, is told how many of the file's bytes were handed on, and their total.
func Link(path string, progress func(done, total int64)) transport.Link {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	return &link{path, progress}
}

type link struct {
	path     string
	progress func(done, total int64)
}

// String implements transport.Link.
func (l *link) String() string { return "bundle " + l.path }

// Backoff implements transport.Link.
func (l *link) Backoff() transport.Backoff { return transport.Backoff{} }

// Dial reads the file to its end and compares its checksum; then it opens it.
func (l *link) Dial(ctx context.Context) (transport.Conn, error) {
	c, err := l.open(ctx)
	if err != nil {
		code := transport.CodeClosed
		if errors.Is(err, ErrDamaged) {
			code = transport.CodeMalformed
		}
		return nil, &transport.DialError{Peer: l.String(), Code: code, Err: err}
	}
	return c, nil
}

func (l *link) open(ctx context.Context) (*conn, error) {
	file, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	c := &conn{file: file, progress: l.progress, codec: transport.NewCodec(), replies: make(chan transport.Frame, 4), closed: make(chan struct{})}
	c.summary, err = scan(ctx, file, c.codec, func(*transport.Changes) error { return nil })
	if err == nil {
		c.replies <- c.greeting()
		err = c.rewind()
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return c, nil
}

// conn is a transport.Conn whose other end is a file. Sending and receiving meet in
// replies: what the session sends is answered before the file is read on.
type conn struct {
	file     *os.File
	codec    *transport.Codec
	progress func(done, total int64)
	summary
	replies chan transport.Frame
	closed  chan struct{}
	once    sync.Once

	mu      sync.Mutex // guards what follows
	in      *reader
	at      crdt.Cursor // where the session stands
	started bool        // it has said so
	begun   bool        // it was told where the frames begin
	passing bool        // frames before that are passed over
	loose   bool        // frames are no stretch of the log
	ended   bool
}

// greeting is the hello of whoever wrote the bundle, which takes nothing back.
func (c *conn) greeting() *transport.Hello {
	return &transport.Hello{
		Protocol: c.hello.Protocol, Space: c.hello.Space, Replica: c.hello.Replica, Epoch: c.hello.Epoch, Log: c.hello.Log,
		Requires: c.hello.Requires, Volatile: true,
	}
}

func (c *conn) rewind() error {
	if _, err := c.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read bundle: %w", err)
	}
	c.in = newReader(c.file, c.codec)
	_, _, err := c.in.begin()
	return err
}

// Send answers what the session says.
func (c *conn) Send(ctx context.Context, f transport.Frame) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch f := f.(type) {
	case *transport.Ack:
		return c.onAck(ctx, f)
	case *transport.Changes:
		c.mu.Lock()
		first, at := !c.begun, c.at
		c.begun = true
		c.mu.Unlock()
		if first { // where the session would begin
			return c.reply(ctx, &transport.Changes{From: at, Through: at})
		}
		return c.reply(ctx, &transport.Ack{Through: f.Through})
	}
	return nil
}

// onAck takes the first ack for where the session stands. One that asks for a resend
// later says that the frames do not fit after all.
func (c *conn) onAck(ctx context.Context, ack *transport.Ack) error {
	c.mu.Lock()
	first := !c.started
	var err error
	if first || ack.Resend && !c.loose {
		c.at, c.started, c.ended = ack.Through, true, false
		c.loose = !first || !c.marks[ack.Through]
		c.passing = !c.loose
		err = c.rewind()
	}
	c.mu.Unlock()
	if err != nil || !first {
		return err
	}
	return c.reply(ctx, &transport.Ack{})
}

func (c *conn) reply(ctx context.Context, f transport.Frame) error {
	select {
	case c.replies <- f:
		return nil
	case <-c.closed:
		return fmt.Errorf("send: %w", transport.ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Recv returns a reply if there is one, else the next frame of the file.
func (c *conn) Recv(ctx context.Context) (transport.Frame, error) {
	for {
		select {
		case <-c.closed:
			return nil, fmt.Errorf("receive: %w", transport.ErrClosed)
		case f := <-c.replies:
			return f, nil
		default:
		}
		if f, err := c.next(); f != nil || err != nil {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.closed:
		case f := <-c.replies:
			return f, nil
		}
	}
}

// next returns the next frame of the file, nil if there is none yet, or no more.
func (c *conn) next() (transport.Frame, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.begun && !c.ended {
		f, err := c.in.changes()
		if err != nil {
			return nil, fmt.Errorf("%w; it was changed while it was read", err)
		}
		c.passing = c.passing && f.From != c.at
		c.ended = f.End
		c.progress(c.in.n, c.Bytes)
		switch {
		case c.passing && !f.End:
		case f.End && (c.passing || c.loose):
			return &transport.Changes{From: c.at, Through: c.at, End: true}, nil
		case c.loose:
			return &transport.Changes{Sets: f.Sets, Part: f.Part, More: f.More, Loose: 1}, nil
		default:
			return f, nil
		}
	}
	return nil, nil
}

// Close implements transport.Conn.
func (c *conn) Close() error {
	var err error
	c.once.Do(func() {
		close(c.closed)
		c.mu.Lock() // no frame is being read
		defer c.mu.Unlock()
		err = c.file.Close()
	})
	return err
}

// Stats implements transport.Meter.
func (c *conn) Stats() (sent, received int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return 0, c.in.n
}
