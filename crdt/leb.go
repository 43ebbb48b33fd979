package crdt

import "math/bits"

// LEB128, in minimal form only: Automerge writes no other, and a change that
// holds another cannot be encoded again as it was.

// readUleb returns the number at the beginning of b and its length; length 0
// when it is cut short, beyond 64 bits or not minimal.
func readUleb(b []byte) (v uint64, n int) {
	for i := 0; i < len(b) && i < 10; i++ {
		c := b[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c >= 0x80 {
			continue
		}
		if (c == 0 && i > 0) || (i == 9 && c > 1) {
			return 0, 0
		}
		return v, i + 1
	}
	return 0, 0
}

// readSleb is readUleb for signed numbers.
func readSleb(b []byte) (v int64, n int) {
	for i := 0; i < len(b) && i < 10; i++ {
		c := b[i]
		v |= int64(c&0x7f) << (7 * i)
		if c >= 0x80 {
			continue
		}
		if i == 9 && c != 0 && c != 0x7f {
			return 0, 0
		}
		if i > 0 && ((c == 0 && b[i-1]&0x40 == 0) || (c == 0x7f && b[i-1]&0x40 != 0)) {
			return 0, 0
		}
		if c&0x40 != 0 && i < 9 {
			v |= -1 << (7 * (i + 1))
		}
		return v, i + 1
	}
	return 0, 0
}

func appendUleb(dst []byte, v uint64) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

func appendSleb(dst []byte, v int64) []byte {
	for v < -0x40 || v >= 0x40 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v)&0x7f)
}

// ulebLen returns the length appendUleb writes.
func ulebLen(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }

// slebLen returns the length appendSleb writes.
func slebLen(v int64) int {
	if v < 0 {
		v = ^v
	}
	return bits.Len64(uint64(v))/7 + 1
}
