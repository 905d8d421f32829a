package ledger

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
)

// ErrMissing says that the ledger is not what it was: another topic under its
// name, records gone, or a policy that deletes. It must not be read as "never
// attempted".
var ErrMissing = errors.New("ledger_missing")

// Config fixes a Ledger.
type Config struct {
	Kafka kafka.Config
	Topic string
	// Dir is where the local store lies; made where it is missing.
	Dir     string
	FS      vfs.FS
	Log     *slog.Logger
	Metrics *Metrics
}

type Metrics struct{}

func NewMetrics(prometheus.Registerer) *Metrics { return nil }

func (h Health) Following() bool { return true }

// Ledger is the ledger as one instance sees it: the topic, the local store that
// follows all of its partitions, and what this process wrote and has not read
// back. It is safe for use by many goroutines.
type Ledger struct{ conf Config }

// New makes a Ledger; nothing is contacted or opened before Start.
func New(conf Config) *Ledger { return &Ledger{conf: conf} }

// Start looks at the topic, opens the local store and begins to follow.
func (l *Ledger) Start(ctx context.Context) error { return errors.New("stub") }

// Close stops following and closes the store.
func (l *Ledger) Close() error { return nil }

// TopicID is the topic's id at Start.
func (l *Ledger) TopicID() [16]byte { return [16]byte{} }

// Partition gives the ledger's partition for what belongs to a partition of the
// input: its number modulo the ledger's count.
func (l *Ledger) Partition(input int32) int32 { return 0 }

// CatchUp returns when the store holds all that was in the topic when it was
// called, up to the high watermark of every partition. Only ctx ends it early,
// and then its error is ctx's: what keeps it is in Health.
func (l *Ledger) CatchUp(ctx context.Context) error { return errors.New("stub") }

// Lookup gives what is known of an event: by the store, and by what this process
// wrote since. It waits while the store is being read again.
func (l *Ledger) Lookup(ctx context.Context, id string) (event.History, error) {
	return event.History{}, errors.New("stub")
}

// Settled is an event that ended with a payment.
type Settled struct {
	EventID string
	Outcome *event.Outcome
}

// ByReference gives the events under an external reference that ended with an
// outcome that has a payment, captured or rejected.
func (l *Ledger) ByReference(ctx context.Context, reference string) ([]*event.Outcome, error) {
	return nil, errors.New("stub")
}

// Attempt notes durably that an event is tried; input is the partition that it
// came from. Lookup knows of it from then on.
func (l *Ledger) Attempt(ctx context.Context, input int32, id string, a event.Attempt) error {
	return errors.New("stub")
}

// Withdraw takes an attempt back that had no effect, for certain. It does not
// wait: where it is lost, the attempt stands, which is the safe side.
func (l *Ledger) Withdraw(ctx context.Context, input int32, id string) error {
	return errors.New("stub")
}

// Remember keeps a decision that will be in the topic soon, until it is read
// back. Forget drops it: its transaction will not be.
func (l *Ledger) Remember(id string, d *event.Decision) {}

// Forget drops what Remember keeps.
func (l *Ledger) Forget(id string) {}

// Health is the state of the ledger.
type Health struct {
	State   string    `json:"state"`            // restoring, following or halted
	Reason  string    `json:"reason,omitempty"` // why it does not follow, or cannot be written, and what to do
	Since   time.Time `json:"since,omitzero"`
	Read    int64     `json:"read"`   // records read since the start
	Behind  int64     `json:"behind"` // records of the topic that are not read yet
	Restore float64   `json:"restored"`
}

// Health gives the state.
func (l *Ledger) Health() Health { return Health{} }
