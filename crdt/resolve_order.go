package crdt

import (
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"
)

// Ranks of types, for max and min.
const (
	rankNull = iota
	rankBool
	rankNumber
	rankTime
	rankString
	rankBytes
	rankList
	rankMap
)

func rank(v any) int {
	switch v.(type) {
	case bool:
		return rankBool
	case int64, uint64, float64, Counter:
		return rankNumber
	case time.Time:
		return rankTime
	case string, Text:
		return rankString
	case []byte:
		return rankBytes
	case []any:
		return rankList
	case map[string]any:
		return rankMap
	}
	return rankNull
}

func timeOf(v any) time.Time { return v.(time.Time) }

func stringOf(v any) string {
	if t, ok := v.(Text); ok {
		return string(t)
	}
	return v.(string)
}

// compareNumbers compares exactly, whatever the types.
func compareNumbers(a, b any) int {
	x, y := exact(a), exact(b)
	switch {
	case x == nil && y == nil:
		return 0
	case x == nil:
		return -1
	case y == nil:
		return 1
	}
	return x.Cmp(y)
}

// exact returns a number without loss, nil for NaN.
func exact(v any) *big.Float {
	switch v := v.(type) {
	case int64:
		return new(big.Float).SetInt64(v)
	case uint64:
		return new(big.Float).SetUint64(v)
	case Counter:
		return new(big.Float).SetInt64(int64(v))
	case float64:
		if math.IsNaN(v) {
			return nil
		}
		return new(big.Float).SetFloat64(v)
	}
	return nil
}

func compareMaps(a, b map[string]any) int {
	keysA, keysB := slices.Sorted(maps.Keys(a)), slices.Sorted(maps.Keys(b))
	for i := range min(len(keysA), len(keysB)) {
		if c := strings.Compare(keysA[i], keysB[i]); c != 0 {
			return c
		}
		if c := compareValues(a[keysA[i]], b[keysB[i]]); c != 0 {
			return c
		}
	}
	return len(keysA) - len(keysB)
}
