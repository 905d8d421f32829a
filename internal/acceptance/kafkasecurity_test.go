//go:build integration

package acceptance

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/twmb/franz-go/pkg/kadm"

	"payment-capture/internal/config"
	"payment-capture/internal/kafka"
	"payment-capture/internal/kafkatest"
	"payment-capture/internal/secret"
	"payment-capture/internal/simulator"
)

const (
	saslUser     = "capture"
	saslPassword = "planted-sasl-password"
)

// secureBroker is a broker with TLS and every SASL mechanism.
type secureBroker struct {
	*kafkatest.Container
	files *clientFiles
	idp   *identityProvider
}

func newSecureBroker(t *testing.T, more map[string]string) *secureBroker {
	t.Helper()
	certificate, client := newCertificate(t), newCertificate(t)
	b := &secureBroker{files: newClientFiles(t), idp: newIdentityProvider(t)}
	b.files.write(t, certificate, client)
	const keys = "/tmp/jwks.json"
	properties := map[string]string{
		"ssl.keystore.type": "PEM", "ssl.truststore.type": "PEM",
		"ssl.keystore.certificate.chain":                    propertyText(certificate.certPEM),
		"ssl.keystore.key":                                  propertyText(certificate.keyPEM),
		"ssl.truststore.certificates":                       propertyText(client.certPEM),
		"listener.name.tls.ssl.client.auth":                 "required",
		"listener.name.main.sasl.enabled.mechanisms":        "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		"listener.name.main.scram-sha-256.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"listener.name.main.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
		"listener.name.main.plain.sasl.jaas.config": fmt.Sprintf(
			`org.apache.kafka.common.security.plain.PlainLoginModule required user_%s="%s";`, saslUser, saslPassword),
		"listener.name.main.oauthbearer.sasl.jaas.config": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;",
		"listener.name.main.oauthbearer.sasl.server.callback.handler.class": "org.apache.kafka.common.security.oauthbearer." +
			"OAuthBearerValidatorCallbackHandler",
		// A session ends with its token.
		"listener.name.main.oauthbearer.connections.max.reauth.ms": "3600000",
		"sasl.oauthbearer.jwks.endpoint.url":                       "file://" + keys,
		"sasl.oauthbearer.expected.audience":                       "kafka",
	}
	maps.Copy(properties, more)
	b.Container = kafkatest.Run(t, kafkatest.ContainerOptions{
		Secure: true, Properties: properties, JavaOptions: "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://" + keys,
		Files: []testcontainers.ContainerFile{{Reader: strings.NewReader(b.idp.keys()), ContainerFilePath: keys, FileMode: 0o644}},
	})
	return b
}

