package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Explain adds to an error of a connection or a request what an operator has to do about
// it. It returns an error that has no known remedy, or already one, unchanged.
func Explain(err error) error {
	if _, done := errors.AsType[*explained](err); err == nil || done {
		return err
	}
	remedy := remedyOf(err)
	if remedy == "" {
		return err
	}
	return &explained{err, remedy}
}

// NeedsTopic adds the missing permission to an error of a request that needs an operation
// on a topic. Other errors it passes to Explain.
func NeedsTopic(err error, operation, topic string) error {
	return needsOneOf(err, operation, []string{topic})
}

// needsOneOf is NeedsTopic for an error that is of one of several topics.
func needsOneOf(err error, operation string, topics []string) error {
	if !errors.Is(err, kerr.TopicAuthorizationFailed) {
		return Explain(err)
	}
	grants := make([]string, len(topics))
	for i, topic := range topics {
		grants[i] = fmt.Sprintf("grant %s on topic %q", operation, topic)
	}
	return &explained{err, strings.Join(grants, " or ") + " to this service's principal"}
}

// explained is an error with its remedy.
type explained struct {
	error

	remedy string
}

// Error implements the error interface.
func (e *explained) Error() string { return e.error.Error() + "; " + e.remedy }

// Unwrap returns the error without its remedy.
func (e *explained) Unwrap() error { return e.error }

func remedyOf(err error) string {
	if remedy := tlsRemedy(err); remedy != "" {
		return remedy
	}
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "the broker refused the credential: check KAFKA_SASL_MECHANISM, KAFKA_SASL_USER and KAFKA_SASL_PASSWORD (or its _FILE)"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return "the listener does not offer KAFKA_SASL_MECHANISM: set one that it offers, or the address of another listener in KAFKA_BROKERS"
	case errors.Is(err, kerr.IllegalSaslState):
		return "the listener expects no SASL: unset KAFKA_SASL_MECHANISM, or set KAFKA_BROKERS to the listener with SASL"
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return "grant Read on the group KAFKA_GROUP to this service's principal"
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return "grant Write and Describe on the transactional ids that begin with KAFKA_GROUP to this service's principal"
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		return "grant IdempotentWrite on the cluster to this service's principal"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return listenerRemedy
	}
	return ""
}

// listenerRemedy is for a listener that closes connections or does not answer: it may be
// unreachable, or expect TLS or SASL.
const listenerRemedy = "check that KAFKA_BROKERS is reachable and names the listener for KAFKA_TLS_ENABLED and KAFKA_SASL_MECHANISM"

func tlsRemedy(err error) string {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "the listener does not speak TLS: set KAFKA_BROKERS to the listener with TLS, or KAFKA_TLS_ENABLED to false"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "KAFKA_TLS_CA_FILE must hold the authority that issued the brokers' certificates"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "KAFKA_BROKERS and the brokers' advertised.listeners must have names of their certificates"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "renew the broker's certificate, or correct this machine's clock"
	}
	if remote, ok := errors.AsType[*net.OpError](err); ok && remote.Op == "remote error" {
		return "the broker ended the TLS handshake: check KAFKA_TLS_CERT_FILE, its key, and that the brokers trust its authority"
	}
	return ""
}
