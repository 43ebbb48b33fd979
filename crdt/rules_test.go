package crdt_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/godwitdb/godwit/crdt"
)

// What no Automerge writes is refused, each for its reason.
func TestOperationRules(t *testing.T) {
	const author, other = crdt.ActorID("mmmm"), crdt.ActorID("aaaa")
	alone, both := []crdt.ActorID{author}, []crdt.ActorID{author, other}
	mine, theirs := crdt.Ref{Actor: 0, Counter: 5}, crdt.Ref{Actor: 1, Counter: 5}
	set := crdt.Op{Key: "k", InMap: true, Action: crdt.Set, Value: crdt.Int(1)}
	with := func(op crdt.Op, edit func(*crdt.Op)) crdt.Op {
		edit(&op)
		return op
	}
	char := crdt.Op{Obj: mine, Insert: true, Action: crdt.Set, Value: crdt.String("x")}
	begin := crdt.Op{Obj: mine, Elem: mine, Insert: true, Action: crdt.Mark, MarkName: "bold", Value: crdt.Bool(true), Expand: true}
	end := with(begin, func(o *crdt.Op) { o.MarkName, o.Value = "", crdt.Null() })

	for name, test := range map[string]struct {
		code   string // "" for good ones
		actors []crdt.ActorID
		ops    []crdt.Op
	}{
		"set":                    {"", alone, []crdt.Op{set}},
		"char":                   {"", alone, []crdt.Op{char}},
		"marked":                 {"", alone, []crdt.Op{begin, end, char}},
		"preds":                  {"", both, []crdt.Op{with(set, func(o *crdt.Op) { o.Pred = []crdt.Ref{theirs, mine} })}},
		"two actors, one unused": {crdt.CodeActors, both, []crdt.Op{set}},
		"actor without bytes":    {crdt.CodeActors, []crdt.ActorID{""}, []crdt.Op{set}},
		"long actor":             {crdt.CodeActors, []crdt.ActorID{crdt.ActorID(strings.Repeat("a", 129))}, []crdt.Op{set}},
		"actors unsorted": {crdt.CodeActors, []crdt.ActorID{"m", "b", "a"}, []crdt.Op{with(set, func(o *crdt.Op) {
			o.Obj, o.Pred = theirs, []crdt.Ref{{Actor: 2, Counter: 5}}
		})}},
		"author twice":         {crdt.CodeActors, []crdt.ActorID{"m", "m"}, []crdt.Op{with(set, func(o *crdt.Op) { o.Obj = theirs })}},
		"actor unknown":        {crdt.CodeActors, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Obj = theirs })}},
		"preds descend":        {crdt.CodeEncoding, both, []crdt.Op{with(set, func(o *crdt.Op) { o.Pred = []crdt.Ref{mine, theirs} })}},
		"pred twice":           {crdt.CodeEncoding, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Pred = []crdt.Ref{mine, mine} })}},
		"pred is itself":       {crdt.CodeReference, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Pred = []crdt.Ref{{Counter: 10}} })}},
		"pred is zero":         {crdt.CodeReference, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Pred = []crdt.Ref{{}} })}},
		"another's later":      {crdt.CodeReference, both, []crdt.Op{set, with(set, func(o *crdt.Op) { o.Obj = crdt.Ref{Actor: 1, Counter: 10} })}},
		"object is later":      {crdt.CodeReference, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Obj.Counter = 11 })}},
		"element is later":     {crdt.CodeReference, alone, []crdt.Op{with(char, func(o *crdt.Op) { o.Elem.Counter = 11 })}},
		"insert into a map":    {crdt.CodeOperation, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Insert = true })}},
		"insert over":          {crdt.CodeOperation, alone, []crdt.Op{with(char, func(o *crdt.Op) { o.Pred = []crdt.Ref{mine} })}},
		"set the head":         {crdt.CodeOperation, alone, []crdt.Op{with(char, func(o *crdt.Op) { o.Insert = false })}},
		"table":                {crdt.CodeOperation, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Action = crdt.MakeTable; o.Value = crdt.Null() })}},
		"action 8":             {crdt.CodeOperation, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Action = 8 })}},
		"make with a value":    {crdt.CodeOperation, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Action = crdt.MakeList })}},
		"delete with a value":  {crdt.CodeOperation, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Action = crdt.Del; o.Pred = []crdt.Ref{mine} })}},
		"delete nothing":       {crdt.CodeOperation, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Action = crdt.Del; o.Value = crdt.Null() })}},
		"increment nothing":    {crdt.CodeOperation, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Action = crdt.Increment })}},
		"increment by a float": {crdt.CodeOperation, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Action = crdt.Increment; o.Value = crdt.Float(1); o.Pred = []crdt.Ref{mine} })}},
		"invalid UTF-8 value":  {crdt.CodeValue, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Value = crdt.String("\xff") })}},
		"invalid UTF-8 key":    {crdt.CodeEncoding, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Key = "\xff" })}},
		"expand without mark":  {crdt.CodeOperation, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.Expand = true })}},
		"name without mark":    {crdt.CodeOperation, alone, []crdt.Op{with(set, func(o *crdt.Op) { o.MarkName = "x" })}},
		"mark without end":     {crdt.CodeOperation, alone, []crdt.Op{begin}},
		"end without mark":     {crdt.CodeOperation, alone, []crdt.Op{end}},
		"begin, begin":         {crdt.CodeOperation, alone, []crdt.Op{begin, begin, end}},
		"begin, char, end":     {crdt.CodeOperation, alone, []crdt.Op{begin, char, end}},
		"ends elsewhere":       {crdt.CodeOperation, alone, []crdt.Op{begin, with(end, func(o *crdt.Op) { o.Obj.Counter = 6 })}},
		"end with a value":     {crdt.CodeOperation, alone, []crdt.Op{begin, with(end, func(o *crdt.Op) { o.Value = crdt.Bool(true) })}},
		"mark in a map":        {crdt.CodeOperation, alone, []crdt.Op{with(begin, func(o *crdt.Op) { o.InMap, o.Insert, o.Elem = true, false, crdt.Ref{} }), end}},
		"mark not inserted":    {crdt.CodeOperation, alone, []crdt.Op{with(begin, func(o *crdt.Op) { o.Insert = false }), end}},
	} {
		raw, err := crdt.EncodeOps(test.actors, 10, test.ops...)
		require.NoError(t, err, name)
		if test.code != "" {
			requireCode(t, test.code, raw, name)
			continue
		}
		c, err := crdt.ParseChange(raw)
		require.NoError(t, err, name)
		require.Equal(t, test.ops, c.Ops(), name)
	}
}

