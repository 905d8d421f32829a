package event

import (
	"bytes"
	"unicode/utf8"
)

// Most events are written in one plain way: each member once, no escapes, nothing
// within anything that is not known. Those are read here, in one pass; anything
// else is read by the library, which also says what is wrong with it. Every check
// of a member's content is the same for both.

// scanner reads JSON of the plain kind. unsure says that it met anything else, and
// then all that it gave means nothing. What it gives are parts of the text.
type scanner struct {
	text   []byte
	at     int
	unsure bool
}

// peek gives the next byte that is no space; 0: there is none.
func (s *scanner) peek() byte {
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) take(c byte) {
	if s.peek() != c {
		s.unsure = true
		return
	}
	s.at++
}

// member goes to the next member of an object, the first one after '{' and the
// others after ',', and gives its name.
func (s *scanner) member(after byte) (name []byte, ok bool) {
	if after == '{' {
		s.take('{')
	}
	switch {
	case s.unsure:
		return nil, false
	case s.peek() == '}':
		s.at++
		return nil, false
	case after == ',':
		s.take(',')
	}
	name = s.string()
	s.take(':')
	return name, !s.unsure
}

// end says that there may be nothing more.
func (s *scanner) end() {
	if s.peek(); s.at < len(s.text) {
		s.unsure = true
	}
}

func (s *scanner) string() []byte {
	s.take('"')
	if s.unsure {
		return nil
	}
	from, plain := s.at, true
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '"':
			text := s.text[from:s.at]
			s.at++
			if !plain && !utf8.Valid(text) {
				s.unsure = true
			}
			return text
		case c < ' ' || c == '\\':
			s.unsure = true
			return nil
		case c >= utf8.RuneSelf:
			plain = false
		}
	}
	s.unsure = true
	return nil
}

// optional reads a string or null.
func (s *scanner) optional() (text []byte, given bool) {
	if s.peek() == 'n' {
		s.word("null")
		return nil, false
	}
	return s.string(), true
}

func (s *scanner) word(word string) {
	end := s.at + len(word)
	if end > len(s.text) || string(s.text[s.at:end]) != word {
		s.unsure = true
		return
	}
	s.at = end
}

// number reads digits that may have a sign and a fraction, and no exponent.
func (s *scanner) number() []byte {
	from := s.at
	if s.peek() == '-' {
		s.at++
	}
	zero := s.at < len(s.text) && s.text[s.at] == '0'
	if n := s.digits(); n == 0 || zero && n > 1 {
		s.unsure = true
	}
	if s.at < len(s.text) && s.text[s.at] == '.' {
		s.at++
		if s.digits() == 0 {
			s.unsure = true
		}
	}
	return s.text[from:s.at] // what follows has to be the end of the member, else the next step is unsure
}

func (s *scanner) digits() (n int) {
	for ; s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9'; s.at++ {
		n++
	}
	return n
}

// scalar reads anything but an object or array, as it is written.
func (s *scanner) scalar() []byte {
	kind := s.peek()
	from := s.at
	switch kind {
	case '"':
		s.string()
	case 't':
		s.word("true")
	case 'f':
		s.word("false")
	case 'n':
		s.word("null")
	default:
		s.number()
	}
	return s.text[from:s.at]
}

// others are the names of members that are not known, of one object.
type others struct {
	names [6][]byte
	count int
}

// other passes over a member that is not known, which also may not stand twice.
func (s *scanner) other(o *others, name []byte) {
	for _, before := range o.names[:o.count] {
		s.unsure = s.unsure || bytes.Equal(before, name)
	}
	if o.count == len(o.names) {
		s.unsure = true
		return
	}
	o.names[o.count] = name
	o.count++
	s.scalar()
}
