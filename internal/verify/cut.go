package verify

// certainty says what can be concluded from something that is not in a topic.
type certainty uint8

const (
	unknown  certainty = iota // it may have been deleted
	probable                  // it is hardly old enough to have been deleted
	certain                   // it was never there
)

// held says since when topics hold what was written to them.
type held struct {
	whole bool  // nothing was deleted from them
	from  int64 // else: since when on nothing was
	first int64 // the earliest record that is there; never: there is none
}

func (s *snapshot) held(r role) held {
	h := held{first: never}
	h.whole, h.from = s.cut(r)
	for _, t := range s.topics {
		for _, p := range t.partitions {
			if t.has(r) && p.first > 0 {
				h.first = min(h.first, p.first)
			}
		}
	}
	return h
}

// since reports whether what was written at a time or later is still there.
func (h held) since(at int64) bool { return h.whole || at >= h.from+clockMargin }

// sureOf says what can be concluded where an event is not in the input though
// something was written for it at a time. The event came before that; how long
// before is not known. A topic of this name that was deleted and made anew has
// lost nothing, and knows nothing of what was before.
func (h held) sureOf(at int64) certainty {
	switch {
	case h.whole && at >= h.first:
		return certain
	case !h.whole && at >= h.from+clockMargin:
		return probable
	}
	return unknown
}
