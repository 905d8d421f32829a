package secret

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Source is a secret that may change while the process runs: the content of a file,
// which it reads again when the file changes, or a fixed text.
type Source struct {
	path   string // "" for a fixed text
	every  time.Duration
	warner *Warner

	mu      sync.Mutex // guards all below
	text    Text
	checked time.Time // when the file was checked last
	changed time.Time // the modification time of the file that was read
	size    int64     // its size
	version uint64
	err     error // why the last check could not read the file
}

// Fixed returns a source whose secret never changes.
func Fixed(text Text) *Source { return &Source{text: text} }

// File returns a source for the content of a file without surrounding white
// space. The source checks the file at most once a second and reads it again if its
// time or size has changed, as when a secret is rotated. It reports the result of
// every check after the first to the warner, which may be nil.
func File(path string, warner *Warner) (*Source, error) {
	s := &Source{path: path, every: time.Second, warner: warner}
	s.checked = time.Now()
	if err := s.readLocked(); err != nil {
		return nil, err
	}
	return s, nil
}

// Text returns the secret. If the file cannot be read any more, Text returns the last
// good secret and the error.
func (s *Source) Text() (Text, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkLocked()
	return s.text, s.err
}

// Version returns a number that changes when the secret does. It checks the file as
// Text does.
func (s *Source) Version() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkLocked()
	return s.version
}

func (s *Source) checkLocked() {
	if s.path == "" || time.Since(s.checked) < s.every {
		return
	}
	s.checked = time.Now()
	s.err = s.readLocked()
	s.warner.Read(s.err)
}

// readLocked reads the file if it has changed.
func (s *Source) readLocked() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if s.err == nil && !s.text.IsZero() && info.ModTime().Equal(s.changed) && info.Size() == s.size {
		return nil
	}
	if !s.text.IsZero() && BeingWritten(info.ModTime(), s.every) {
		return s.err // the next check reads it
	}
	raw, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(raw))
	if text == "" {
		return fmt.Errorf("read %s: file is empty", s.path)
	}
	if fresh := New(text); fresh != s.text {
		s.text = fresh
		s.version++
	}
	s.changed, s.size = info.ModTime(), info.Size()
	return nil
}

// BeingWritten reports whether a file that changed at this time may be incomplete, because
// another change may follow within the settling time.
func BeingWritten(changed time.Time, settling time.Duration) bool {
	age := time.Since(changed)
	return age >= 0 && age < settling
}
