package crdt

import (
	"errors"
	"fmt"
	"strings"
)

// The message of a change that undoes or redoes another one is one of these
// words, a blank and the other's hash. That is all there is to know about undoing:
// it is part of the history, survives restarts, and replicates.
const (
	undoWord = "undo "
	redoWord = "redo "
)

// Errors of Undo and Redo.
var (
	ErrNothingToUndo = errors.New("there is nothing to undo: this replica made no change, or has undone all of them")
	ErrNothingToRedo = errors.New("there is nothing to redo: nothing was undone since this replica's last change")
)

// Undo reverts, as Revert does, the latest change of this replica (of this actor,
// if it is no replica's) that is not undone and is not an undo itself. It has to
// be the first edit of its change; Commit then writes the message that marks it
// as an undo, and writes it even if nothing was left to be reverted, so that the
// next Undo goes on with the change before.
func (e *Edit) Undo() (undone Hash, kept []Path, err error) {
	undo, _ := e.h.UndoState(e.c.actors[0])
	return e.step(undoWord, undo, ErrNothingToUndo)
}

// Redo reverts the latest Undo, unless this replica has made another change since.
// A redone change can be undone again.
func (e *Edit) Redo() (redone Hash, kept []Path, err error) {
	_, redo := e.h.UndoState(e.c.actors[0])
	return e.step(redoWord, redo, ErrNothingToRedo)
}

func (e *Edit) step(word string, stack []Hash, none error) (hash Hash, kept []Path, err error) {
	if len(stack) == 0 {
		return Hash{}, nil, fmt.Errorf("%w: %w", ErrEdit, none)
	}
	if e.begun {
		return Hash{}, nil, fmt.Errorf("%w: undo and redo have to come first in their change", ErrEdit)
	}
	hash = stack[len(stack)-1]
	if kept, err = e.Revert(hash); err != nil {
		return Hash{}, nil, err
	}
	if !e.begun {
		e.begin()
	}
	e.message = word + hash.String()
	return hash, kept, nil
}

// UndoState returns the changes that Undo and Redo would revert one after the
// other, the next one last, for the replica that an actor belongs to, in all its
// incarnations, or for the actor alone if it is no replica's.
func (h *History) UndoState(actor ActorID) (undo, redo []Hash) {
	for i := range h.nodes {
		c := h.nodes[i].c
		if c.raw == nil || !sameAuthor(c.actors[0], actor) {
			continue
		}
		word, of := parseUndo(c.message)
		switch {
		case word == undoWord && len(undo) > 0 && undo[len(undo)-1] == of:
			undo, redo = undo[:len(undo)-1], append(redo, c.hash)
		case word == redoWord && len(redo) > 0 && redo[len(redo)-1] == of:
			undo, redo = append(undo, c.hash), redo[:len(redo)-1]
		default:
			undo, redo = append(undo, c.hash), nil
		}
	}
	return undo, redo
}

func sameAuthor(a, b ActorID) bool {
	r, ok := a.Replica()
	s, also := b.Replica()
	return a == b || ok && also && r == s
}

// parseUndo returns the word and hash of the message of an undo or redo.
func parseUndo(message string) (word string, of Hash) {
	for _, w := range []string{undoWord, redoWord} {
		if rest, ok := strings.CutPrefix(message, w); ok {
			if of, err := ParseHash(rest); err == nil {
				return w, of
			}
		}
	}
	return "", Hash{}
}
