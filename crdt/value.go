package crdt

import "math"

// Kind is the type of a scalar, with the numbers of the binary format.
type Kind uint8

// Kinds of scalars.
const (
	KindNull    Kind = 0
	KindFalse   Kind = 1
	KindTrue    Kind = 2
	KindUint    Kind = 3
	KindInt     Kind = 4
	KindFloat   Kind = 5
	KindString  Kind = 6
	KindBytes   Kind = 7
	KindCounter Kind = 8
	KindTime    Kind = 9 // milliseconds since 1970
)

// Value is a scalar. The zero Value is null.
type Value struct {
	kind Kind
	num  uint64 // integers as two's complement, floats as IEEE 754 bits
	str  string // strings (valid UTF-8) and bytes
}

// Constructors, one a kind.

func Null() Value              { return Value{} }
func Bool(b bool) Value        { return Value{kind: KindFalse + Kind(b2u(b))} }
func Uint(n uint64) Value      { return Value{kind: KindUint, num: n} }
func Int(n int64) Value        { return Value{kind: KindInt, num: uint64(n)} }
func Float(f float64) Value    { return Value{kind: KindFloat, num: math.Float64bits(f)} }
func String(s string) Value    { return Value{kind: KindString, str: s} }
func Bytes(b []byte) Value     { return Value{kind: KindBytes, str: string(b)} }
func CounterOf(n int64) Value  { return Value{kind: KindCounter, num: uint64(n)} }
func Timestamp(ms int64) Value { return Value{kind: KindTime, num: uint64(ms)} }

// Kind returns the type.
func (v Value) Kind() Kind { return v.kind }

// Int returns the number of an int, counter or time.
func (v Value) Int() int64 { return int64(v.num) }

// Uint returns the number of a uint.
func (v Value) Uint() uint64 { return v.num }

// Float returns the number of a float.
func (v Value) Float() float64 { return math.Float64frombits(v.num) }

// Str returns the content of a string or of bytes.
func (v Value) Str() string { return v.str }

func b2u(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}
