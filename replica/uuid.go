package replica

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"sync"
	"time"
)

// uuids makes UUIDs of version 7 (RFC 9562, section 5.7): 48 bits of milliseconds, then
// a count within the millisecond in place of the first 12 random bits (section 6.2,
// method 1), so that those of one replica ascend also when they are made at once or the
// clock goes back.
type uuids struct {
	mu   sync.Mutex // guards last
	last uint64     // milliseconds, shifted by 12, and the count
}

func (u *uuids) next(now time.Time) string {
	var b [16]byte
	rand.Read(b[8:]) // never fails
	u.mu.Lock()
	u.last = max(u.last+1, uint64(now.UnixMilli())<<12)
	stamp := u.last
	u.mu.Unlock()
	binary.BigEndian.PutUint64(b[:], stamp>>12<<16|7<<12|stamp&0xfff)
	b[8] = b[8]&0x3f | 0x80
	s := make([]byte, 36)
	for i, part := range [][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
		at := [...]int{0, 9, 14, 19, 24}[i]
		hex.Encode(s[at:], part)
		if i > 0 {
			s[at-1] = '-'
		}
	}
	return string(s)
}
