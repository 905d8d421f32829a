// Package retry repeats requests to a Kafka cluster that failed for a reason
// that passes by itself.
package retry

import (
	"context"
	"crypto/tls"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Backoff configures the pauses between attempts: the first one is First, and
// each later one is twice as long as the one before, up to Max.
type Backoff struct{ First, Max time.Duration }

// Every returns a Backoff whose pauses are all the same.
func Every(pause time.Duration) Backoff { return Backoff{First: pause, Max: pause} }

// Do calls f until it succeeds, until retriable rejects its error, or until ctx
// ends. It returns the last error of f.
func Do(ctx context.Context, b Backoff, f func() error, retriable func(error) bool) error {
	for pause := b.First; ; pause = min(2*pause, b.Max) {
		err := f()
		if err == nil || ctx.Err() != nil || !retriable(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// Permanent marks an error that lasts until an operator fixes its cause.
func Permanent(err error) error { return permanentError{err} }

type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// Transient reports whether an error of a request is likely to pass by itself.
// An unknown topic and a missing permission are not, although the protocol calls
// the first one retriable: an operator has to act.
func Transient(err error) bool {
	if broker, ok := errors.AsType[*kerr.Error](err); ok {
		return broker.Retriable && broker.Code != kerr.UnknownTopicOrPartition.Code
	}
	if _, ok := errors.AsType[permanentError](err); ok {
		return false
	}
	// Everything else is an error of the network. Only a certificate that is not
	// trusted stays so.
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return !untrusted
}
