package transport_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/transport"
)

func cursor(epoch uint64, lsn crdt.LSN) crdt.Cursor {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(lsn)))
	return crdt.Cursor{Epoch: epoch, LSN: lsn, Chain: crdt.Chain(sum[:16])}
}

func member(id string, data ...byte) transport.Member {
	return transport.Member{Collection: "countries", ID: id, Data: data}
}

// frames has one frame of each kind at least, fields at their extremes.
func frames() map[string]transport.Frame {
	return map[string]transport.Frame{
		"hello": &transport.Hello{
			Protocol: 1, Space: "crew", Replica: crdt.ReplicaID{1, 2}, Epoch: 1<<64 - 1,
			Log: cursor(1<<64-1, 1<<63-1), Read: cursor(9, 12), Rights: crdt.Hash{31: 1}, Requires: []string{"range"},
			Want: only(transport.Selector{Collection: "tasks", Prefix: "a-", ID: "a-1", Where: []transport.Equal{
				{Field: "status", Value: `"active"`}, {Field: "n"}}}, transport.Selector{}),
		},
		"hello of one who wants all": &transport.Hello{Protocol: 1, Space: "a", Want: transport.Everything()},
		"first hello":                &transport.Hello{Protocol: 1, Space: "a"},
		"changes": &transport.Changes{
			From: cursor(1, 1), Through: cursor(1, 4), Part: 3, More: true, End: true,
			Sets: []transport.Set{
				{Members: []transport.Member{member("is", 1), member("no", 2, 3)}},
				{Members: []transport.Member{{Collection: "ö", ID: strings.Repeat("x", 300), Data: make([]byte, 70_000)}}},
			},
		},
		"changes with empty names": &transport.Changes{Sets: []transport.Set{{Members: []transport.Member{{Data: []byte{}}}}}},
		"changes without sets":     &transport.Changes{End: true},
		"first changes":            &transport.Changes{From: cursor(1, 1), Through: cursor(1, 1), Filter: crdt.Hash{7}},
		"ack": &transport.Ack{Through: cursor(1, 2), Resend: true, Exceptions: []transport.Exception{
			{Collection: "c", ID: "1", Hash: crdt.Hash{1}, State: transport.Parked},
			{Collection: "c", ID: "2", Hash: crdt.Hash{2}, State: transport.Refused, Code: "seq", Detail: "1 is held"},
		}},
		"empty ack": &transport.Ack{},
		"ping":      &transport.Ping{Nonce: 7},
		"pong":      &transport.Pong{Nonce: 1 << 63},
		"error":     &transport.Error{Code: transport.CodeBusy, Message: "come back later"},
		"token":     &transport.Token{Bearer: "eyJh.eyJz.c2ln"},
		"presence": &transport.Presence{Notes: []transport.Note{
			{Room: "r", Replica: crdt.ReplicaID{1}, Member: 1<<64 - 1, Seq: 9, Kind: transport.NoteState, Holds: 30 * time.Second, Data: []byte(`{"x":1}`)},
			{Room: "r", Replica: crdt.ReplicaID{2}, Seq: 1, Kind: transport.NoteLeave, Data: []byte{}},
		}},
		"unequal":         &transport.Changes{End: true, Unequal: true},
		"unequal, packed": &transport.Changes{Unequal: true, Packed: []byte{1, 2}},
		"prompt":          &transport.Changes{Prompt: true},
		"prompt, packed":  &transport.Changes{Prompt: true, Packed: []byte{1, 2}},
		"loose changes":   &transport.Changes{Loose: 1<<64 - 1, Sets: []transport.Set{{Members: []transport.Member{member("is", 1)}}}},
		"ahead":           &transport.Changes{Loose: 1, Ahead: 1<<64 - 1, Reach: 1<<63 - 1, Sets: []transport.Set{{Members: []transport.Member{member("is", 1)}}}},
		"behind":          &transport.Changes{Ahead: 1, Packed: []byte{1, 2}},
		"ahead, packed":   &transport.Changes{Loose: 1, Ahead: 1, Reach: 1, Packed: []byte{1, 2}},
		"hello, first":    &transport.Hello{Want: transport.Everything(), First: []string{"orders", ""}},
		"digest": &transport.Digest{ID: 1<<64 - 1, Answer: true,
			Scopes: []transport.Scope{transport.Everything(), only(transport.Selector{Collection: "tasks"}), {}},
			Ranges: []transport.Range{
				{Prints: []transport.Print{{1}}},
				{Bits: 1, Prefix: 1 << 63, Prints: make([]transport.Print, 1<<transport.MaxFan)},
				{Bits: 63, Prefix: 1<<64 - 2, Prints: []transport.Print{{2}, {3}}},
				{Bits: 64, Prefix: 1<<64 - 1, Items: []transport.Item{{Place: 1<<64 - 1, Heads: 1<<64 - 1}, {Place: 1<<64 - 1}}},
				{Items: []transport.Item{{}, {Place: 1 << 63, Heads: 1}}},
				{Bits: 8, Prefix: 7 << 56, Items: []transport.Item{}},
			}},
		"first digest": &transport.Digest{ID: 1},
		"need": &transport.Need{ID: 1<<64 - 1, Names: true, Haves: []transport.Have{
			{Place: 1<<64 - 1},
			{Key: crdt.Key{Collection: "ö", ID: strings.Repeat("x", transport.MaxName)}, Heads: 1<<64 - 1, All: true,
				Clock: crdt.Clock{"": 0, "a": 1<<64 - 1, crdt.ActorID(bytes.Repeat([]byte{0xff}, crdt.MaxActorLen)): 1}},
		}},
		"answer to a need": &transport.Need{ID: 1, Answer: true, Loose: 1<<64 - 1, Log: 1<<63 - 1, Behind: 1<<63 - 1, Haves: []transport.Have{
			{Key: crdt.Key{Collection: "c", ID: "1"}, Place: 9, Heads: 8, Shut: true, Kept: true, Gone: true},
		}},
		"empty need": &transport.Need{ID: 1},
	}
}

