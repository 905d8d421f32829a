//go:build synctests

package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestAwaitCluster(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	for _, e := range []error{
		ErrNoStart, ErrUnfit, kerr.UnknownTopicOrPartition, kerr.GroupAuthorizationFailed,
		&tls.CertificateVerificationError{},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			err := AwaitCluster(t.Context(), time.Minute, log, func(context.Context) error { tries++; return fmt.Errorf("start: %w", e) })
			if tries != 1 || !errors.Is(err, e) {
				t.Errorf("%v: %d tries, error %v", e, tries, err)
			}
		})
	}
	for _, e := range []error{io.EOF, errors.New("unable to dial"), kerr.CoordinatorNotAvailable, context.DeadlineExceeded} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			err := AwaitCluster(t.Context(), time.Minute, log, func(context.Context) error {
				if tries++; tries == 5 {
					return nil
				}
				return e
			})
			if tries != 5 || err != nil {
				t.Errorf("%v: %d tries, error %v", e, tries, err)
			}
			began := time.Now()
			err = AwaitCluster(t.Context(), time.Minute, log, func(context.Context) error { return e })
			if took := time.Since(began); took != time.Minute || !errors.Is(err, e) {
				t.Errorf("%v: after %v error %v", e, took, err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err = AwaitCluster(ctx, time.Minute, log, func(context.Context) error { return e }); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v: error %v", e, err)
			}
		})
	}
}

// TestAwaitClusterWhileNoBrokerIsUp: the broker comes up after the start began.
func TestAwaitClusterWhileNoBrokerIsUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		conf := w.committerConfig()
		w.wire.setDown(true)
		time.AfterFunc(20*time.Second, func() { w.wire.setDown(false) })
		var c *Committer
		err := AwaitCluster(t.Context(), time.Minute, conf.Log, func(ctx context.Context) (err error) {
			c, err = NewCommitter(ctx, conf)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		w.commitsAfter(c, nil)
	})
}
