package tlsfiles_test

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/tlsfiles"
)

// put writes a file, and sets its time to now: a bubble's clock is not the file system's.
func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
}

// authority returns a certificate.
func authority(t *testing.T) []byte {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// A file is read again a second after its last change at the latest, not while it may
// still be being written, and its configuration stays the same one in between.
func TestFileIsReadAgain(t *testing.T) {
	t.Parallel()
	path, text := filepath.Join(t.TempDir(), "ca.pem"), authority(t)
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		put(t, path, text)
		s, err := tlsfiles.New(tlsfiles.Files{CA: path}, slog.New(slog.NewJSONHandler(&log, nil)), "THE_CA_FILE")
		if err != nil {
			t.Fatal(err)
		}
		first := s.Current()
		if first.MinVersion != tls.VersionTLS12 || first.InsecureSkipVerify || first.RootCAs == nil {
			t.Errorf("got %+v", first)
		}
		<-time.After(time.Hour)
		if s.Current() != first {
			t.Error("an unchanged file was read again")
		}
		for _, part := range [][]byte{nil, text[:100], text[:200], text} {
			put(t, path, part)
			<-time.After(700 * time.Millisecond)
			if s.Current() != first {
				t.Errorf("a file with %d bytes was read while it was being written", len(part))
			}
		}
		<-time.After(time.Second)
		second := s.Current()
		if second == first || log.Len() > 0 {
			t.Errorf("the file was not read again, or a rewrite was logged: %s", log.String())
		}

		put(t, path, text[:100])
		for range 60 {
			<-time.After(time.Second)
			if s.Current() != second {
				t.Fatal("a broken file replaced a good one")
			}
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "THE_CA_FILE") || !strings.Contains(log.String(), path) {
			t.Errorf("got %d lines, want 1 with the variable and the file: %s", n, log.String())
		}
		put(t, path, text)
		<-time.After(2 * time.Second)
		if s.Current() == second || s.Config() == s.Current() {
			t.Error("the good file was not read again, or Config returned no copy")
		}
	})
}

func TestFilesThatCannotBegin(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	missing, empty := filepath.Join(dir, "missing"), filepath.Join(dir, "empty")
	put(t, empty, nil)
	for _, files := range []tlsfiles.Files{
		{CA: missing}, {CA: empty}, {CA: dir}, {Certificate: empty, Key: empty}, {Certificate: missing, Key: missing},
	} {
		path := files.CA + files.Certificate
		if _, err := tlsfiles.New(files, nil, ""); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%+v: got %v, want an error that names the file", files, err)
		}
	}
	for _, files := range []tlsfiles.Files{{Certificate: empty}, {Key: empty}} {
		if _, err := tlsfiles.New(files, nil, ""); err == nil || !strings.Contains(err.Error(), "needs its key") {
			t.Errorf("%+v: got %v", files, err)
		}
	}
}
