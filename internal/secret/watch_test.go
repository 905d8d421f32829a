package secret_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/secret"
)

// The warner logs once when a file becomes unreadable, and once when it is readable
// again, whichever method checks it first. The last good content stays in use and is
// never logged.
func TestUnreadableFileIsLogged(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, path string){
		"emptied": func(t *testing.T, path string) { t.Helper(); write(t, path, "") },
		"removed": func(t *testing.T, path string) {
			t.Helper()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"a directory": func(t *testing.T, path string) {
			t.Helper()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"unreadable": func(t *testing.T, path string) { // a link to itself, because root ignores permissions
			t.Helper()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path, path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, first := range []string{"version", "text"} {
			t.Run(name+", "+first, func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "token")
				synctest.Test(t, func(t *testing.T) {
					var log bytes.Buffer
					write(t, path, "planted-1")
					s, err := secret.File(path, secret.NewWarner(slog.New(slog.NewJSONHandler(&log, nil)), "THE_FILE", path))
					if err != nil {
						t.Fatal(err)
					}
					version := s.Version()
					spoil(t, path)
					for range 300 { // five minutes
						<-time.After(time.Second)
						if first == "version" && s.Version() != version {
							t.Fatal("the version changed")
						}
						want(t, s, "planted-1", true)
					}
					if n := strings.Count(log.String(), `"level":"WARN"`); n != 1 || !strings.Contains(log.String(),
						`"variable":"THE_FILE"`) || !strings.Contains(log.String(), path) {
						t.Errorf("%d warnings, want 1 that names the variable and the file: %s", n, log.String())
					}
					<-time.After(10 * time.Minute)
					want(t, s, "planted-1", true)
					if n := strings.Count(log.String(), `"level":"WARN"`); n != 2 {
						t.Errorf("%d warnings after a quarter of an hour, want 2", n)
					}
					if err := os.RemoveAll(path); err != nil {
						t.Fatal(err)
					}
					write(t, path, "planted-2")
					<-time.After(time.Second)
					want(t, s, "planted-2", false)
					if s.Version() == version {
						t.Error("the version did not change")
					}
					if n := strings.Count(log.String(), `"level":"INFO"`); n != 1 {
						t.Errorf("%d lines that the file can be read again, want 1: %s", n, log.String())
					}
					if strings.Contains(log.String(), "planted") {
						t.Errorf("the log contains the secret: %s", log.String())
					}
				})
			})
		}
	}
}

// A file that is readable again without any change is read again.
func TestFileThatComesBackUnchanged(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		write(t, path, "first")
		s, err := secret.File(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		want(t, s, "first", true)
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		want(t, s, "first", false)
	})
}

// While a file is being rewritten in place, the source does not use a part of it.
func TestRewriteInProgress(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		write(t, path, "first")
		s, err := secret.File(path, secret.NewWarner(slog.New(slog.NewJSONHandler(&log, nil)), "THE_FILE", path))
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		for _, part := range []string{"", "sec", "secon", "second"} {
			write(t, path, part)
			<-time.After(700 * time.Millisecond)
			want(t, s, "first", false)
		}
		<-time.After(time.Second)
		want(t, s, "second", false)
		if log.Len() > 0 {
			t.Errorf("the rewrite is logged: %s", log.String())
		}
	})
}