// addUser creates the user of SCRAM.
func (b *secureBroker) addUser(w *world) {
	w.t.Helper()
	for _, m := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} {
		altered, err := w.admin.AlterUserSCRAMs(w.t.Context(), nil,
			[]kadm.UpsertSCRAM{{User: saslUser, Mechanism: m, Iterations: 4096, Password: saslPassword}})
		if err == nil {
			err = altered.Error()
		}
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// use configures an instance for a mechanism; "" uses TLS with a client certificate.
func (b *secureBroker) use(mechanism string) func(*config.Config) {
	return func(c *config.Config) {
		c.KafkaTLS, c.KafkaTLSCA = true, b.files.ca
		if mechanism == "" {
			c.KafkaBrokers, c.KafkaTLSCert, c.KafkaTLSKey = b.TLS.Addresses, b.files.certificate, b.files.key
			return
		}
		c.KafkaBrokers, c.KafkaSASLMechanism = b.Addresses, mechanism
		c.KafkaSASLUser, c.KafkaSASLPassword = saslUser, secret.New(saslPassword)
		if mechanism == kafka.OAuthBearer {
			c.KafkaOAuthTokenURL, c.KafkaOAuthScope, c.KafkaOAuthCA = b.idp.url, "capture", b.idp.ca
		}
	}
}

// TestKafkaMechanisms captures orders with each way to authenticate, and checks what the
// service says if that fails.
func TestKafkaMechanisms(t *testing.T) {
	b := newSecureBroker(t, nil)
	for _, mechanism := range []string{"", kafka.Plain, kafka.ScramSHA256, kafka.ScramSHA512, kafka.OAuthBearer} {
		t.Run("with "+mechanism, func(t *testing.T) {
			w := newWorld(t, &b.Plain, 1, simulator.Config{}, serveReal(t))
			b.addUser(w)
			w.start("a", b.use(mechanism))
			w.send(order{id: "e1"})
			w.want(w.awaitDecisions(), map[string]int{"captured": 1})
			if mechanism == kafka.OAuthBearer {
				asked := b.idp.requests.Load()
				w.eventually("the token is renewed twice", func() bool { return b.idp.requests.Load() >= asked+2 })
			}
			w.send(order{id: "e2"})
			w.want(w.awaitDecisions(), map[string]int{"captured": 2})
			if w.log.contains(saslPassword) {
				t.Error("the log shows the SASL password")
			}
		})
	}
	t.Run("refused", func(t *testing.T) { b.testRefusals(t) })
}

// testRefusals checks that a start which cannot connect fails with cause and remedy.
func (b *secureBroker) testRefusals(t *testing.T) {
	other := newClientFiles(t)
	other.write(t, newCertificate(t), newCertificate(t))
	for _, test := range []struct {
		name   string
		change func(*config.Config)
		want   []string
	}{
		{"wrong password", func(c *config.Config) {
			b.use(kafka.ScramSHA512)(c)
			c.KafkaSASLPassword = secret.New(saslPassword + "-wrong")
		}, []string{"SASL_AUTHENTICATION_FAILED", "KAFKA_SASL_PASSWORD"}},
		{"wrong client secret", func(c *config.Config) {
			b.use(kafka.OAuthBearer)(c)
			c.KafkaSASLPassword = secret.New(saslPassword + "-wrong")
		}, []string{"invalid_client", "KAFKA_SASL_PASSWORD"}},
		{"wrong authority", func(c *config.Config) {
			b.use(kafka.ScramSHA512)(c)
			c.KafkaTLSCA = other.ca
		}, []string{"unknown authority", "KAFKA_TLS_CA_FILE"}},
		{"client certificate of another authority", func(c *config.Config) {
			b.use("")(c)
			c.KafkaTLSCert, c.KafkaTLSKey = other.certificate, other.key
		}, []string{"KAFKA_TLS_CERT_FILE"}},
		{"the listener has no SASL", func(c *config.Config) {
			b.use(kafka.Plain)(c)
			c.KafkaTLS, c.KafkaTLSCA, c.KafkaBrokers = false, "", b.Plain.Addresses
		}, []string{"unset KAFKA_SASL_MECHANISM"}},
		{"the listener has no TLS", func(c *config.Config) {
			b.use(kafka.Plain)(c)
			c.KafkaBrokers = b.Plain.Addresses
		}, []string{"names the listener", "KAFKA_TLS_ENABLED"}},
		{"the listener has TLS", func(c *config.Config) { c.KafkaBrokers = b.Addresses }, []string{"KAFKA_TLS_ENABLED"}},
		{"the listener has SASL", func(c *config.Config) {
			b.use(kafka.Plain)(c)
			c.KafkaSASLMechanism, c.KafkaSASLUser, c.KafkaSASLPassword = "", "", secret.Text{}
		}, []string{"KAFKA_SASL_MECHANISM"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, &b.Plain, 1, simulator.Config{}, serveReal(t))
			b.addUser(w)
			err := w.start("a", test.change).wait()
			if err == nil || !containsAll(err.Error(), test.want...) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, test.want)
			}
			if w.log.contains(saslPassword) {
				t.Error("the log shows the SASL password")
			}
		})
	}
}

// identityProvider issues tokens that live for twelve seconds.
type identityProvider struct {
	url, ca  string
	key      *rsa.PrivateKey
	requests atomic.Int32
}

func newIdentityProvider(t *testing.T) *identityProvider {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &identityProvider{key: key}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		w.Header().Set("Content-Type", "application/json")
		if user != saslUser || password != saslPassword || r.FormValue("scope") != "capture" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error": "invalid_client"}`))
			return
		}
		p.requests.Add(1)
		const life = 12
		now := time.Now().Unix()
		_ = json.NewEncoder(w).Encode(map[string]any{
			"token_type": "Bearer", "expires_in": life,
			"access_token": p.sign(map[string]any{"sub": user, "aud": "kafka", "scope": "capture", "iat": now, "exp": now + life}),
		})
	}))
	t.Cleanup(server.Close)
	p.url, p.ca = server.URL, filepath.Join(t.TempDir(), "idp.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(p.ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// keys returns the key set that brokers verify tokens with.
func (p *identityProvider) keys() string {
	n := base64.RawURLEncoding.EncodeToString(p.key.N.Bytes())
	return fmt.Sprintf(`{"keys": [{"kty": "RSA", "kid": "k", "use": "sig", "alg": "RS256", "n": "%s", "e": "AQAB"}]}`, n)
}

// sign returns a JSON web token.
func (p *identityProvider) sign(claims map[string]any) string {
	body, err := json.Marshal(claims)
	if err != nil {
		return err.Error()
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"RS256","kid":"k","typ":"JWT"}`)) + "." + encode(body)
	digest := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, digest[:])
	if err != nil {
		return err.Error()
	}
	return text + "." + encode(signature)
}
