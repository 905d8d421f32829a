package pipeline

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/event"
	"payment-capture/internal/offsetmeta"
)

// seeded returns the random source of a test case; the seed is in every failure's
// message.
func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// newTestPipeline returns a pipeline without a log.
func newTestPipeline(conf Config, ledger Ledger) *Pipeline {
	conf.Log, conf.Metrics = slog.New(slog.DiscardHandler), NewMetrics(prometheus.NewRegistry())
	return New(conf, nil, ledger)
}

// newTestOwner returns the owner of such a pipeline.
func newTestOwner(t *testing.T, conf Config, ledger Ledger) *owner {
	t.Helper()
	o := newOwner(newTestPipeline(conf, ledger))
	o.work = t.Context()
	return o
}

// ledgerStub is a ledger with a topic id and histories alone.
type ledgerStub struct {
	Ledger
	id      offsetmeta.TopicID
	history map[string]event.History
}

func (l *ledgerStub) TopicID() [16]byte             { return l.id }
func (l *ledgerStub) CatchUp(context.Context) error { return nil }
func (l *ledgerStub) Lookup(_ context.Context, id string) (event.History, error) {
	return l.history[id], nil
}