func TestRoundTrip(t *testing.T) {
	codec := transport.NewCodec()
	for name, f := range frames() {
		t.Run(name, func(t *testing.T) {
			message, err := codec.Encode(f)
			require.NoError(t, err)
			again, err := codec.Encode(f)
			require.NoError(t, err)
			require.Equal(t, message, again, "encoding is deterministic")
			got, err := codec.Decode(message)
			require.NoError(t, err)
			require.Equal(t, f, got)
		})
	}
}

func TestDecodeKeepsNothing(t *testing.T) {
	codec := transport.NewCodec()
	for name, f := range frames() {
		message, err := codec.Encode(f)
		require.NoError(t, err)
		got, err := codec.Decode(message)
		require.NoError(t, err)
		clear(message)
		require.Equal(t, f, got, name)
	}
}

func TestLargestFrame(t *testing.T) {
	codec := transport.NewCodec()
	noise := make([]byte, crdt.MaxChangeSize)
	for i := range noise[:len(noise)/32] {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
		copy(noise[32*i:], sum[:])
	}
	largest := transport.Member{Collection: strings.Repeat("c", transport.MaxName), ID: strings.Repeat("i", transport.MaxName), Data: noise}
	f := &transport.Changes{From: cursor(1<<64-1, 1<<63-1), Through: cursor(1<<64-1, 1<<63-1), Part: 1<<64 - 1, More: true, End: true,
		Sets: []transport.Set{{Members: []transport.Member{largest}}}}
	fill := transport.Member{Data: noise[:transport.MaxPayload-f.Sets[0].Size()-16]}
	f.Sets[0].Members = append(f.Sets[0].Members, fill)
	require.Equal(t, transport.MaxPayload, f.Sets[0].Size())

	message, err := codec.Encode(f)
	require.NoError(t, err, "what adds up to MaxPayload fits")
	require.LessOrEqual(t, len(message), transport.MaxFrame)
	got, err := codec.Decode(message)
	require.NoError(t, err)
	require.Equal(t, f, got)
}

