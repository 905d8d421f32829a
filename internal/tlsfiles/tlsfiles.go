// Package tlsfiles reads TLS configurations from PEM files, again when the files change.
package tlsfiles

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"payment-capture/internal/secret"
)

// Files are the PEM files of a TLS configuration; "" omits one.
type Files struct{ CA, Certificate, Key string }

// Source is a TLS configuration of at least version 1.2 whose files may change while the
// process runs.
type Source struct {
	Every time.Duration // between two checks of the files; change it only before the first use

	files  Files
	warner *secret.Warner

	mu      sync.Mutex // guards what follows
	checked time.Time
	stamps  []stamp     // of the files that conf was read from
	err     error       // of the last check
	conf    *tls.Config // the last valid one
}

// stamp shows whether a file has changed.
type stamp struct {
	changed time.Time
	size    int64
}

// New reads the files. Its errors name the file. It logs when files become unreadable
// later, with the variables that name them; log may be nil.
func New(files Files, log *slog.Logger, variables string) (*Source, error) {
	if (files.Certificate == "") != (files.Key == "") {
		return nil, errors.New("a certificate needs its key, and a key its certificate")
	}
	s := &Source{Every: time.Second, files: files, checked: time.Now()}
	if log != nil {
		s.warner = secret.NewWarner(log, variables, strings.Join(files.paths(), " "))
	}
	if err := s.loadLocked(); err != nil { // nobody else has s yet
		return nil, err
	}
	return s, nil
}

// Config returns a copy of the configuration for a new connection. If the files cannot be
// read or do not match each other, it is a copy of the last valid one.
func (s *Source) Config() *tls.Config { return s.Current().Clone() }

// Current returns the configuration like Config, but not a copy: the caller must not
// change it, and gets another one if the files have changed.
func (s *Source) Current() *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.checked) >= s.Every {
		s.checked = time.Now()
		s.err = s.loadLocked()
		s.warner.Read(s.err)
	}
	return s.conf
}

// loadLocked reads the files if they have changed, or could not be read the last time.
// It leaves alone a file that may still be being written.
func (s *Source) loadLocked() error {
	stamps, err := s.files.stamps()
	if err != nil {
		return err
	}
	isYoung := func(f stamp) bool { return secret.BeingWritten(f.changed, s.Every) }
	if s.conf != nil && (slices.ContainsFunc(stamps, isYoung) || slices.Equal(stamps, s.stamps) && s.err == nil) {
		return s.err
	}
	conf, err := s.files.read()
	if err != nil {
		return err
	}
	s.conf, s.stamps = conf, stamps
	return nil
}

// paths returns the files that are set.
func (f Files) paths() []string {
	return slices.DeleteFunc([]string{f.CA, f.Certificate, f.Key}, func(path string) bool { return path == "" })
}

// stamps returns the stamps of the files.
func (f Files) stamps() ([]stamp, error) {
	var stamps []stamp
	for _, path := range f.paths() {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		stamps = append(stamps, stamp{info.ModTime(), info.Size()})
	}
	return stamps, nil
}

func (f Files) read() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		text, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, err
		}
		if conf.RootCAs, err = authorities(text); err != nil {
			return nil, fmt.Errorf("%s %w", f.CA, err)
		}
	}
	if f.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
		if err != nil {
			return nil, fmt.Errorf("%s with the key %s: %w", f.Certificate, f.Key, err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

// authorities returns the certificates of a file. It refuses a file that ends within
// one, because the library would accept the readable part of a file that is being
// written.
func authorities(text []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("holds no PEM certificate")
	}
	rest := text
	for block, after := pem.Decode(rest); block != nil; block, after = pem.Decode(rest) {
		rest = after
	}
	if bytes.Contains(rest, []byte("-----BEGIN")) {
		return nil, errors.New("ends within a PEM block")
	}
	return pool, nil
}
