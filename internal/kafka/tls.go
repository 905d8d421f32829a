package kafka

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"payment-capture/internal/secret"
)

// TLSFiles are the PEM files of a TLS configuration; "" omits one.
type TLSFiles struct{ CA, Certificate, Key string }

// TLS is a TLS configuration. When its files change, it reads them again for new
// connections.
type TLS struct {
	files  TLSFiles
	every  time.Duration // between two checks of the files
	warner *secret.Warner

	mu      sync.Mutex // guards what follows
	checked time.Time
	stamps  []stamp              // of the files that conf was read from
	err     error                // of the last check
	conf    *tls.Config          // the last valid one
	brokers map[string]time.Time // when the certificates that brokers showed expire, by address
}

// stamp shows whether a file has changed.
type stamp struct {
	changed time.Time
	size    int64
}

// NewTLS returns a TLS configuration of at least version 1.2. Its errors name the file.
// A file that becomes unreadable later is logged; log may be nil.
func NewTLS(files TLSFiles, log *slog.Logger) (*TLS, error) {
	if (files.Certificate == "") != (files.Key == "") {
		return nil, errors.New("a client certificate needs its key, and a key its certificate")
	}
	t := &TLS{files: files, every: time.Second, checked: time.Now(), brokers: make(map[string]time.Time)}
	if log != nil {
		t.warner = secret.NewWarner(log, "KAFKA_TLS_*", files.CA+" "+files.Certificate+" "+files.Key)
	}
	if err := t.loadLocked(); err != nil { // nobody else has t yet
		return nil, err
	}
	return t, nil
}

// Config returns the configuration for a new connection. If the files cannot be read
// or do not match each other, it returns the last valid one.
func (t *TLS) Config() *tls.Config {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Since(t.checked) >= t.every {
		t.checked = time.Now()
		t.err = t.loadLocked()
		t.warner.Read(t.err)
	}
	return t.conf.Clone()
}

// loadLocked reads the files if they have changed, or could not be read the last time.
// It leaves alone a file that may still be being written.
func (t *TLS) loadLocked() error {
	stamps, err := t.files.stamps()
	if err != nil {
		return err
	}
	isYoung := func(s stamp) bool { return secret.BeingWritten(s.changed, t.every) }
	if t.conf != nil && (slices.ContainsFunc(stamps, isYoung) || slices.Equal(stamps, t.stamps) && t.err == nil) {
		return t.err
	}
	conf, err := t.files.read()
	if err != nil {
		return err
	}
	t.conf, t.stamps = conf, stamps
	return nil
}

// stamps returns the stamps of the files.
func (f TLSFiles) stamps() ([]stamp, error) {
	var stamps []stamp
	for _, path := range []string{f.CA, f.Certificate, f.Key} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		stamps = append(stamps, stamp{info.ModTime(), info.Size()})
	}
	return stamps, nil
}

func (f TLSFiles) read() (*tls.Config, error) {
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

// ExpiresIn returns the time until the first of the client certificate and the
// certificates of brokers expires.
func (t *TLS) ExpiresIn() time.Duration {
	conf, now := t.Config(), time.Now()
	var all []time.Time
	if len(conf.Certificates) > 0 && conf.Certificates[0].Leaf != nil {
		all = append(all, conf.Certificates[0].Leaf.NotAfter)
	}
	t.mu.Lock()
	// The broker was removed, or the error of the next connection says it.
	maps.DeleteFunc(t.brokers, func(_ string, at time.Time) bool { return now.After(at) })
	all = slices.AppendSeq(all, maps.Values(t.brokers))
	t.mu.Unlock()
	if len(all) == 0 { // no connection yet: no certificate limits anything
		return math.MaxInt64
	}
	return slices.MinFunc(all, time.Time.Compare).Sub(now)
}

// seen notes when the certificate of a broker expires.
func (t *TLS) seen(address string, state tls.ConnectionState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.brokers[address] = state.PeerCertificates[0].NotAfter
}

// ownFault returns what is wrong with the client certificate, or "".
func (t *TLS) ownFault(conf *tls.Config) string {
	if len(conf.Certificates) == 0 || conf.Certificates[0].Leaf == nil {
		return ""
	}
	leaf, now := conf.Certificates[0].Leaf, time.Now()
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Sprintf("client certificate KAFKA_TLS_CERT_FILE (%s) expired at %s; renew it, the file is read again",
			t.files.Certificate, leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Sprintf("client certificate KAFKA_TLS_CERT_FILE (%s) is valid from %s only; check the clock",
			t.files.Certificate, leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return ""
}

// dialTimeout is the library's default timeout for opening a connection.
const dialTimeout = 10 * time.Second

// dialTLS opens a TLS connection over one that Dial opened.
func (c Config) dialTLS(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dial := c.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	conn, err := dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conf := c.TLS.Config()
	if conf.ServerName, _, err = net.SplitHostPort(address); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	// A broker's alert does not say why it refuses the certificate. In TLS 1.3 it
	// comes at the first read.
	secured, fault := tls.Client(conn, conf), c.TLS.ownFault(conf)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(explain(fault, err), conn.Close())
	}
	c.TLS.seen(address, secured.ConnectionState())
	if fault == "" {
		return secured, nil
	}
	return faultyConn{secured, fault}, nil
}

// explain puts the fault of the client certificate before an alert of the broker.
func explain(fault string, err error) error {
	if remote, ok := errors.AsType[*net.OpError](err); fault == "" || !ok || remote.Op != "remote error" {
		return err
	}
	return fmt.Errorf("%s: %w", fault, err)
}

// faultyConn is a connection with a client certificate that the broker probably
// refuses.
type faultyConn struct {
	net.Conn
	fault string
}

// Read implements [net.Conn].
func (c faultyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, explain(c.fault, err)
}
