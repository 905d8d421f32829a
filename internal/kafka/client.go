// Package kafka adds to the client library what the service needs: the options of
// every client (client.go, tls.go, sasl.go, oauth.go), topics and their checks (topics.go), the start
// offsets of a new group (start.go), the transaction that carries outcomes and offsets
// together (committer.go), and a reader of an offset range (rangereader.go).
//
// [Committer.Commit] runs one transaction: begin, produce, offsets, end. failure.go
// finds out how a transaction ended whose end was not confirmed, and which process
// fenced the producer; connections.go ends a transaction that a broker does not
// accept. Hanging transactions are the subject of package txnrecovery,
// which the Committer uses to acquire its transactional id.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/plugin/kslog"

	"payment-capture/internal/contact"
	"payment-capture/internal/kafka/retry"
)

// Config configures the clients of a cluster.
type Config struct {
	Brokers  []string
	ClientID string
	TLS      *TLS           // nil: plaintext
	SASL     sasl.Mechanism // nil: none
	// Dial opens connections; nil: net.Dialer. Tests use a virtual network.
	Dial func(ctx context.Context, network, host string) (net.Conn, error)
	// Requests limits produce requests; nil: the library's default applies.
	Requests *RequestLimit
	Log      *slog.Logger
	// Metrics collects the metrics of long-lived clients; nil: none are collected.
	Metrics *ClientMetrics
	// Contact tracks which brokers answer; nil: nothing is tracked.
	Contact *contact.Watch
	// Look reads the files of certificates and credentials, so that an unreadable
	// one is logged before a connection needs it.
	Look func()
}

// defaultBatchBytes is the library's default for the largest record batch.
const defaultBatchBytes = 1_000_012

// NewClient returns a client with the options that all clients share, and more.
func (c Config) NewClient(more ...kgo.Opt) (*kgo.Client, error) {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(c.ClientID),
		// The library repeats a request whose response did not come in this time.
		kgo.RequestTimeoutOverhead(10 * time.Second),
		// How soon the client finds a leader that moved.
		kgo.MetadataMinAge(250 * time.Millisecond),
		// A port proxy accepts connections and closes them while its broker is away.
		// The library would blame missing TLS, and end the group session.
		kgo.AlwaysRetryEOF(),
	}
	if c.Requests != nil {
		most := int32(c.Requests.Bytes()) //nolint:gosec // G115: it was an int32
		opts = append(opts, kgo.BrokerMaxWriteBytes(most), kgo.ProducerBatchMaxBytes(min(most, defaultBatchBytes)))
	}
	if c.Log != nil {
		opts = append(opts, kgo.WithLogger(kslog.New(c.Log)))
	}
	if c.Contact != nil {
		opts = append(opts, kgo.WithHooks(contactHook{c.Contact}))
	}
	if c.SASL != nil {
		opts = append(opts, kgo.SASL(c.SASL))
	}
	switch {
	case c.TLS != nil:
		opts = append(opts, kgo.Dialer(c.dialTLS))
	case c.Dial != nil:
		opts = append(opts, kgo.Dialer(c.Dial))
	}
	cl, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, fmt.Errorf("kafka client for %s: %w", strings.Join(c.Brokers, ","), err)
	}
	return cl, nil
}

// AwaitCluster repeats a start until it succeeds, if it fails for a reason that passes
// by itself, such as a broker that is not up yet. It returns an error after patience.
func AwaitCluster(ctx context.Context, patience time.Duration, log *slog.Logger, start func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("the cluster was not ready for %s", patience))
	defer cancel()
	err := retry.Do(ctx, retry.Backoff{First: 100 * time.Millisecond, Max: 5 * time.Second}, func() error { return Explain(start(ctx)) },
		func(err error) bool {
			if !isTransient(err) {
				return false
			}
			log.WarnContext(ctx, "cluster not ready", slog.Any("error", err))
			return true
		})
	if err != nil && ctx.Err() != nil && isTransient(err) {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		if _, done := errors.AsType[*explained](err); !done {
			return &explained{err, listenerRemedy}
		}
	}
	return err
}

// isTransient reports whether the cause of a failed start is likely to pass by itself.
func isTransient(err error) bool {
	return retry.Transient(err) && !IsUnsafeStart(err) && !errors.Is(err, ErrUnfit)
}
