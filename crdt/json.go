package crdt

import "fmt"

// MaxDepth bounds how deep arrays and objects nest in JSON.
const MaxDepth = 128

// Counter is a number that concurrent increments add up on.
type Counter int64

// Text is a string that is edited character by character; a plain string is
// replaced as a whole.
type Text string

// Forms that JSON has no type for: an object with exactly one of these keys. A
// map of a record that looks like one is written as {"$map": that map}, so that
// what was printed reads back as what it was.
const (
	formCounter = "$counter" // an integer
	formTime    = "$time"    // RFC 3339, or milliseconds since 1970 where that has no such year
	formBytes   = "$bytes"   // base64, padded
	formFloat   = "$float"   // "NaN", "Infinity", "-Infinity"
	formText    = "$text"    // a string
	formMap     = "$map"     // an object that is taken literally
)

func isForm(key string) bool {
	if len(key) == 0 || key[0] != '$' {
		return false
	}
	switch key {
	case formCounter, formTime, formBytes, formFloat, formText, formMap:
		return true
	}
	return false
}

// JSONError says where and why a text is not the JSON that ParseJSON reads.
type JSONError struct {
	Offset int // bytes from the beginning
	Detail string
}

func (e *JSONError) Error() string { return fmt.Sprintf("JSON at offset %d: %s", e.Offset, e.Detail) }
