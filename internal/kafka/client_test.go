package kafka_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/kafka"
)

func TestParseStartAt(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for text, want := range map[string]kafka.StartAt{
		"": {}, "earliest": {Earliest: true}, "latest": {Latest: true},
		"2026-11-23T10:00:00Z": {Time: at}, "2026-11-23T11:00:00+01:00": {Time: at},
	} {
		got, err := kafka.ParseStartAt(text)
		if err != nil || got.Earliest != want.Earliest || got.Latest != want.Latest || !got.Time.Equal(want.Time) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"Earliest", " latest", "2026-11-23", "2026-11-23 10:00:00", "10", "2026-13-01T00:00:00Z"} {
		if got, err := kafka.ParseStartAt(text); err == nil {
			t.Errorf("%q was accepted: %+v", text, got)
		}
	}
}

// writePair writes a new certificate and its key.
func writePair(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pkcs8)
}

func TestNewTLS(t *testing.T) {
	t.Parallel()
	cert, key := writePair(t)
	_, otherKey := writePair(t)
	garbage := filepath.Join(t.TempDir(), "garbage.pem")
	if err := os.WriteFile(garbage, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(t.TempDir(), "missing.pem")

	read := func(files kafka.TLSFiles) (*tls.Config, error) {
		made, err := kafka.NewTLS(files, nil)
		if err != nil {
			return nil, err
		}
		return made.Config(), nil
	}
	conf, err := read(kafka.TLSFiles{})
	if err != nil || conf.MinVersion != tls.VersionTLS12 || conf.RootCAs != nil || conf.Certificates != nil {
		t.Errorf("no files: %+v, %v", conf, err)
	}
	conf, err = read(kafka.TLSFiles{CA: cert, Certificate: cert, Key: key})
	if err != nil || conf.RootCAs == nil || len(conf.Certificates) != 1 || conf.InsecureSkipVerify {
		t.Errorf("all files: %+v, %v", conf, err)
	}
	tests := []struct {
		name  string
		files kafka.TLSFiles
		names string // what the error must name
	}{
		{"no CA file", kafka.TLSFiles{CA: missing}, missing},
		{"a CA file that is none", kafka.TLSFiles{CA: garbage}, garbage},
		{"a certificate alone", kafka.TLSFiles{Certificate: cert}, "key"},
		{"a key alone", kafka.TLSFiles{Key: key}, "certificate"},
		{"no certificate file", kafka.TLSFiles{Certificate: missing, Key: key}, missing},
		{"no key file", kafka.TLSFiles{Certificate: cert, Key: missing}, missing},
		{"a certificate file that is none", kafka.TLSFiles{Certificate: garbage, Key: key}, garbage},
		{"a key file that is none", kafka.TLSFiles{Certificate: cert, Key: garbage}, garbage},
		{"the key of another certificate", kafka.TLSFiles{Certificate: cert, Key: otherKey}, otherKey},
	}
	for _, tt := range tests {
		_, err := kafka.NewTLS(tt.files, nil)
		if err == nil || !strings.Contains(err.Error(), tt.names) {
			t.Errorf("%s: error %v does not name %s", tt.name, err, tt.names)
		}
		if tt.names == missing && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: error %v", tt.name, err)
		}
	}
}

func TestNewClientNamesTheBrokers(t *testing.T) {
	t.Parallel()
	_, err := kafka.Config{Brokers: []string{"one:9092", "two:port"}, ClientID: "c"}.NewClient()
	if err == nil || !strings.Contains(err.Error(), "one:9092,two:port") {
		t.Errorf("error %v", err)
	}
}

func TestParseAcceptedOffsets(t *testing.T) {
	t.Parallel()
	accepted, err := kafka.ParseAcceptedOffsets(" 0:1500, 12:0 ")
	if err != nil || len(accepted) != 2 {
		t.Fatalf("got %v, %v", accepted, err)
	}
	for _, test := range []struct {
		partition int32
		offset    int64
		want      bool
	}{{0, 1500, true}, {12, 0, true}, {0, 1499, false}, {0, 1501, false}, {1, 1500, false}, {1, 0, false}} {
		if got := accepted.Has(test.partition, test.offset); got != test.want {
			t.Errorf("%d:%d is accepted: %t, want %t", test.partition, test.offset, got, test.want)
		}
	}
	if none, err := kafka.ParseAcceptedOffsets(""); err != nil || none.Has(0, 0) {
		t.Errorf("got %v, %v", none, err)
	}
	for _, text := range []string{
		"0", "0:", ":1", "a:1", "0:b", "-1:5", "0:-1", "0:1:2", "0:1,,1:2", "0:1,0:2", "99999999999:1",
		"0:99999999999999999999",
	} {
		if got, err := kafka.ParseAcceptedOffsets(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}
