package pipeline

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// Ledger is what was attempted and decided, by event id, by all instances and
// for as long as the ledger's topic is there.
type Ledger interface {
	// TopicID is the ledger topic's. A committed offset names it, so that a
	// ledger that is gone is not taken for one that knows of nothing.
	TopicID() [16]byte
	// Empty reports whether nothing was ever attempted or decided.
	Empty(ctx context.Context) (bool, error)
	// CatchUp returns when all is known that was in the ledger when it was
	// called. Its error is ctx's.
	CatchUp(ctx context.Context) error
	// Lookup gives what is known of an event.
	Lookup(ctx context.Context, id string) (event.History, error)
	// Snapshot gives what is known now of many events at once, without waiting;
	// nil where that cannot be said. IsCurrent reports whether that is still so.
	Snapshot(ids []string) []event.Snapshot
	IsCurrent(id string, g event.Snapshot) bool
	// UnderReference gives what is known of every event under an external reference.
	UnderReference(ctx context.Context, reference string) ([]event.Known, error)
	// Attempt notes durably that an event of a partition is tried.
	Attempt(ctx context.Context, partition int32, id string, a event.Attempt) error
	// Withdraw takes such a note back, and waits for that.
	Withdraw(ctx context.Context, partition int32, id string) error
	// Records gives what a decision adds to its flush: itself, and the end of
	// its attempt.
	Records(partition int32, id string, d *event.Decision) ([]*kgo.Record, error)
	// AddPending keeps a decision from when it is made until it is read back;
	// DropPending drops it, for it will not be.
	AddPending(id string, d *event.Decision)
	DropPending(id string)
}
