package replica

import (
	"iter"

	"github.com/godwitdb/godwit/crdt"
	"github.com/godwitdb/godwit/persist"
)

// ear is one listener. The tailer's lock guards what it notes in it.
type ear struct {
	wake func()   // does not block
	what crdt.Key // what concerns it: a record, a collection if it has no ID, everything if it is zero
	view bool     // whether view changes do

	known       crdt.LSN // the first row of which the tailer told it, or would have
	first, last crdt.LSN // of the rows that concern it, since it was last seen to have read all; last 0: none
}

// ears are listeners by what concerns them, so that a row costs something only to
// those it concerns.
type ears map[crdt.Key]map[*ear]struct{}

func (s ears) add(e *ear) {
	if s[e.what] == nil {
		s[e.what] = map[*ear]struct{}{}
	}
	s[e.what][e] = struct{}{}
}

func (s ears) remove(e *ear) {
	if delete(s[e.what], e); len(s[e.what]) == 0 {
		delete(s, e.what)
	}
}

func (s ears) all() iter.Seq[*ear] {
	return func(yield func(*ear) bool) {
		for _, some := range s {
			for e := range some {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// note notes the rows in the ears that they concern, and adds these to concerned.
func (s ears) note(rows []persist.LogRow, concerned map[*ear]struct{}) {
	if len(rows) == 0 {
		return
	}
	s.noteIn(crdt.Key{}, rows[0].LSN, rows[len(rows)-1].LSN, concerned)
	if len(s) == 1 && s[crdt.Key{}] != nil {
		return
	}
	for i := range rows {
		s.noteIn(crdt.Key{Collection: rows[i].Key.Collection}, rows[i].LSN, rows[i].LSN, concerned)
		s.noteIn(rows[i].Key, rows[i].LSN, rows[i].LSN, concerned)
	}
}

func (s ears) noteIn(what crdt.Key, first, last crdt.LSN, concerned map[*ear]struct{}) {
	for e := range s[what] {
		if e.last == 0 {
			e.first = first
		}
		e.last = last
		concerned[e] = struct{}{}
	}
}
