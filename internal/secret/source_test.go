package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/secret"
)

// write replaces the file's content, and sets its time to now: a bubble's
// clock is not the file system's.
func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
}

// want checks the secret of the source, and whether there is an error.
func want(t *testing.T, s *secret.Source, plain string, withError bool) {
	t.Helper()
	got, err := s.Text()
	if got.Reveal() != plain || (err != nil) != withError {
		t.Errorf("got %q, %v; want %q, an error: %t", got.Reveal(), err, plain, withError)
	}
	if err != nil && plain != "" && strings.Contains(err.Error(), plain) {
		t.Errorf("the error contains the secret: %v", err)
	}
}

func TestFixed(t *testing.T) {
	t.Parallel()
	want(t, secret.Fixed(secret.New("token")), "token", false)
	want(t, secret.Fixed(secret.Text{}), "", false)
}

func TestFileIsReadAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		write(t, path, " \t first\r\n")
		s, err := secret.File(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		want(t, s, "first", false)

		<-time.After(500 * time.Millisecond)
		write(t, path, "other\n")
		want(t, s, "first", false) // because it was checked within the second
		<-time.After(500 * time.Millisecond)
		want(t, s, "first", false) // because it may be being written
		<-time.After(time.Second)
		want(t, s, "other", false)

		// Same length, another time.
		<-time.After(time.Second)
		write(t, path, "third\n")
		<-time.After(time.Second)
		want(t, s, "third", false)
	})
}

// After a failed rotation the last good secret stays in use.
func TestFileThatBecomesUnreadable(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		write(t, path, "first")
		s, err := secret.File(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		want(t, s, "first", true)

		write(t, path, " \n")
		<-time.After(time.Second)
		want(t, s, "first", true)

		write(t, path, "second")
		<-time.After(time.Second)
		want(t, s, "second", false)
	})
}

func TestFileThatCannotBegin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	write(t, empty, "\n")
	for _, path := range []string{filepath.Join(dir, "missing"), empty, dir} {
		if _, err := secret.File(path, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("File(%s): got %v, want an error that names it", path, err)
		}
	}
}

func TestTextFromText(t *testing.T) {
	t.Parallel()
	var s secret.Text
	if !s.IsZero() || s.String() != "" {
		t.Errorf("the zero value is %q", s.String())
	}
	if err := s.UnmarshalText([]byte("plain")); err != nil || s.Reveal() != "plain" || s.IsZero() {
		t.Errorf("got %q, %v", s.Reveal(), err)
	}
}
