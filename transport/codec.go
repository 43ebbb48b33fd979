package transport

import "errors"

// Codec turns frames into messages and back. It is safe for concurrent use; make
// one per link or server with NewCodec.
type Codec struct{}

// NewCodec returns a Codec.
func NewCodec() *Codec { return &Codec{} }

// Encode returns the message that carries f, of at most MaxFrame bytes. A frame
// beyond its bounds is refused with ErrTooLarge or ErrMalformed.
func (c *Codec) Encode(f Frame) ([]byte, error) { return nil, errors.ErrUnsupported }

// Decode reads the message that Encode wrote and keeps nothing of it. Its errors
// wrap ErrTooLarge, ErrMalformed or ErrUnknownFrame.
func (c *Codec) Decode(message []byte) (Frame, error) { return nil, errors.ErrUnsupported }
