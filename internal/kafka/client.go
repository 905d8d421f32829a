// Package kafka holds what the service needs of Kafka beyond the client
// library: options for every client, the start offsets of a new group, the
// topics, and the transaction that carries outcomes and offsets together.
package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"github.com/twmb/franz-go/plugin/kslog"

	"payment-capture/internal/secret"
)

// Config says how to reach a cluster. It is the same for every client.
type Config struct {
	Brokers  []string
	ClientID string
	TLS      *TLS           // nil: plaintext
	SASL     sasl.Mechanism // nil: none
	// Dial opens connections; nil means the network. Tests give a virtual one.
	Dial func(ctx context.Context, network, host string) (net.Conn, error)
	// Requests bounds produce requests; nil: they are as large as the library makes
	// them.
	Requests *RequestLimit
	Log      *slog.Logger
	// Look looks at the files of certificates and credentials, so that one that
	// cannot be read is logged before a connection needs it; nil: there are none.
	Look func()
}

// defaultBatchBytes is the library's default for the largest record batch.
const defaultBatchBytes = 1_000_012

// Options gives the client options that every client shares.
func (c Config) Options() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...),
		kgo.ClientID(c.ClientID),
		// A lost response is known to be lost within this time; the
		// library then asks again by itself.
		kgo.RequestTimeoutOverhead(10 * time.Second),
		// How soon a leader that moved is found again.
		kgo.MetadataMinAge(250 * time.Millisecond),
		// A port proxy in front of a broker that is away takes connections and
		// closes them. The library takes that for a lack of TLS and gives up,
		// and the group session with it.
		kgo.AlwaysRetryEOF(),
	}
	if c.Requests != nil {
		most := int32(c.Requests.Bytes()) //nolint:gosec // G115: it was an int32
		opts = append(opts, kgo.BrokerMaxWriteBytes(most), kgo.ProducerBatchMaxBytes(min(most, defaultBatchBytes)))
	}
	if c.Log != nil {
		opts = append(opts, kgo.WithLogger(kslog.New(c.Log)))
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
	return opts
}

// NewClient makes a client with the shared options and more.
func (c Config) NewClient(more ...kgo.Opt) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append(c.Options(), more...)...)
	if err != nil {
		return nil, fmt.Errorf("kafka client for %s: %w", strings.Join(c.Brokers, ","), err)
	}
	return cl, nil
}

// SASLMechanisms lists the mechanisms that NewSASL takes.
func SASLMechanisms() []string {
	return []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}
}

// NewSASL makes a mechanism. The credential is the password, or for
// OAUTHBEARER the token; it is asked for at every connection, so that one that
// was renewed is used without a restart. A source that gives an error beside a
// credential is taken to give the last one it knows.
func NewSASL(mechanism, user string, source func() (secret.Text, error)) (sasl.Mechanism, error) {
	credential := func() (secret.Text, error) {
		text, err := source()
		if !text.IsZero() {
			// Its file cannot be read just now; the last one that could may
			// still be good, and the broker says if it is not.
			err = nil
		}
		return text, err
	}
	scramAuth := func(context.Context) (scram.Auth, error) {
		pass, err := credential()
		return scram.Auth{User: user, Pass: pass.Reveal()}, err
	}
	switch mechanism {
	case "PLAIN":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			pass, err := credential()
			return plain.Auth{User: user, Pass: pass.Reveal()}, err
		}), nil
	case "SCRAM-SHA-256":
		return scram.Sha256(scramAuth), nil
	case "SCRAM-SHA-512":
		return scram.Sha512(scramAuth), nil
	case "OAUTHBEARER":
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			token, err := credential()
			return oauth.Auth{Token: token.Reveal()}, err
		}), nil
	}
	return nil, fmt.Errorf("%q is none of %s", mechanism, strings.Join(SASLMechanisms(), ", "))
}
