package crdt

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"errors"
	"io"
)

// The container of everything Automerge stores (binary format, "chunk
// container"): magic, first four bytes of the hash, type, length, data.
const (
	chunkMagic    = "\x85\x6f\x4a\x83"
	chunkTypeAt   = 8
	chunkDocument = 0
	chunkChange   = 1
	chunkDeflated = 2
	chunkBundle   = 3
)

// NextChunk splits the first chunk off b, which holds any number of them one
// after another, as a saved Automerge file does. It reads the header only: the
// content is not checked. Errors are *InvalidError.
func NextChunk(b []byte) (chunk, rest []byte, err error) {
	head, n, err := chunkHeader(b)
	if err != nil {
		return nil, nil, err
	}
	return b[:head+n], b[head+n:], nil
}

// chunkHeader returns the lengths of the header and of the data behind it, which
// b is long enough for.
func chunkHeader(b []byte) (head, data int, err error) {
	if len(b) <= chunkTypeAt || string(b[:4]) != chunkMagic {
		return 0, 0, invalid(CodeChunk, "no chunk begins here: the first bytes are not 85 6f 4a 83 and a header")
	}
	length, n := readUleb(b[chunkTypeAt+1:])
	if n == 0 {
		return 0, 0, invalid(CodeChunk, "the length is not a minimal LEB128 number")
	}
	head = chunkTypeAt + 1 + n
	if length > uint64(len(b)-head) {
		return 0, 0, invalid(CodeChunk, "truncated: %d bytes of data announced, %d there", length, len(b)-head)
	}
	return head, int(length), nil
}

// openChange checks the container of one change and returns its own copy of it,
// inflated, the place where its data begins, and its hash.
func openChange(b []byte) (raw []byte, data int, hash Hash, err error) {
	if len(b) > MaxChangeSize {
		return nil, 0, hash, invalid(CodeSize, "%d bytes, at most %d are taken", len(b), MaxChangeSize)
	}
	head, n, err := chunkHeader(b)
	if err != nil {
		return nil, 0, hash, err
	}
	if extra := len(b) - head - n; extra > 0 {
		return nil, 0, hash, invalid(CodeChunk, "%d bytes follow the chunk", extra)
	}
	switch t := b[chunkTypeAt]; t {
	case chunkChange:
		raw = bytes.Clone(b)
	case chunkDeflated:
		if raw, head, err = inflateChange(b, b[head:]); err != nil {
			return nil, 0, hash, err
		}
	case chunkDocument, chunkBundle:
		return nil, 0, hash, invalid(CodeChunk, "a compacted chunk (type %d), not a change", t)
	default:
		return nil, 0, hash, invalid(CodeChunk, "unknown type %d", t)
	}
	hash = sha256.Sum256(raw[chunkTypeAt:])
	if string(hash[:4]) != string(raw[4:8]) {
		return nil, 0, hash, invalid(CodeChunk, "the checksum does not fit the content")
	}
	return raw, head, hash, nil
}

// inflateChange returns the uncompressed form of a deflated chunk, which is what
// its checksum and hash are of.
func inflateChange(b, deflated []byte) (raw []byte, head int, err error) {
	src := bytes.NewReader(deflated)
	inflater := flate.NewReader(src)
	var data bytes.Buffer
	_, err = io.Copy(&data, io.LimitReader(inflater, MaxChangeSize))
	if err != nil {
		return nil, 0, invalid(CodeChunk, "inflate: %v", err)
	}
	head = chunkTypeAt + 1 + ulebLen(uint64(data.Len()))
	if head+data.Len() > MaxChangeSize {
		return nil, 0, invalid(CodeSize, "inflates to more than %d bytes", MaxChangeSize)
	}
	if _, err := inflater.Read(make([]byte, 1)); !errors.Is(err, io.EOF) || src.Len() > 0 {
		return nil, 0, invalid(CodeChunk, "bytes follow the deflated data")
	}
	raw = make([]byte, 0, head+data.Len())
	raw = append(raw, b[:chunkTypeAt]...)
	raw = append(raw, chunkChange)
	raw = appendUleb(raw, uint64(data.Len()))
	return append(raw, data.Bytes()...), head, nil
}
