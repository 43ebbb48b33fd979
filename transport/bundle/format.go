package bundle

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

const magic = "godwit bundle 1\n"

// ErrDamaged says that a file is no bundle, or not the one that was written.
var ErrDamaged = errors.New("damaged bundle")

// Info says what a bundle holds.
type Info struct {
	Space   string
	Replica crdt.ReplicaID // whose log it is from
	Epoch   uint64
	From    crdt.Cursor // it holds the sets behind this position of the log
	Through crdt.Cursor // up to this one
	Sets    int
	Changes int
	Bytes   int64 // of the file
}

// Writer writes a bundle.
type Writer struct {
	out   io.Writer
	sum   hash.Hash
	codec *transport.Codec
	info  Info
	err   error
}

// NewWriter begins a bundle of the log of h's sender, from a position on. It keeps w
// for Write and Close.
func NewWriter(w io.Writer, h *transport.Hello, from crdt.Cursor) (*Writer, error) {
	b := &Writer{sum: sha256.New(), codec: transport.NewCodec(), info: Info{
		Space: h.Space, Replica: h.Replica, Epoch: h.Epoch, From: from, Through: from,
	}}
	b.out = io.MultiWriter(w, b.sum)
	b.put([]byte(magic))
	b.frame(h)
	b.frame(&transport.Changes{From: from, Through: from})
	return b, b.err
}

// Write adds a frame, which has to begin where the one before it ended.
func (b *Writer) Write(f *transport.Changes) error {
	if f.From != b.info.Through {
		return fmt.Errorf("write bundle: a frame begins at %v, not at %v", f.From, b.info.Through)
	}
	b.info.count(f)
	b.frame(f)
	return b.err
}

// Close ends the bundle. It does not close the writer below.
func (b *Writer) Close() (Info, error) {
	b.frame(&transport.Changes{From: b.info.Through, Through: b.info.Through, End: true})
	b.put([]byte{0})
	b.put(b.sum.Sum(nil))
	return b.info, b.err
}

func (b *Writer) frame(f transport.Frame) {
	message, err := b.codec.Encode(f)
	if err != nil {
		b.err = errors.Join(b.err, err)
		return
	}
	b.put(binary.AppendUvarint(nil, uint64(len(message))))
	b.put(message)
}

func (b *Writer) put(p []byte) {
	if b.err != nil {
		return
	}
	n, err := b.out.Write(p)
	b.info.Bytes += int64(n)
	if err != nil {
		b.err = fmt.Errorf("write bundle: %w", err)
	}
}

func (i *Info) count(f *transport.Changes) {
	if !f.More {
		i.Through = f.Through
	}
	if f.Part == 0 {
		i.Sets += len(f.Sets)
	}
	for _, s := range f.Sets {
		i.Changes += len(s.Members)
	}
}

// Read reads a whole bundle, compares its checksum and says what it holds. Its errors
// wrap ErrDamaged, or are those of r and of ctx.
func Read(ctx context.Context, r io.Reader) (Info, error) {
	s, err := scan(ctx, r, transport.NewCodec(), func(*transport.Changes) error { return nil })
	return s.Info, err
}

// maxMarks bounds the cursors that are remembered. From one that is not, the bundle is
// handed on as loose sets.
const maxMarks = 1 << 16

// summary is an Info, and the cursors that the bundle's frames lie between.
type summary struct {
	Info
	hello *transport.Hello
	marks map[crdt.Cursor]bool
}

// scan reads a whole bundle and hands its frames on as it goes: before it has returned
// without an error they are not to be trusted.
func scan(ctx context.Context, r io.Reader, codec *transport.Codec, each func(*transport.Changes) error) (s summary, err error) {
	in := newReader(r, codec)
	if s.hello, s.From, err = in.begin(); err != nil {
		return s, err
	}
	s.Space, s.Replica, s.Epoch, s.Through = s.hello.Space, s.hello.Replica, s.hello.Epoch, s.From
	s.marks = map[crdt.Cursor]bool{s.From: true}
	for {
		if err := ctx.Err(); err != nil {
			return s, err
		}
		f, err := in.changes()
		if err != nil {
			return s, err
		}
		if f.From != s.Through || f.Through.Epoch != s.Epoch || f.Through.LSN < s.Through.LSN {
			return s, damaged("a frame begins at %v, not at %v", f.From, s.Through)
		}
		s.count(f)
		if len(s.marks) < maxMarks {
			s.marks[s.Through] = true
		}
		if err := each(f); err != nil {
			return s, err
		}
		if f.End {
			break
		}
	}
	s.Bytes, err = in.end()
	if err == nil && s.Through != s.hello.Log {
		err = damaged("it ends at %v, not at %v", s.Through, s.hello.Log)
	}
	return s, err
}

