package pipeline

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"payment-capture/internal/kafka/txnrecovery"
)

// Open transactions of other producers hold the input back: read-committed consumers do
// not get past the first record of one, not even to what others wrote after it. This
// watch finds and names them, because the consumer only sees that no records come.

// OpenTransaction is an open transaction that holds back a partition of the input.
type OpenTransaction struct {
	Partition       int32     `json:"partition"`
	LastStable      int64     `json:"last_stable_offset"` // records from here on are held back
	HighWatermark   int64     `json:"high_watermark"`
	Since           time.Time `json:"since"` // when this instance saw it first
	ProducerID      int64     `json:"producer_id,omitempty"`
	TransactionalID string    `json:"transactional_id,omitempty"` // if the principal may see it
	Unknown         string    `json:"producer_unknown,omitempty"` // why the producer is not known

	named bool // its producer was looked up and logged
}

// heldBackLimit is how long the last stable offset may stand still below the high
// watermark before the transaction is reported. Successive transactions move it.
const heldBackLimit = 10 * time.Second

// transactionWatch finds open transactions in the partitions of this instance.
type transactionWatch struct {
	p    *Pipeline
	seen map[int32]*OpenTransaction // by partition
}

// check compares the high watermarks with the last stable offsets. If they cannot be
// listed it changes nothing: fetching fails then too, and reports it.
func (w *transactionWatch) check(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, watchInterval)
	defer cancel()
	partitions, err := ask(ctx, w.p, (*owner).startedParts)
	if err != nil {
		return
	}
	topic := w.p.conf.Topics.Input
	admin := kadm.NewClient(w.p.consumer)
	stable, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return
	}
	w.p.send(func(o *owner) { o.readable(stable) })
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return
	}
	for n := range w.seen {
		if !slices.Contains(partitions, n) {
			delete(w.seen, n)
		}
	}
	for _, n := range partitions {
		low, ok := stable.Lookup(topic, n)
		high, ok2 := ends.Lookup(topic, n)
		if ok && ok2 && low.Err == nil && high.Err == nil {
			w.compare(ctx, admin, n, low.Offset, high.Offset)
		}
	}
	w.publish(partitions)
}

// compare tracks the last stable offset of a partition.
func (w *transactionWatch) compare(ctx context.Context, admin *kadm.Client, n int32, stable, high int64) {
	t := w.seen[n]
	if t != nil && t.LastStable != stable {
		delete(w.seen, n)
		if t.named {
			w.p.conf.Log.InfoContext(ctx, "input no longer held back by open transaction", slog.Int64("partition", int64(n)),
				slog.Int64("producer_id", t.ProducerID), slog.Float64("held_back_seconds", time.Since(t.Since).Seconds()))
		}
		t = nil
	}
	switch {
	case stable >= high: // nothing is open: the next one may begin at this offset
		delete(w.seen, n)
	case t == nil:
		w.seen[n] = &OpenTransaction{Partition: n, LastStable: stable, HighWatermark: high, Since: time.Now()}
	default:
		t.HighWatermark = high
		if !t.named && time.Since(t.Since) >= heldBackLimit {
			w.name(ctx, admin, t)
		}
	}
}

// name looks up the producer of a transaction and logs it.
func (w *transactionWatch) name(ctx context.Context, admin *kadm.Client, t *OpenTransaction) {
	topic := w.p.conf.Topics.Input
	t.named = true
	open, err := txnrecovery.OpenTransactions(ctx, admin, topic, t.Partition, t.LastStable)
	switch {
	case err != nil:
		t.Unknown = "describe the producers of the partition: " + err.Error()
	case len(open) == 0:
		t.Unknown = "the partition's leader knows of no open transaction"
	default:
		t.ProducerID = open[0].ProducerID
		// The broker omits transactions that the principal may not describe.
		if listed, err := admin.ListTransactions(ctx, []int64{t.ProducerID}, nil); err == nil && len(listed) > 0 {
			t.TransactionalID = listed.Sorted()[0].TxnID
		}
	}
	w.p.conf.Log.WarnContext(ctx, "input held back by open transaction",
		slog.String("topic", topic), slog.Int64("partition", int64(t.Partition)),
		slog.Int64("last_stable_offset", t.LastStable), slog.Int64("high_watermark", t.HighWatermark), slog.Time("since", t.Since),
		slog.Int64("producer_id", t.ProducerID), slog.String("transactional_id", t.TransactionalID), slog.String("producer_unknown", t.Unknown))
}

// publish shows the named transactions in the status and as a metric.
func (w *transactionWatch) publish(partitions []int32) {
	var all []OpenTransaction
	w.p.conf.Metrics.openGauge.Reset()
	for _, n := range partitions { // in ascending order
		var since time.Duration
		if t := w.seen[n]; t != nil && t.named {
			all = append(all, *t)
			since = time.Since(t.Since)
		}
		w.p.conf.Metrics.heldBack(n, since)
	}
	w.p.send(func(o *owner) { o.heldBackBy = all })
}

func (w *transactionWatch) stop() { w.p.conf.Metrics.openGauge.Reset() }

// startedParts returns the partitions whose committed offset is known.
func (o *owner) startedParts() []int32 {
	var all []int32
	for n, pt := range o.parts {
		if pt.tracker != nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

// openTransactions returns the open transactions in partitions that are still owned.
func (o *owner) openTransactions() []OpenTransaction {
	return slices.DeleteFunc(slices.Clone(o.heldBackBy), func(t OpenTransaction) bool { return o.parts[t.Partition] == nil })
}