func ranges(r ...transport.Range) *transport.Digest { return &transport.Digest{ID: 1, Ranges: r} }

func haves(h ...transport.Have) *transport.Need { return &transport.Need{ID: 1, Haves: h} }

func actors(n uint32) crdt.Clock {
	clock := crdt.Clock{}
	for i := range n {
		clock[crdt.ActorID(binary.BigEndian.AppendUint32(nil, i))] = 1
	}
	return clock
}

func TestEncodeRefuses(t *testing.T) {
	long := strings.Repeat("x", transport.MaxText+1)
	set := func(m ...transport.Member) *transport.Changes {
		return &transport.Changes{Sets: []transport.Set{{Members: m}}}
	}
	for name, tt := range map[string]struct {
		frame transport.Frame
		want  error
	}{
		"long space":        {&transport.Hello{Space: long}, transport.ErrTooLarge},
		"not UTF-8":         {&transport.Hello{Space: "\xff"}, transport.ErrMalformed},
		"many first":        {&transport.Hello{First: make([]string, transport.MaxSelectors+1)}, transport.ErrTooLarge},
		"long first":        {&transport.Hello{First: []string{strings.Repeat("x", transport.MaxName+1)}}, transport.ErrTooLarge},
		"reach":             {&transport.Changes{Reach: -1}, transport.ErrMalformed},
		"many requires":     {&transport.Hello{Requires: make([]string, transport.MaxRequires+1)}, transport.ErrTooLarge},
		"long requires":     {&transport.Hello{Requires: []string{long}}, transport.ErrTooLarge},
		"many selectors":    {&transport.Hello{Want: only(make([]transport.Selector, transport.MaxSelectors+1)...)}, transport.ErrTooLarge},
		"many conditions":   {&transport.Hello{Want: only(transport.Selector{Where: make([]transport.Equal, transport.MaxWhere+1)})}, transport.ErrTooLarge},
		"long prefix":       {&transport.Hello{Want: only(transport.Selector{Prefix: long})}, transport.ErrTooLarge},
		"bad selector":      {&transport.Hello{Want: only(transport.Selector{ID: "\xff"})}, transport.ErrMalformed},
		"bad field":         {&transport.Hello{Want: only(transport.Selector{Where: []transport.Equal{{Field: "\xff"}}})}, transport.ErrMalformed},
		"long value":        {&transport.Hello{Want: only(transport.Selector{Where: []transport.Equal{{Value: long}}})}, transport.ErrTooLarge},
		"negative position": {&transport.Hello{Log: crdt.Cursor{LSN: -1}}, transport.ErrMalformed},
		"set of nothing":    {set(), transport.ErrMalformed},
		"long collection":   {set(transport.Member{Collection: long}), transport.ErrTooLarge},
		"long id":           {set(transport.Member{ID: long}), transport.ErrTooLarge},
		"large change":      {set(transport.Member{Data: make([]byte, crdt.MaxChangeSize+1)}), transport.ErrTooLarge},
		"large frame":       {set(member("1", make([]byte, 5<<20)...), member("2", make([]byte, 5<<20)...)), transport.ErrTooLarge},
		"many members":      {set(make([]transport.Member, transport.MaxMembers+1)...), transport.ErrTooLarge},
		"many sets":         {&transport.Changes{Sets: make([]transport.Set, transport.MaxSets+1)}, transport.ErrTooLarge},
		"many exceptions":   {&transport.Ack{Exceptions: make([]transport.Exception, transport.MaxExceptions+1)}, transport.ErrTooLarge},
		"no state":          {&transport.Ack{Exceptions: make([]transport.Exception, 1)}, transport.ErrMalformed},
		"long detail":       {&transport.Ack{Exceptions: []transport.Exception{{State: 1, Detail: long}}}, transport.ErrTooLarge},
		"long message":      {&transport.Error{Message: long}, transport.ErrTooLarge},
		"long code":         {&transport.Error{Code: long}, transport.ErrTooLarge},
		"long token":        {&transport.Token{Bearer: strings.Repeat("x", transport.MaxBearer+1)}, transport.ErrTooLarge},
		"no token":          {&transport.Token{}, transport.ErrMalformed},
		"no room":           {&transport.Presence{Notes: []transport.Note{{Seq: 1, Kind: transport.NoteState}}}, transport.ErrMalformed},
		"no number":         {&transport.Presence{Notes: []transport.Note{{Room: "r", Kind: transport.NoteState}}}, transport.ErrMalformed},
		"odd note":          {&transport.Presence{Notes: []transport.Note{{Room: "r", Seq: 1, Kind: 4}}}, transport.ErrMalformed},
		"for too long":      {&transport.Presence{Notes: []transport.Note{{Room: "r", Seq: 1, Kind: 1, Holds: time.Hour}}}, transport.ErrTooLarge},
		"long note":         {&transport.Presence{Notes: []transport.Note{{Room: "r", Seq: 1, Kind: 1, Data: make([]byte, transport.MaxNote+1)}}}, transport.ErrTooLarge},
		"many notes":        {&transport.Presence{Notes: make([]transport.Note, transport.MaxNotes+1)}, transport.ErrTooLarge},
		"digest of nothing": {&transport.Digest{}, transport.ErrMalformed},
		"many ranges":       {&transport.Digest{ID: 1, Ranges: make([]transport.Range, transport.MaxRanges+1)}, transport.ErrTooLarge},
		"many scopes":       {&transport.Digest{ID: 1, Scopes: make([]transport.Scope, transport.MaxScopes+1)}, transport.ErrTooLarge},
		"bad scope":         {&transport.Digest{ID: 1, Scopes: []transport.Scope{only(transport.Selector{ID: "\xff"})}}, transport.ErrMalformed},
		"deep range":        {ranges(transport.Range{Bits: 65}), transport.ErrMalformed},
		"bits below":        {ranges(transport.Range{Bits: 8, Prefix: 1}), transport.ErrMalformed},
		"three prints":      {ranges(transport.Range{Prints: make([]transport.Print, 3)}), transport.ErrMalformed},
		"many prints":       {ranges(transport.Range{Prints: make([]transport.Print, 2<<transport.MaxFan)}), transport.ErrMalformed},
		"prints too deep":   {ranges(transport.Range{Bits: 63, Prints: make([]transport.Print, 4)}), transport.ErrMalformed},
		"prints and items":  {ranges(transport.Range{Prints: make([]transport.Print, 1), Items: []transport.Item{{}}}), transport.ErrMalformed},
		"item outside":      {ranges(transport.Range{Bits: 1, Items: []transport.Item{{Place: 1 << 63}}}), transport.ErrMalformed},
		"items in no order": {ranges(transport.Range{Items: []transport.Item{{Place: 2}, {Place: 1}}}), transport.ErrMalformed},
		"large digest":      {ranges(transport.Range{Items: make([]transport.Item, transport.MaxDigest/16)}), transport.ErrTooLarge},
		"need of nothing":   {&transport.Need{}, transport.ErrMalformed},
		"log before itself": {&transport.Need{ID: 1, Log: -1}, transport.ErrMalformed},
		"behind nothing":    {&transport.Need{ID: 1, Behind: -1}, transport.ErrMalformed},
		"many records":      {&transport.Need{ID: 1, Haves: make([]transport.Have, transport.MaxHaves+1)}, transport.ErrTooLarge},
		"long name":         {haves(transport.Have{Key: crdt.Key{ID: long}}), transport.ErrTooLarge},
		"bad name":          {haves(transport.Have{Key: crdt.Key{Collection: "\xff"}}), transport.ErrMalformed},
		"long actor":        {haves(transport.Have{Clock: crdt.Clock{crdt.ActorID(long): 1}}), transport.ErrTooLarge},
		"many actors":       {haves(transport.Have{Clock: actors(transport.MaxActors)}, transport.Have{Clock: actors(1)}), transport.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := transport.NewCodec().Encode(tt.frame)
			require.ErrorIs(t, err, tt.want)
		})
	}
}

