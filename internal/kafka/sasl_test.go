package kafka_test

import (
	"errors"
	"strings"
	"testing"

	"payment-capture/internal/kafka"
	"payment-capture/internal/secret"
)

func TestNewSASL(t *testing.T) {
	t.Parallel()
	refused := errors.New("no credential")
	for _, name := range kafka.SASLMechanisms() {
		if name == kafka.AWSMSKIAM { // has no password
			continue
		}
		reads := 0
		m, err := kafka.NewSASL(kafka.SASLConfig{Mechanism: name, User: "user", Credential: func() (secret.Text, error) {
			reads++
			if reads == 2 {
				return secret.Text{}, refused
			}
			return secret.New("pass"), nil
		}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.Name() != name || reads != 0 {
			t.Errorf("%s: named %s, read %d times before a connection", name, m.Name(), reads)
		}
		if _, _, err := m.Authenticate(t.Context(), "host"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := m.Authenticate(t.Context(), "host"); !errors.Is(err, refused) || reads != 2 {
			t.Errorf("%s: the credential is not read at every connection: %v", name, err)
		}
	}
	for _, name := range []string{"", "plain", "GSSAPI", "SCRAM-SHA-1"} {
		if _, err := kafka.NewSASL(kafka.SASLConfig{Mechanism: name}); err == nil || !strings.Contains(err.Error(), "SCRAM-SHA-256") {
			t.Errorf("%q: error %v does not list the mechanisms", name, err)
		}
	}
}
