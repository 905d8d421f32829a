package pipeline

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"payment-capture/internal/kafka"
)

// OpenTransaction is a transaction of another producer that holds back a partition
// of the input: nobody who reads committed records gets past its first one, also not
// to what others wrote after it.
type OpenTransaction struct {
	Partition       int32     `json:"partition"`
	LastStable      int64     `json:"last_stable_offset"` // records from here on are held back
	HighWatermark   int64     `json:"high_watermark"`
	Since           time.Time `json:"since"` // when this instance saw it first
	ProducerID      int64     `json:"producer_id,omitempty"`
	TransactionalID string    `json:"transactional_id,omitempty"` // if the principal may see it
	Unknown         string    `json:"producer_unknown,omitempty"` // why the producer is not named

	named bool // it was looked at, and logged
}

// heldBackFor is how long the last stable offset may stand still below the high
// watermark before it is looked at. Transactions in a row move it.
const heldBackFor = 10 * time.Second

// openWatch finds open transactions that hold back the partitions of this instance.
type openWatch struct {
	p    *Pipeline
	seen map[int32]*OpenTransaction // by partition
}

// look compares the high watermarks with the last stable offsets. It changes nothing
// if they cannot be asked for: reading fails then, too, and says so.
func (w *openWatch) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, watchEvery)
	defer cancel()
	owned := make(chan []int32, 1)
	if !w.p.send(ownedQuery{reply: owned}) {
		return
	}
	var partitions []int32
	select {
	case partitions = <-owned:
	case <-w.p.ended:
		return
	}
	topic := w.p.conf.Topics.Input
	admin := kadm.NewClient(w.p.consumer)
	stable, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return
	}
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
	w.publish()
}

// compare notes where a partition stands.
func (w *openWatch) compare(ctx context.Context, admin *kadm.Client, n int32, stable, high int64) {
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
		if !t.named && time.Since(t.Since) >= heldBackFor {
			w.name(ctx, admin, t)
		}
	}
}

// name asks whose the transaction is, and says so once.
func (w *openWatch) name(ctx context.Context, admin *kadm.Client, t *OpenTransaction) {
	topic := w.p.conf.Topics.Input
	t.named = true
	open, err := kafka.OpenTransactions(ctx, admin, topic, t.Partition, t.LastStable)
	switch {
	case err != nil:
		t.Unknown = "describe the producers of the partition: " + err.Error()
	case len(open) == 0:
		t.Unknown = "the partition's leader knows of no open transaction"
	default:
		t.ProducerID = open[0].ProducerID
		// Those that the principal may not describe are left out.
		if listed, err := admin.ListTransactions(ctx, []int64{t.ProducerID}, nil); err == nil && len(listed) > 0 {
			t.TransactionalID = listed.Sorted()[0].TxnID
		}
	}
	w.p.conf.Log.WarnContext(ctx, "input held back by open transaction", slog.String("topic", topic), slog.Int64("partition", int64(t.Partition)),
		slog.Int64("last_stable_offset", t.LastStable), slog.Int64("high_watermark", t.HighWatermark), slog.Time("since", t.Since),
		slog.Int64("producer_id", t.ProducerID), slog.String("transactional_id", t.TransactionalID), slog.String("producer_unknown", t.Unknown))
}

// publish shows those that were named, to the status and as a metric.
func (w *openWatch) publish() {
	var all []OpenTransaction
	var longest time.Duration
	for _, t := range w.seen {
		if t.named {
			all = append(all, *t)
			longest = max(longest, time.Since(t.Since))
		}
	}
	slices.SortFunc(all, func(a, b OpenTransaction) int { return int(a.Partition - b.Partition) })
	w.p.conf.Metrics.heldBack(longest)
	w.p.send(openFound{all: all})
}

func (w *openWatch) stop() { w.p.conf.Metrics.heldBack(0) }

// ownedQuery asks which partitions are worked.
type ownedQuery struct{ reply chan<- []int32 }

func (m ownedQuery) apply(o *owner) {
	var all []int32
	for n, pt := range o.parts {
		if pt.window != nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	m.reply <- all
}

// openFound is what a look found.
type openFound struct{ all []OpenTransaction }

func (m openFound) apply(o *owner) { o.open = m.all }

// openTransactions returns those of the partitions that are still owned.
func (o *owner) openTransactions() []OpenTransaction {
	return slices.DeleteFunc(slices.Clone(o.open), func(t OpenTransaction) bool { return o.parts[t.Partition] == nil })
}
