package transport

import (
	"bytes"
	"fmt"
	"runtime"
	"sync"

	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/zstd"
)

// The second byte of a message.
const (
	plain      = 0
	zstandard  = 1
	headerSize = 2 // kind, compression
)

// compressFrom is the smallest body, in bytes, that compression is tried on: the
// frame of one small change, which it makes little smaller, goes out as it is.
const compressFrom = 256

// Codec turns frames into messages and back. It is safe for concurrent use; make
// one per link or server with NewCodec.
type Codec struct {
	enc     cbor.UserBufferEncMode
	dec     cbor.DecMode
	pack    *zstd.Encoder
	unpack  *zstd.Decoder
	buffers sync.Pool // *bytes.Buffer, for bodies before compression
}

// NewCodec returns a Codec.
func NewCodec() *Codec {
	parallel := min(runtime.GOMAXPROCS(0), 4)
	return &Codec{
		enc: must(cbor.CoreDetEncOptions().UserBufferEncMode()),
		dec: must(cbor.DecOptions{
			DupMapKey:        cbor.DupMapKeyEnforcedAPF,
			MaxArrayElements: MaxExceptions,
			MaxMapPairs:      64,
			MaxNestedLevels:  8,
			IndefLength:      cbor.IndefLengthForbidden,
			TagsMd:           cbor.TagsForbidden,
		}.DecMode()),
		pack: must(zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(parallel),
			zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))),
		unpack: must(zstd.NewReader(nil, zstd.WithDecoderConcurrency(parallel), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(MaxFrame), zstd.WithDecoderMaxWindow(MaxFrame), zstd.WithDecodeAllCapLimit(true))),
		buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
}

// must is for options that are constants: they are right or no test passes.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Encode returns the message that carries f, of at most MaxFrame bytes. A frame
// beyond its bounds is refused with ErrTooLarge or ErrMalformed.
func (c *Codec) Encode(f Frame) ([]byte, error) {
	message, err := c.encode(f)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", f.Kind(), err)
	}
	return message, nil
}

func (c *Codec) encode(f Frame) ([]byte, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	buf := c.buffers.Get().(*bytes.Buffer)
	defer c.release(buf)
	buf.Reset()
	buf.Write([]byte{byte(f.Kind()), plain})
	if err := c.enc.MarshalToBuffer(f.wire(), buf); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if f, ok := f.(*Changes); ok && len(f.Packed) == 0 {
		size := 8
		for _, s := range f.Sets {
			size += s.Size()
		}
		if size > MaxFrame {
			return nil, fmt.Errorf("%w: sets of up to %d bytes, at most %d", ErrTooLarge, size, MaxFrame)
		}
		buf.Grow(size)
		buf.Write(appendSets(buf.AvailableBuffer(), f.Sets))
	}
	if err := checkCount("bytes", buf.Len(), mostBytes(f.Kind())); err != nil {
		return nil, err
	}
	return c.compress(buf.Bytes()), nil
}

// compress returns a copy of message, compressed if that is smaller.
func (c *Codec) compress(message []byte) []byte {
	if len(message) < headerSize+compressFrom {
		return bytes.Clone(message)
	}
	packed := c.pack.EncodeAll(message[headerSize:], append(make([]byte, 0, len(message)/2), message[0], zstandard))
	if len(packed) >= len(message) {
		return bytes.Clone(message)
	}
	return packed
}

// release keeps a buffer for the next frame, unless it is a large one.
func (c *Codec) release(buf *bytes.Buffer) {
	if buf.Cap() <= 1<<20 {
		c.buffers.Put(buf)
	}
}

// Decode reads the message that Encode wrote and keeps nothing of it. Its errors
// wrap ErrTooLarge, ErrMalformed or ErrUnknownFrame.
func (c *Codec) Decode(message []byte) (Frame, error) {
	if len(message) < headerSize {
		return nil, fmt.Errorf("decode frame: %w: %d bytes", ErrMalformed, len(message))
	}
	kind := Kind(message[0])
	f, err := c.decode(kind, message)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", kind, err)
	}
	return f, nil
}

