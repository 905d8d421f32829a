package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"payment-capture/internal/config"
)

// writeCertificate writes a new certificate for 127.0.0.1 and its key, with a time in the
// past, so that the files count as complete.
func writeCertificate(t *testing.T, certFile, keyFile string, age time.Duration) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(age)), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		at := time.Now().Add(-age)
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// The admin address serves HTTPS with the certificate that the files have at present, of
// at least TLS 1.2, and nothing in plain text.
func TestAdminTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := config.Config{AdminTLSCert: filepath.Join(dir, "cert.pem"), AdminTLSKey: filepath.Join(dir, "key.pem")}
	first := writeCertificate(t, c.AdminTLSCert, c.AdminTLSKey, 2*time.Hour)
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c.AdminAddr = free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	s := &Service{opts: Options{Config: c, Log: slog.New(slog.DiscardHandler)}}
	if s.admin, err = newAdminFiles(c, s.opts.Log); err != nil {
		t.Fatal(err)
	}
	s.admin.tls.Every = time.Nanosecond
	stop, err := s.serve(t.Context(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") }))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	get := func(scheme string, trusted *x509.Certificate, version uint16) (string, error) {
		transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
			RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS10, MaxVersion: version,
		}}
		transport.TLSClientConfig.RootCAs.AddCert(trusted)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, scheme+"://"+c.AdminAddr, nil)
		if err != nil {
			return "", err
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	if body, err := get("https", first, tls.VersionTLS12); body != "served" || err != nil {
		t.Errorf("TLS 1.2: got %q, %v", body, err)
	}
	if body, err := get("https", first, tls.VersionTLS11); err == nil {
		t.Errorf("TLS 1.1: got %q", body)
	}
	if body, _ := get("http", first, 0); body == "served" {
		t.Error("plain text is served")
	}
	second := writeCertificate(t, c.AdminTLSCert, c.AdminTLSKey, time.Hour)
	if body, err := get("https", second, 0); body != "served" || err != nil {
		t.Errorf("the renewed certificate: got %q, %v", body, err)
	}
	if body, err := get("https", first, 0); err == nil {
		t.Errorf("the old certificate is still in use: %q", body)
	}
}
