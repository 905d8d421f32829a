package secret

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Source gives a secret that may change while the process runs: one that was
// given as it is, or a file that is read again when it changes.
type Source struct {
	path   string
	every  time.Duration
	warner *Warner

	mu      sync.Mutex
	text    Text
	looked  time.Time
	changed time.Time
	size    int64
	version uint64
	err     error // why the file could not be read when it was looked at last
}

// Fixed is a source that always gives the same secret.
func Fixed(text Text) *Source { return &Source{text: text} }

// File is a source that gives a file's content without surrounding white
// space. The file is looked at again after a second at the soonest, and read
// again when its time or size has changed, as when a secret is rotated. The
// warner is told of every look after the first; nil: nobody is.
func File(path string, warner *Warner) (*Source, error) {
	s := &Source{path: path, every: time.Second, warner: warner}
	s.looked = time.Now()
	if err := s.read(); err != nil {
		return nil, err
	}
	return s, nil
}

// Text returns the secret. If the file cannot be read any more, it is the last
// one that could, with the error.
func (s *Source) Text() (Text, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookLocked()
	return s.text, s.err
}

// Version returns a number that changes when the secret does. It looks at the
// file as Text does.
func (s *Source) Version() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookLocked()
	return s.version
}

func (s *Source) lookLocked() {
	if s.path == "" || time.Since(s.looked) < s.every {
		return
	}
	s.looked = time.Now()
	s.err = s.read()
	s.warner.Read(s.err)
}

// read reads the file if it has changed.
func (s *Source) read() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if s.err == nil && !s.text.IsZero() && info.ModTime().Equal(s.changed) && info.Size() == s.size {
		return nil
	}
	if !s.text.IsZero() && BeingWritten(info.ModTime(), s.every) {
		return s.err // it is read at the next look
	}
	raw, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(raw))
	if text == "" {
		return fmt.Errorf("%s is empty", s.path)
	}
	if fresh := New(text); fresh != s.text {
		s.text = fresh
		s.version++
	}
	s.changed, s.size = info.ModTime(), info.Size()
	return nil
}

// BeingWritten reports whether a file that changed at a time may not be complete
// yet: a change that is this young may not be the last one.
func BeingWritten(changed time.Time, settling time.Duration) bool {
	age := time.Since(changed)
	return age >= 0 && age < settling
}