// columns are the specifications and contents of a change of one operation.
type columns map[byte]string

// chunk assembles a change of actor "me" by hand.
func (cs columns) chunk() []byte {
	data := []byte("\x00\x02me\x01\x01\x00\x00\x00")
	data = append(data, byte(len(cs)))
	var body []byte
	for spec := range 256 {
		if col, ok := cs[byte(spec)]; ok {
			data = append(data, byte(spec))
			if spec >= 0x80 {
				data = append(data, 1)
			}
			data = append(data, byte(len(col)))
			body = append(body, col...)
		}
	}
	return seal(append(data, body...))
}

func TestColumnsHaveOneEncoding(t *testing.T) {
	// Four nulls put at the keys a, b, b, c of the root.
	good := columns{
		0x15: "\x7f\x01a\x02\x01b\x7f\x01c", 0x34: "\x04", 0x42: "\x04\x01", 0x56: "\x04\x00", 0x70: "\x04\x00",
	}
	_, err := crdt.ParseChange(good.chunk())
	require.NoError(t, err)
	require.True(t, requireCanonical(t, good.chunk()))
	// The same, the last of them in an object that the first one made.
	nested := columns{
		0x01: "\x00\x03\x7f\x00", 0x02: "\x00\x03\x7f\x01", 0x15: good[0x15], 0x34: "\x04", 0x42: "\x7f\x00\x03\x01",
		0x56: "\x04\x00", 0x70: "\x04\x00",
	}
	require.True(t, requireCanonical(t, nested.chunk()))
	nested[0x01] = "\x00\x01\x00\x02\x7f\x00"
	requireCode(t, crdt.CodeEncoding, nested.chunk(), "two runs of nulls before a value")

	for name, edit := range map[string]columns{
		"literal that is a run":         {0x15: "\x7c\x01a\x01b\x01b\x01c"},
		"run of one":                    {0x15: "\x01\x01a\x02\x01b\x7f\x01c"},
		"two literals":                  {0x15: "\x7f\x01a\x7f\x01x\x02\x01b"},
		"two runs of the same":          {0x15: "\x02\x01b\x02\x01b"},
		"literal ends as the run":       {0x15: "\x7e\x01a\x01b\x02\x01b"},
		"literal begins as the run":     {0x15: "\x02\x01b\x7e\x01b\x01c"},
		"too few":                       {0x15: "\x7f\x01a\x02\x01b"},
		"too many":                      {0x15: "\x7f\x01a\x02\x01b\x7e\x01c\x01d"},
		"run of many":                   {0x15: "\xff\xff\xff\xff\x0f\x01b"},
		"run of most":                   {0x15: "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x7f"},
		"string too long":               {0x15: "\x7f\xff\xff\x03a"},
		"run length not minimal":        {0x15: "\xff\x7f\x01a\x02\x01b\x7f\x01c"},
		"nothing but nulls":             {0x01: "\x00\x04", 0x02: "\x00\x04"},
		"two runs of nulls":             {0xa5: "\x00\x01\x00\x03"},
		"no nulls":                      {0x15: "\x7f\x01a\x02\x01b\x00\x00\x7f\x01c"},
		"insert too short":              {0x34: "\x03"},
		"insert too long":               {0x34: "\x04\x01"},
		"insert with an empty run":      {0x34: "\x02\x00\x02"},
		"insert ends with nothing":      {0x34: "\x04\x00"},
		"action null":                   {0x42: "\x03\x01\x00\x01"},
		"action count":                  {0x42: "\x03\x01"},
		"meta count":                    {0x56: "\x05\x00"},
		"predecessor count":             {0x70: "\x05\x00"},
		"predecessors not there":        {0x70: "\x04\x01"},
		"predecessors not counted":      {0x71: "\x7f\x00", 0x73: "\x7f\x01"},
		"a million predecessors":        {0x70: "\x04\x80\x80\x80\x01"},
		"value too short":               {0x56: "\x04\x16"},
		"value not counted":             {0x57: "x"},
		"an object actor only":          {0x01: "\x04\x00"},
		"an object counter only":        {0x02: "\x04\x01"},
		"key and element":               {0x11: "\x04\x00", 0x13: "\x7f\x01\x03\x00"},
		"key and head":                  {0x13: "\x04\x00"},
		"expand all false":              {0x94: "\x04"},
		"expand begins and ends":        {0x94: "\x00"},
		"unknown column":                {0x61: "\x04\x00"},
		"deflated column":               {0x1d: "\x7f\x01a\x02\x01b\x7f\x01c"},
		"null with bytes":               {0x56: "\x04\x10", 0x57: "xxxx"},
		"uint not minimal":              {0x56: "\x7f\x23\x03\x00", 0x57: "\x81\x00"},
		"int not minimal":               {0x56: "\x7f\x24\x03\x00", 0x57: "\x81\x00"},
		"int shorter than announced":    {0x56: "\x7f\x24\x03\x00", 0x57: "\x01\x00"},
		"int cut":                       {0x56: "\x7f\x14\x03\x00", 0x57: "\x80"},
		"float of seven bytes":          {0x56: "\x7f\xf5\x00\x03\x00", 0x57: "1234567"},
		"value type 10":                 {0x56: "\x7f\x0a\x03\x00"},
		"value type 15":                 {0x56: "\x7f\x0f\x03\x00"},
		"counter falls below zero":      {0x01: "\x04\x00", 0x02: "\x04\x01", 0x73: "\x7f\x7f", 0x71: "\x7f\x00", 0x70: "\x7f\x01\x03\x00"},
		"a mark's name that is nothing": {0xa5: "\x04\x00"},
	} {
		bad := columns{}
		for spec, col := range good {
			bad[spec] = col
		}
		for spec, col := range edit {
			bad[spec] = col
		}
		_, err := crdt.ParseChange(bad.chunk())
		var invalid *crdt.InvalidError
		require.ErrorAs(t, err, &invalid, name)
	}
	for spec := range good {
		bad := columns{}
		for s, col := range good {
			if s != spec {
				bad[s] = col
			}
		}
		_, err := crdt.ParseChange(bad.chunk())
		require.Error(t, err, "without column %#x", spec)
	}
	require.True(t, requireCanonical(t, columns{}.chunk()), "a change without operations")
}

