package kafka

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	a := authority{t: t}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-48 * time.Hour),
		NotAfter: time.Now().Add(time.Hour),
		IsCA:     true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	der, a.key = a.sign(a.cert, nil)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func (a authority) sign(template *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// issue returns a certificate for 127.0.0.1 and its key, as PEM.
func (a authority) issue(notAfter time.Time) (cert, key []byte) {
	a.t.Helper()
	der, private := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"localhost"}, NotBefore: notAfter.Add(-24 * time.Hour), NotAfter: notAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.key)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// server returns a server configuration that requires a client certificate.
func (a authority) server() *tls.Config {
	a.t.Helper()
	pair, err := tls.X509KeyPair(a.issue(time.Now().Add(time.Hour)))
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.pem)
	return &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs: pool,
	}
}

// secured is a broker behind TLS whose certificates can be rotated, and a client's
// files.
type secured struct {
	t     *testing.T
	conf  atomic.Pointer[tls.Config] // the broker's
	addr  string
	files TLSFiles
	log   bytes.Buffer
	kafka Config
}

func newSecured(t *testing.T, a authority) *secured {
	t.Helper()
	dir := t.TempDir()
	s := &secured{t: t, files: TLSFiles{
		CA: filepath.Join(dir, "ca.pem"), Certificate: filepath.Join(dir, "cert.pem"),
		Key: filepath.Join(dir, "key.pem"),
	}}
	s.conf.Store(a.server())
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.conf.Load(), nil },
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	s.addr = strings.Replace(cluster.ListenAddrs()[0], "127.0.0.1", "localhost", 1)
	s.write(a.pem, a, time.Now().Add(time.Hour))
	made, err := NewTLS(s.files, slog.New(slog.NewJSONHandler(&s.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	made.Every = time.Nanosecond
	s.kafka = Config{TLS: made}
	return s
}

// put writes a file and makes it an hour old, so that it counts as complete.
func (s *secured) put(path string, content []byte) {
	s.t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.aged(path)
}

// aged sets a file's time to a different one about an hour ago.
func (s *secured) aged(path string) {
	s.t.Helper()
	at := time.Now().Add(-time.Hour).Add(time.Duration(time.Now().UnixNano()) % time.Minute)
	if err := os.Chtimes(path, at, at); err != nil {
		s.t.Fatal(err)
	}
}

func (s *secured) write(ca []byte, by authority, notAfter time.Time) {
	s.t.Helper()
	cert, key := by.issue(notAfter)
	s.put(s.files.CA, ca)
	s.put(s.files.Certificate, cert)
	s.put(s.files.Key, key)
}

// connect opens a connection and sends a request.
func (s *secured) connect() error {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	conn, err := s.kafka.dialTLS(ctx, "tcp", s.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	// In TLS 1.3 the server refuses a certificate after the handshake.
	request := []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff} // ApiVersions, version 0
	if _, err := conn.Write(request); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 4))
	return err
}

func (s *secured) connects(when string) {
	s.t.Helper()
	if err := s.connect(); err != nil {
		s.t.Errorf("%s: %v", when, err)
	}
}

func (s *secured) fails(when, with string) {
	s.t.Helper()
	if err := s.connect(); err == nil || !strings.Contains(err.Error(), with) {
		s.t.Errorf("%s: got %v, want %q", when, err, with)
	}
}

// TestCertificatesAreReadAgain: a new connection uses and verifies rotated certificates
// without a restart.
func TestCertificatesAreReadAgain(t *testing.T) {
	t.Parallel()
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	s := newSecured(t, first)
	s.connects("at the start")
	s.conf.Store(second.server())
	s.fails("the broker's authority is another one", "unknown authority")
	s.put(s.files.CA, append(append([]byte(nil), first.pem...), second.pem...))
	s.fails("the client's certificate is of the old authority", "remote error")
	s.write(second.pem, second, time.Now().Add(time.Hour))
	s.connects("all are rotated")
	s.conf.Store(first.server())
	s.fails("the old authority is trusted no more", "unknown authority")
	if s.log.Len() > 0 {
		t.Errorf("it is logged: %s", s.log.String())
	}
	if conf := s.kafka.TLS.Config(); conf.InsecureSkipVerify || conf.MinVersion != tls.VersionTLS12 {
		t.Errorf("got %+v", conf)
	}
}

