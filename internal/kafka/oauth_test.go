package kafka

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"payment-capture/internal/kafka/retry"
	"payment-capture/internal/secret"
	"payment-capture/internal/tlsfiles"
)

// issuer is a token endpoint.
type issuer struct {
	requests atomic.Int32
	status   atomic.Int32 // of the answer; 0: a token
	seconds  atomic.Int32 // its life
	conf     *OAuth
	log      bytes.Buffer
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	i.seconds.Store(3600)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := i.requests.Add(1)
		user, password, _ := r.BasicAuth()
		if err := r.ParseForm(); err != nil || r.Form.Get("grant_type") != "client_credentials" || r.Form.Get("scope") != "read write" {
			t.Errorf("got form %v, %v", r.Form, err)
		}
		w.Header().Set("Content-Type", "application/json")
		if status := int(i.status.Load()); status != 0 {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"error": "invalid_client", "error_description": "%s:%s\\nis unknown"}`, user, password)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"access_token": fmt.Sprintf("%s-%s-%d", user, password, n), "token_type": "Bearer", "expires_in": i.seconds.Load(),
		})
	}))
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	conf, err := tlsfiles.New(tlsfiles.Files{CA: ca}, nil, "KAFKA_OAUTH_CA_FILE")
	if err != nil {
		t.Fatal(err)
	}
	i.conf = &OAuth{
		TokenURL: server.URL, Scopes: []string{"read", "write"}, TLS: conf, Log: slog.New(slog.NewJSONHandler(&i.log, nil)),
	}
	return i
}

// wants checks the token for a client secret.
func (i *issuer) wants(t *testing.T, credential, token string) {
	t.Helper()
	got, err := i.conf.token(t.Context(), "me", secret.New(credential))
	if err != nil || got.Reveal() != token {
		t.Errorf("got %q, %v, want %q", got.Reveal(), err, token)
	}
}

// age makes the cached token older.
func (i *issuer) age(by time.Duration) {
	i.conf.cached.Expiry = i.conf.cached.Expiry.Add(-by)
	i.conf.refresh = i.conf.refresh.Add(-by)
}

func TestTokensAreRenewedBeforeTheyExpire(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.wants(t, "s1", "me-s1-1")
	i.wants(t, "s1", "me-s1-1")
	i.age(47 * time.Minute)
	i.wants(t, "s1", "me-s1-1")
	i.age(2 * time.Minute) // now 11 minutes are left
	i.wants(t, "s1", "me-s1-2")
	i.wants(t, "s2", "me-s2-3") // the client secret was rotated
}

func TestTokenEndpointThatFails(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.wants(t, "planted", "me-planted-1")
	i.status.Store(http.StatusServiceUnavailable)
	i.age(50 * time.Minute)
	i.wants(t, "planted", "me-planted-1") // valid for ten minutes more
	if !strings.Contains(i.log.String(), "token cannot be renewed") {
		t.Errorf("not logged: %s", i.log.String())
	}
	i.age(11 * time.Minute)
	_, err := i.conf.token(t.Context(), "me", secret.New("planted"))
	if err == nil || !retry.Transient(err) {
		t.Errorf("got %v, want an error that passes", err)
	}
	i.status.Store(http.StatusUnauthorized)
	_, err = i.conf.token(t.Context(), "me", secret.New("planted"))
	if err == nil || retry.Transient(err) {
		t.Fatalf("got %v, want an error that lasts", err)
	}
	for _, want := range []string{"401", "invalid_client", "KAFKA_SASL_PASSWORD"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if text := err.Error() + i.log.String(); strings.Contains(text, "planted") || strings.Contains(err.Error(), "\n") {
		t.Errorf("the client secret, or several lines: %s", text)
	}
}

func TestTokenEndpointOfAnUnknownAuthority(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	var err error
	if i.conf.TLS, err = tlsfiles.New(tlsfiles.Files{}, nil, "KAFKA_OAUTH_CA_FILE"); err != nil {
		t.Fatal(err)
	}
	if _, err = i.conf.token(t.Context(), "me", secret.New("s")); err == nil || !strings.Contains(err.Error(), "KAFKA_OAUTH_CA_FILE") {
		t.Errorf("got %v", err)
	}
}
