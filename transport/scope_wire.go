package transport

// wireScope is nil for everything.
type wireScope struct {
	Only []wireSelector `cbor:"1,keyasint,omitempty"`
}

type wireSelector struct {
	Collection string      `cbor:"1,keyasint,omitempty"`
	Prefix     string      `cbor:"2,keyasint,omitempty"`
	Where      []wireEqual `cbor:"3,keyasint,omitempty"`
	ID         string      `cbor:"4,keyasint,omitempty"`
}

type wireEqual struct {
	_     struct{} `cbor:",toarray"`
	Field string
	Value string
}

func (s Scope) check() error {
	if s.All {
		return nil
	}
	if err := checkCount("selectors", len(s.Only), MaxSelectors); err != nil {
		return err
	}
	for i := range s.Only {
		sel := &s.Only[i]
		if err := firstError(checkText("collection", sel.Collection, MaxName), checkText("prefix", sel.Prefix, MaxName),
			checkText("id", sel.ID, MaxName), checkCount("conditions", len(sel.Where), MaxWhere)); err != nil {
			return err
		}
		for _, w := range sel.Where {
			if err := firstError(checkText("field", w.Field, MaxName), checkText("value", w.Value, MaxName)); err != nil {
				return err
			}
		}
	}
	return nil
}

func scopeToWire(s Scope) *wireScope {
	if s.All {
		return nil
	}
	w := &wireScope{}
	for i := range s.Only {
		sel := wireSelector{Collection: s.Only[i].Collection, Prefix: s.Only[i].Prefix, ID: s.Only[i].ID}
		for _, e := range s.Only[i].Where {
			sel.Where = append(sel.Where, wireEqual{Field: e.Field, Value: e.Value})
		}
		w.Only = append(w.Only, sel)
	}
	return w
}

func (w *wireScope) scope() Scope {
	if w == nil {
		return Everything()
	}
	var s Scope
	for i := range w.Only {
		sel := Selector{Collection: w.Only[i].Collection, Prefix: w.Only[i].Prefix, ID: w.Only[i].ID}
		for _, e := range w.Only[i].Where {
			sel.Where = append(sel.Where, Equal{Field: e.Field, Value: e.Value})
		}
		s.Only = append(s.Only, sel)
	}
	return s
}
