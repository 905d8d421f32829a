package retry_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"payment-capture/internal/kafka/retry"
)

var errAgain = errors.New("again")

func always(error) bool { return true }

// TestDoPauses: each pause is twice the one before, up to the maximum.
func TestDoPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		err := retry.Do(t.Context(), retry.Backoff{First: time.Second, Max: 3 * time.Second}, func() error {
			if at = append(at, time.Since(began)); len(at) == 5 {
				return nil
			}
			return errAgain
		}, always)
		want := []time.Duration{0, time.Second, 3 * time.Second, 6 * time.Second, 9 * time.Second}
		if err != nil || !slices.Equal(at, want) {
			t.Errorf("attempts at %v, error %v; want %v", at, err, want)
		}
	})
}

// TestDoStops: an error that is not retriable ends the attempts at once, and so does the
// end of the context.
func TestDoStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		err := retry.Do(t.Context(), retry.Every(time.Second), func() error { attempts++; return errAgain },
			func(error) bool { return attempts < 3 })
		if attempts != 3 || !errors.Is(err, errAgain) {
			t.Errorf("%d attempts, error %v; want 3", attempts, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		began := time.Now()
		attempts = 0
		err = retry.Do(ctx, retry.Every(time.Second), func() error { attempts++; return errAgain }, always)
		if took := time.Since(began); attempts != 3 || took != 2500*time.Millisecond || !errors.Is(err, errAgain) {
			t.Errorf("%d attempts in %s, error %v; want 3 until the context ends", attempts, took, err)
		}
	})
}

func TestTransient(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want bool
	}{
		{io.EOF, true},
		{errors.New("unable to dial"), true},
		{context.DeadlineExceeded, true},
		{kerr.CoordinatorNotAvailable, true},
		{kerr.NotLeaderForPartition, true},
		{kerr.UnknownTopicOrPartition, false},
		{kerr.GroupAuthorizationFailed, false},
		{kerr.InvalidTxnState, false},
		{&tls.CertificateVerificationError{Err: io.EOF}, false},
	} {
		if got := retry.Transient(fmt.Errorf("request: %w", test.err)); got != test.want {
			t.Errorf("%v: transient %v, want %v", test.err, got, test.want)
		}
	}
}