func TestHeaderRules(t *testing.T) {
	zero, one := strings.Repeat("\x00", 32), strings.Repeat("\x01", 32)
	for name, test := range map[string]struct{ code, data string }{
		"good":              {"", "\x02" + zero + one + "\x02me\x01\x01\x00\x02hi\x00\x00extra"},
		"most time":         {"", "\x00\x02me\x01\x01\xff\xff\xff\xff\xff\xff\xff\x0f\x00\x00\x00"},
		"least time":        {"", "\x00\x02me\x01\x01\x81\x80\x80\x80\x80\x80\x80\x70\x00\x00\x00"},
		"time too large":    {crdt.CodeEncoding, "\x00\x02me\x01\x01\x80\x80\x80\x80\x80\x80\x80\x10\x00\x00\x00"},
		"time too small":    {crdt.CodeEncoding, "\x00\x02me\x01\x01\x80\x80\x80\x80\x80\x80\x80\x70\x00\x00\x00"},
		"deps descend":      {crdt.CodeEncoding, "\x02" + one + zero + "\x02me\x01\x01\x00\x00\x00\x00"},
		"dep twice":         {crdt.CodeEncoding, "\x02" + one + one + "\x02me\x01\x01\x00\x00\x00\x00"},
		"deps cut":          {crdt.CodeEncoding, "\x03" + zero + one + "\x02me\x01\x01\x00\x00\x00\x00"},
		"too many deps":     {crdt.CodeSize, "\x81\x20\x02me\x01\x01\x00\x00\x00\x00"},
		"too many actors":   {crdt.CodeSize, "\x00\x02me\x01\x01\x00\x00\x80\x20\x00"},
		"actors cut":        {crdt.CodeEncoding, "\x00\x02me\x01\x01\x00\x00\x05\x01"},
		"sequence 0":        {crdt.CodeSequence, "\x00\x02me\x00\x01\x00\x00\x00\x00"},
		"start op 0":        {crdt.CodeSequence, "\x00\x02me\x01\x00\x00\x00\x00\x00"},
		"start op 2^31":     {crdt.CodeSequence, "\x00\x02me\x01\x80\x80\x80\x80\x08\x00\x00\x00\x00"},
		"not minimal":       {crdt.CodeEncoding, "\x00\x02me\x81\x00\x01\x00\x00\x00\x00"},
		"message not UTF-8": {crdt.CodeEncoding, "\x00\x02me\x01\x01\x00\x01\xff\x00\x00"},
		"nothing":           {crdt.CodeEncoding, ""},
		"columns cut":       {crdt.CodeEncoding, "\x00\x02me\x01\x01\x00\x00\x00"},
		"many columns":      {crdt.CodeEncoding, "\x00\x02me\x01\x01\x00\x00\x00\x7f\x01\x01"},
		"empty column":      {crdt.CodeEncoding, "\x00\x02me\x01\x01\x00\x00\x00\x01\x34\x00"},
		"column twice":      {crdt.CodeEncoding, "\x00\x02me\x01\x01\x00\x00\x00\x02\x34\x01\x34\x01\x01\x01"},
		"columns descend":   {crdt.CodeEncoding, "\x00\x02me\x01\x01\x00\x00\x00\x02\x42\x02\x34\x01\x01\x01\x01"},
		"no operations":     {crdt.CodeEncoding, "\x00\x02me\x01\x01\x00\x00\x00\x01\x94\x01\x01\x01"},
		"unused actor":      {crdt.CodeActors, "\x00\x02me\x01\x01\x00\x00\x01\x01x\x00"},
	} {
		if test.code == "" {
			require.True(t, requireCanonical(t, seal([]byte(test.data))), name)
			continue
		}
		requireCode(t, test.code, seal([]byte(test.data)), name)
	}
}

// Few bytes may stand for many operations, but not for more than the bound.
func TestOperationBound(t *testing.T) {
	runs := func(n string) []byte {
		return columns{0x15: n + "\x01k", 0x34: strings.TrimRight(n, "\x00"), 0x42: n + "\x01", 0x56: n + "\x00", 0x70: n + "\x00"}.chunk()
	}
	c, err := crdt.ParseChange(runs("\xff\xff\x03"))
	require.NoError(t, err)
	require.Len(t, c.Ops(), 0xffff)
	require.EqualValues(t, 0xffff, c.MaxOp())
	requireCode(t, crdt.CodeEncoding, runs("\x81\x80\xc0\x00"), "2^20+1")
	requireCode(t, crdt.CodeEncoding, runs("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00"), "2^63-1")
	_, err = crdt.EncodeOps([]crdt.ActorID{"me"}, crdt.MaxCounter-1, slices.Repeat([]crdt.Op{{}}, 2)...)
	require.Error(t, err)
}