func (c *Codec) decode(kind Kind, message []byte) (Frame, error) {
	if !kind.known() {
		return nil, ErrUnknownFrame
	}
	body, err := c.body(message, mostBytes(kind))
	if err != nil {
		return nil, err
	}
	f, err := c.parse(kind, body)
	if err != nil {
		return nil, err
	}
	return f, f.check()
}

// body returns the inflated body in memory of its own.
func (c *Codec) body(message []byte, most int) ([]byte, error) {
	if err := checkCount("bytes", len(message), most); err != nil {
		return nil, err
	}
	switch body := message[headerSize:]; message[1] {
	case plain:
		return bytes.Clone(body), nil
	case zstandard:
		return c.inflate(body, most-headerSize)
	}
	return nil, fmt.Errorf("%w: compression %d", ErrMalformed, message[1])
}

func (c *Codec) inflate(packed []byte, most int) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(packed); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if h.Skippable || !h.HasFCS || h.DictionaryID != 0 {
		return nil, fmt.Errorf("%w: zstd frame without a size, or not a plain one", ErrMalformed)
	}
	if h.FrameContentSize > uint64(most) {
		return nil, fmt.Errorf("%w: inflates to %d bytes, at most %d", ErrTooLarge, h.FrameContentSize, most)
	}
	body, err := c.unpack.DecodeAll(packed, make([]byte, 0, h.FrameContentSize))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return body, nil
}

func (c *Codec) parse(kind Kind, body []byte) (Frame, error) {
	switch kind {
	case KindHello:
		var w wireHello
		return finish(&w, c.unmarshal(body, &w))
	case KindChanges:
		return c.parseChanges(body)
	case KindAck:
		var w wireAck
		return finish(&w, c.unmarshal(body, &w))
	case KindPing, KindPong:
		var w wirePing
		err := c.unmarshal(body, &w)
		if kind == KindPong {
			return &Pong{w.Nonce}, err
		}
		return &Ping{w.Nonce}, err
	case KindDigest:
		var w wireDigest
		return finish(&w, c.unmarshal(body, &w))
	case KindNeed:
		var w wireNeed
		return finish(&w, c.unmarshal(body, &w))
	case KindPresence:
		return c.parsePresence(body)
	case KindToken:
		return c.parseToken(body)
	default:
		var w wireError
		err := c.unmarshal(body, &w)
		return &Error{w.Code, w.Message}, err
	}
}

func (c *Codec) parseChanges(body []byte) (Frame, error) {
	var w wireChanges
	rest, err := c.dec.UnmarshalFirst(body, &w)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	f, err := w.frame()
	if err != nil {
		return nil, err
	}
	if len(f.Packed) > 0 && len(rest) == 0 {
		return &Changes{Packed: f.Packed, Loose: f.Loose, Ahead: f.Ahead, Reach: f.Reach, Unequal: f.Unequal, Prompt: f.Prompt}, nil
	}
	r := setReader{b: rest, members: MaxMembers}
	if f.Sets, err = r.sets(); err != nil {
		return nil, err
	}
	if len(r.b) > 0 {
		return nil, fmt.Errorf("%w: %d bytes follow the sets", ErrMalformed, len(r.b))
	}
	return f, nil
}

func (c *Codec) unmarshal(body []byte, w any) error {
	if err := c.dec.Unmarshal(body, w); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

func finish(w interface{ frame() (Frame, error) }, err error) (Frame, error) {
	if err != nil {
		return nil, err
	}
	return w.frame()
}

// mostBytes bounds a message of the given kind, and its body when inflated.
func mostBytes(k Kind) int {
	switch k {
	case KindChanges, KindAck:
		return MaxFrame
	case KindDigest, KindNeed:
		return MaxDigest
	}
	return MaxSmallFrame
}