// TestCertificatesThatCannotBeRead: if a file is empty, missing, incomplete or of another
// pair, the last valid files stay in use, and one warning is logged.
func TestCertificatesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(s *secured, a authority){
		"an empty authority": func(s *secured, _ authority) { s.put(s.files.CA, nil) },
		"half an authority":  func(s *secured, a authority) { s.put(s.files.CA, a.pem[:len(a.pem)/2]) },
		"one authority and a half": func(s *secured, a authority) {
			s.put(s.files.CA, append(append([]byte(nil), newAuthority(s.t, "new").pem...), a.pem[:len(a.pem)/2]...))
		},
		"no authority": func(s *secured, _ authority) { s.remove(s.files.CA) },
		"an authority that is a directory": func(s *secured, _ authority) {
			s.remove(s.files.CA)
			if err := os.Mkdir(s.files.CA, 0o700); err != nil {
				s.t.Fatal(err)
			}
			s.aged(s.files.CA)
		},
		"an empty certificate": func(s *secured, _ authority) { s.put(s.files.Certificate, nil) },
		"half a key":           func(s *secured, _ authority) { s.put(s.files.Key, []byte("-----BEGIN PRIVATE KEY-----\nMIGH")) },
		"a certificate without its key yet": func(s *secured, a authority) {
			cert, _ := a.issue(time.Now().Add(time.Hour))
			s.put(s.files.Certificate, cert)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t, "only")
			s := newSecured(t, a)
			spoil(s, a)
			for range 3 {
				s.connects("spoilt")
			}
			if n := strings.Count(s.log.String(), `"level":"WARN"`); n != 1 || strings.Contains(s.log.String(), "BEGIN") {
				t.Errorf("%d warnings, want 1: %s", n, s.log.String())
			}
			if err := os.RemoveAll(s.files.CA); err != nil {
				t.Fatal(err)
			}
			s.write(a.pem, a, time.Now().Add(time.Hour))
			s.connects("well again")
			if n := strings.Count(s.log.String(), `"level":"INFO"`); n != 1 {
				t.Errorf("%d lines that they can be read again, want 1: %s", n, s.log.String())
			}
		})
	}
}

func (s *secured) remove(path string) {
	s.t.Helper()
	if err := os.Remove(path); err != nil {
		s.t.Fatal(err)
	}
}

// TestOwnCertificateThatExpired: a broker's alert does not say whose certificate expired.
// The client adds that, but only if the broker refused it.
func TestOwnCertificateThatExpired(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "only")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := newSecured(t, a)
		conf := a.server()
		conf.MaxVersion = version
		s.conf.Store(conf)
		expired := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
		s.write(a.pem, a, expired)
		s.fails("expired", "client certificate KAFKA_TLS_CERT_FILE ("+s.files.Certificate+") expired at "+expired.Format(time.RFC3339))
		s.write(a.pem, a, time.Now().Add(36*time.Hour))
		s.fails("not valid yet", "is valid from ")
		open := a.server()
		open.ClientAuth, open.MaxVersion = tls.NoClientCert, version
		s.conf.Store(open)
		s.connects("nobody asks for it")
		s.conf.Store(conf)
		s.write(a.pem, a, time.Now().Add(time.Hour))
		s.connects("renewed")
		if left := s.kafka.TLS.ExpiresIn(); left <= 0 || left > time.Hour {
			t.Errorf("the first certificate expires in %s, want less than an hour", left)
		}
	}
}

// TestClientOverTLS connects a client of the library.
func TestClientOverTLS(t *testing.T) {
	t.Parallel()
	s := newSecured(t, newAuthority(t, "only"))
	conf := s.kafka
	conf.Brokers, conf.ClientID = []string{s.addr}, "test"
	client, err := conf.NewClient()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}