func pack(t *testing.T, kind transport.Kind, body []byte, opts ...zstd.EOption) []byte {
	w, err := zstd.NewWriter(nil, opts...)
	require.NoError(t, err)
	defer w.Close()
	return w.EncodeAll(body, []byte{byte(kind), 1})
}

func TestDecodeRefuses(t *testing.T) {
	changes := func(sets ...byte) []byte { return append([]byte{byte(transport.KindChanges), 0, 0xa0}, sets...) }
	hello := func(cbor ...byte) []byte { return append([]byte{byte(transport.KindHello), 0}, cbor...) }
	digest := func(cbor ...byte) []byte {
		return append([]byte{byte(transport.KindDigest), 0, 0xa2, 1, 1, 4, 0x81, 0x84}, cbor...)
	}
	clock := func(cbor ...byte) []byte { // one record with it
		have := append([]byte{0x88, 0x60, 0x60, 0, 0, byte(0x40 + len(cbor))}, cbor...)
		return append(append([]byte{byte(transport.KindNeed), 0, 0xa2, 1, 1, 5, 0x81}, have...), 0xf4, 0xf4, 0xf4)
	}
	streamed := new(bytes.Buffer)
	streamed.Write([]byte{byte(transport.KindChanges), 1})
	w, err := zstd.NewWriter(streamed)
	require.NoError(t, err)
	_, err = w.Write(make([]byte, 10<<20)) // more than one block, so that no size is known
	require.NoError(t, err)
	require.NoError(t, w.Close())

	for name, tt := range map[string]struct {
		message []byte
		want    error
	}{
		"nothing":                  {nil, transport.ErrMalformed},
		"kind only":                {[]byte{1}, transport.ErrMalformed},
		"kind 0":                   {[]byte{0, 0, 0xa0}, transport.ErrUnknownFrame},
		"kind of the future":       {[]byte{99, 0, 0xa0}, transport.ErrUnknownFrame},
		"unknown compression":      {[]byte{1, 2, 0xa0}, transport.ErrMalformed},
		"not zstd":                 {[]byte{1, 1, 0xa0}, transport.ErrMalformed},
		"empty body":               {hello(), transport.ErrMalformed},
		"not a map":                {hello(0x01), transport.ErrMalformed},
		"trailing bytes":           {hello(0xa0, 0xa0), transport.ErrMalformed},
		"duplicate key":            {hello(0xa2, 1, 1, 1, 1), transport.ErrMalformed},
		"wrong type":               {hello(0xa1, 1, 0x61, 'x'), transport.ErrMalformed},
		"short replica":            {hello(0xa1, 3, 0x41, 1), transport.ErrMalformed},
		"text not UTF-8":           {hello(0xa1, 2, 0x61, 0xff), transport.ErrMalformed},
		"tag":                      {hello(0xa1, 1, 0xc1, 1), transport.ErrMalformed},
		"indefinite length":        {hello(0xbf, 0xff), transport.ErrMalformed},
		"deep nesting":             {hello(append(append([]byte{0xa1, 0x18, 99}, bytes.Repeat([]byte{0x81}, 1000)...), 0)...), transport.ErrMalformed},
		"cursor of two":            {hello(0xa1, 5, 0x82, 1, 1), transport.ErrMalformed},
		"large hello":              {hello(make([]byte, transport.MaxSmallFrame)...), transport.ErrTooLarge},
		"sets missing":             {changes(), transport.ErrMalformed},
		"sets not an array":        {changes(0xa0), transport.ErrMalformed},
		"sets null":                {changes(0xf6), transport.ErrMalformed},
		"sets of unknown count":    {changes(0x9f, 0xff), transport.ErrMalformed},
		"more sets than bytes":     {changes(0x99, 0xff, 0xff), transport.ErrMalformed},
		"2^64-1 sets":              {changes(0x9b, 255, 255, 255, 255, 255, 255, 255, 255), transport.ErrTooLarge},
		"cut head":                 {changes(0x9a, 0, 0), transport.ErrMalformed},
		"empty set":                {changes(0x81, 0x80), transport.ErrMalformed},
		"member null":              {changes(0x81, 0x81, 0xf6), transport.ErrMalformed},
		"member of two":            {changes(0x81, 0x81, 0x82, 0x60, 0x60), transport.ErrMalformed},
		"member of four":           {changes(0x81, 0x81, 0x84, 0x60, 0x60, 0x40, 0x40), transport.ErrTooLarge},
		"data beyond the end":      {changes(0x81, 0x81, 0x83, 0x60, 0x60, 0x5a, 255, 255, 255, 255), transport.ErrMalformed},
		"collection not UTF-8":     {changes(0x81, 0x81, 0x83, 0x61, 0xff, 0x60, 0x40), transport.ErrMalformed},
		"bytes after the sets":     {changes(0x80, 0), transport.ErrMalformed},
		"too long":                 {make([]byte, transport.MaxFrame+1), transport.ErrUnknownFrame},
		"changes too long":         {append([]byte{2}, make([]byte, transport.MaxFrame)...), transport.ErrTooLarge},
		"bomb":                     {pack(t, transport.KindChanges, make([]byte, transport.MaxFrame)), transport.ErrTooLarge},
		"bomb in a small kind":     {pack(t, transport.KindPing, make([]byte, transport.MaxSmallFrame)), transport.ErrTooLarge},
		"size not told":            {streamed.Bytes(), transport.ErrMalformed},
		"two zstd frames":          {append(pack(t, transport.KindPing, []byte{0xa0}), pack(t, 0, make([]byte, 1000))[2:]...), transport.ErrMalformed},
		"zstd dictionary":          {pack(t, transport.KindPing, []byte{0xa1, 1, 1}, zstd.WithEncoderDictRaw(7, make([]byte, 64))), transport.ErrMalformed},
		"exceptions without state": {[]byte{3, 0, 0xa1, 3, 0x81, 0xf6}, transport.ErrMalformed},
		"digest of nothing":        {[]byte{7, 0, 0xa0}, transport.ErrMalformed},
		"range of 65 bits":         {digest(0x18, 65, 0, 0xf5, 0x40), transport.ErrMalformed},
		"prefix beyond its bits":   {digest(1, 2, 0xf5, 0x40), transport.ErrMalformed},
		"prefix of no bits":        {digest(0, 1, 0xf5, 0x40), transport.ErrMalformed},
		"no prints":                {digest(0, 0, 0xf4, 0x40), transport.ErrMalformed},
		"half a print":             {digest(0, 0, 0xf4, 0x41, 1), transport.ErrMalformed},
		"half an item":             {digest(0, 0, 0xf5, 0x41, 1), transport.ErrMalformed},
		"three prints":             {digest(append([]byte{0, 0, 0xf4, 0x58, 48}, make([]byte, 48)...)...), transport.ErrMalformed},
		"an item elsewhere":        {digest(append([]byte{1, 1, 0xf5, 0x50}, make([]byte, 16)...)...), transport.ErrMalformed},
		"2^32-1 bytes of items":    {digest(0, 0, 0xf5, 0x5a, 255, 255, 255, 255), transport.ErrMalformed},
		"nine scopes":              {append([]byte{7, 0, 0xa2, 1, 1, 3, 0x89}, bytes.Repeat([]byte{0xf6}, 9)...), transport.ErrTooLarge},
		"bomb in a digest":         {pack(t, transport.KindDigest, make([]byte, transport.MaxDigest)), transport.ErrTooLarge},
		"need of nothing":          {[]byte{8, 0, 0xa0}, transport.ErrMalformed},
		"log beyond all":           {[]byte{8, 0, 0xa2, 1, 1, 6, 0x1b, 128, 0, 0, 0, 0, 0, 0, 0}, transport.ErrMalformed},
		"actor beyond the clock":   {clock(2, 'a'), transport.ErrMalformed},
		"actor of 2^63 bytes":      {clock(255, 255, 255, 255, 255, 255, 255, 255, 255, 1), transport.ErrMalformed},
		"actor without a number":   {clock(1, 'a'), transport.ErrMalformed},
		"number of 11 bytes":       {clock(append([]byte{1, 'a'}, bytes.Repeat([]byte{255}, 11)...)...), transport.ErrMalformed},
		"actor twice":              {clock(1, 'a', 1, 1, 'a', 2), transport.ErrMalformed},
		"actors in no order":       {clock(1, 'b', 1, 1, 'a', 2), transport.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := transport.NewCodec().Decode(tt.message)
			require.ErrorIs(t, err, tt.want)
			require.Nil(t, f)
			t.Log(err)
		})
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	got, err := transport.NewCodec().Decode([]byte{byte(transport.KindPing), 0, 0xa3, 1, 5, 0x18, 99, 0x82, 0xa0, 0x60, 0x61, 'k', 1})
	require.NoError(t, err)
	require.Equal(t, &transport.Ping{Nonce: 5}, got)
}

