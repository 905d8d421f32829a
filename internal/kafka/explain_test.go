package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err   error
		names string
	}{
		{kerr.SaslAuthenticationFailed, "KAFKA_SASL_PASSWORD"},
		{kerr.UnsupportedSaslMechanism, "KAFKA_SASL_MECHANISM"},
		{kerr.IllegalSaslState, "unset KAFKA_SASL_MECHANISM"},
		{kerr.GroupAuthorizationFailed, "Read on the group"},
		{kerr.TransactionalIDAuthorizationFailed, "Write and Describe on the transactional id"},
		{kerr.ClusterAuthorizationFailed, "IdempotentWrite"},
		{io.EOF, "KAFKA_TLS_ENABLED"},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "KAFKA_TLS_ENABLED to false"},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "KAFKA_TLS_CA_FILE"},
		{&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}}, "clock"},
		{&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}}, "advertised.listeners"},
	} {
		err := Explain(fmt.Errorf("ask the broker: %w", test.err))
		if !strings.Contains(err.Error(), test.names) || strings.Contains(err.Error(), "\n") || !errors.Is(err, test.err) {
			t.Errorf("%v: got %q, want %q in one line", test.err, err, test.names)
		}
		if again := Explain(fmt.Errorf("start: %w", err)); strings.Count(again.Error(), test.names) != 1 {
			t.Errorf("%v is explained twice: %v", test.err, again)
		}
	}
	unknown := errors.New("unknown")
	if got := Explain(unknown); got.Error() != unknown.Error() || Explain(nil) != nil {
		t.Errorf("got %v", got)
	}
	if err := NeedsTopic(kerr.TopicAuthorizationFailed, "Read", "orders"); !strings.Contains(err.Error(), `grant Read on topic "orders"`) {
		t.Errorf("got %v", err)
	}
}
