package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"time"

	"payment-capture/internal/tlsfiles"
)

// TLSFiles are the PEM files of a TLS configuration; "" omits one.
type TLSFiles = tlsfiles.Files

// TLS is a TLS configuration. When its files change, it reads them again for new
// connections.
type TLS struct {
	*tlsfiles.Source

	certificate string // the file of the client certificate

	mu      sync.Mutex
	brokers map[string]time.Time // when the certificates that brokers showed expire, by address; guarded by mu
}

// NewTLS returns a TLS configuration of at least version 1.2. Its errors name the file.
// A file that becomes unreadable later is logged; log may be nil.
func NewTLS(files TLSFiles, log *slog.Logger) (*TLS, error) {
	source, err := tlsfiles.New(files, log, "KAFKA_TLS_*")
	if err != nil {
		return nil, err
	}
	return &TLS{Source: source, certificate: files.Certificate, brokers: make(map[string]time.Time)}, nil
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
			t.certificate, leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Sprintf("client certificate KAFKA_TLS_CERT_FILE (%s) is valid from %s only; check the clock",
			t.certificate, leaf.NotBefore.UTC().Format(time.RFC3339))
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