// A frame that claims as much as it may, in as few bytes as it can, must not
// take more memory than a few times the bound of a frame.
func TestHostileFramesAllocateLittle(t *testing.T) {
	null := bytes.Repeat([]byte{0xf6}, transport.MaxExceptions)
	members := bytes.Repeat([]byte{0x83, 0x60, 0x60, 0x40}, transport.MaxMembers)
	sets := bytes.Repeat([]byte{0x81, 0x83, 0x60, 0x60, 0x40}, transport.MaxSets)
	for name, message := range map[string][]byte{
		"members": pack(t, transport.KindChanges, append([]byte{0xa0, 0x81, 0x9a, 0, 2, 0, 0}, members...)),
		"sets":    pack(t, transport.KindChanges, append([]byte{0xa0, 0x9a, 0, 1, 0, 0}, sets...)),
		"ack":     pack(t, transport.KindAck, append([]byte{0xa1, 3, 0x99, 0x40, 0}, null...)),
		"hello":   pack(t, transport.KindHello, append([]byte{0xa1, 8, 0x99, 0x40, 0}, null...)),
		"digest":  pack(t, transport.KindDigest, append([]byte{0xa2, 1, 1, 4, 0x99, 0x40, 0}, null...)),
		"need":    pack(t, transport.KindNeed, append([]byte{0xa2, 1, 1, 5, 0x99, 0x40, 0}, null...)),
		"clocks":  pack(t, transport.KindNeed, hostileClocks()),
		"size":    {2, 1, 0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0x8f, 0, 1, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			codec := transport.NewCodec()
			_, _ = codec.Decode(pack(t, transport.KindPing, []byte{0xa0})) // makes the tables
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := codec.Decode(message)
			runtime.ReadMemStats(&after)
			took := after.TotalAlloc - before.TotalAlloc
			t.Logf("%d bytes took %d: %v", len(message), took, err)
			require.Less(t, took, uint64(3*transport.MaxFrame))
		})
	}
}

// hostileClocks is the body of a Need whose clocks hold as many actors as there is room
// for bytes, each clock in its order.
func hostileClocks() []byte {
	var clock []byte
	for i := range 1 << 16 {
		clock = append(clock, 2, byte(i>>8), byte(i), 0)
	}
	body := append([]byte{0xa2, 1, 1, 5}, 0x80+15)
	for range 15 {
		body = append(body, 0x88, 0x60, 0x60, 0, 0)
		body = append(binary.BigEndian.AppendUint32(append(body, 0x5a), uint32(len(clock))), clock...)
		body = append(body, 0xf4, 0xf4, 0xf4)
	}
	return body
}
