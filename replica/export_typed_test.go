package replica

import "reflect"

// DecodeTyped reads a stored value into *v, as a collection does.
func DecodeTyped(text []byte, v any) error {
	p := reflect.ValueOf(v).Elem()
	s, err := (&Replica{}).schema(p.Type())
	if err != nil {
		return err
	}
	return s.read(string(text), p).err()
}
