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
	path  string
	every time.Duration

	mu      sync.Mutex
	text    Text
	looked  time.Time
	changed time.Time
	size    int64
	version uint64
}

// Fixed is a source that always gives the same secret.
func Fixed(text Text) *Source { return &Source{text: text} }

// File is a source that gives a file's content without surrounding white
// space. The file is looked at again after a second at the soonest, and read
// again when its time or size has changed, as when a secret is rotated.
func File(path string) (*Source, error) {
	s := &Source{path: path, every: time.Second}
	if err := s.read(); err != nil {
		return nil, err
	}
	return s, nil
}

// Text gives the secret. When the file cannot be read any more, it is the last
// one that could, with the error.
func (s *Source) Text() (Text, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path == "" || time.Since(s.looked) < s.every {
		return s.text, nil
	}
	err := s.read()
	return s.text, err
}

// Version gives a number that changes when the secret does. It looks at the
// file as Text does.
func (s *Source) Version() uint64 {
	_, _ = s.Text() // an error leaves the last secret, and so its number
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

func (s *Source) read() error {
	s.looked = time.Now()
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if !s.text.IsZero() && info.ModTime().Equal(s.changed) && info.Size() == s.size {
		return nil
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