// reader reads the parts of a bundle in order.
type reader struct {
	in    *bufio.Reader
	sum   hash.Hash
	n     int64
	codec *transport.Codec
	part  bytes.Buffer // the frame being read
}

func newReader(r io.Reader, codec *transport.Codec) *reader {
	return &reader{in: bufio.NewReaderSize(r, 64<<10), sum: sha256.New(), codec: codec}
}

// begin reads what comes before the sets.
func (r *reader) begin() (h *transport.Hello, from crdt.Cursor, err error) {
	start := make([]byte, len(magic))
	if err := r.take(start); err != nil {
		return nil, from, err
	}
	if !bytes.Equal(start, []byte(magic)) {
		return nil, from, damaged("it does not begin like a bundle of this version")
	}
	f, err := r.frame()
	if err != nil {
		return nil, from, err
	}
	h, ok := f.(*transport.Hello)
	if !ok {
		return nil, from, damaged("it begins with %s", f.Kind())
	}
	first, err := r.changes()
	if err != nil {
		return nil, from, err
	}
	if first.From != first.Through || len(first.Sets) > 0 || first.End || first.From.Epoch != h.Epoch {
		return nil, from, damaged("it does not say where it begins")
	}
	return h, first.From, nil
}

func (r *reader) changes() (*transport.Changes, error) {
	f, err := r.frame()
	if err != nil {
		return nil, err
	}
	c, ok := f.(*transport.Changes)
	if !ok || c.Loose != 0 || len(c.Packed) > 0 {
		return nil, damaged("%s where plain changes belong", f.Kind())
	}
	return c, nil
}

func (r *reader) frame() (transport.Frame, error) {
	n, err := binary.ReadUvarint(counted{r})
	switch {
	case err != nil:
		return nil, r.cut(err)
	case n == 0 || n > transport.MaxFrame:
		return nil, damaged("a frame of %d bytes", n)
	}
	// No more is allocated than the file has, whatever the length says.
	r.part.Reset()
	m, err := io.CopyN(io.MultiWriter(&r.part, r.sum), r.in, int64(n))
	r.n += m
	if err != nil {
		return nil, r.cut(err)
	}
	f, err := r.codec.Decode(r.part.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return f, nil
}

// end reads the checksum, behind which nothing may follow.
func (r *reader) end() (int64, error) {
	zero := make([]byte, 1)
	if err := r.take(zero); err != nil {
		return r.n, err
	}
	want := r.sum.Sum(nil)
	got := make([]byte, sha256.Size)
	if err := r.take(got); err != nil {
		return r.n, err
	}
	if zero[0] != 0 || !bytes.Equal(got, want) {
		return r.n, damaged("its checksum is not that of its content")
	}
	if _, err := r.in.ReadByte(); err != io.EOF {
		return r.n, damaged("something follows its end")
	}
	return r.n, nil
}

func (r *reader) take(p []byte) error {
	n, err := io.ReadFull(r.in, p)
	r.sum.Write(p[:n])
	r.n += int64(n)
	return r.cut(err)
}

// cut turns the end of the file into what is wrong with it.
func (r *reader) cut(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return damaged("it ends after %d bytes", r.n)
	}
	return fmt.Errorf("read bundle: %w", err)
}

// counted reads bytes that count.
type counted struct{ r *reader }

func (c counted) ReadByte() (byte, error) {
	b, err := c.r.in.ReadByte()
	if err == nil {
		c.r.sum.Write([]byte{b})
		c.r.n++
	}
	return b, err
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}
