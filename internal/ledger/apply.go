package ledger

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/ledger/store"
)

// applier puts the records of the topic into the store. It reads what is not committed:
// an attempt counts as soon as it is there, and the records of a transaction wait here
// for its end. So an open transaction delays no attempt.
type applier struct {
	l     *Ledger
	batch *store.Batch
	read  map[int32]store.Position
	open  map[int32]map[int64]*transaction // by partition and producer id

	// Of the present batch:
	changes   []change
	attempted map[string][]*openAttempt // the open attempts, of the events of which they changed
}

// transaction has the records of an open transaction in one partition.
type transaction struct {
	start   int64
	records []*kgo.Record
}

func newApplier(l *Ledger, s *store.Store) *applier {
	return &applier{
		l: l, batch: s.NewBatch(), read: make(map[int32]store.Position), open: make(map[int32]map[int64]*transaction),
		attempted: make(map[string][]*openAttempt),
	}
}

// apply puts what was fetched into the store. The error halts, or is the store's.
func (a *applier) apply(fetches kgo.Fetches) error {
	a.batch.Reset()
	clear(a.changes) // they hold on to what was read
	a.changes = a.changes[:0]
	clear(a.attempted)
	clear(a.read)
	records := 0
	for it := fetches.RecordIter(); !it.Done(); {
		r := it.Next()
		records++
		if err := a.add(r); err != nil {
			if errors.Is(err, entry.ErrUnreadable) {
				return &haltError{causeUnreadable, fmt.Sprintf("ledger_unreadable: offset %d of partition %d of topic %q: %v", r.Offset, r.Partition,
					a.l.conf.Topic, err)}
			}
			return err
		}
		a.read[r.Partition] = store.Position{Next: r.Offset + 1, Epoch: r.LeaderEpoch, Written: r.Timestamp}
	}
	if records == 0 {
		return nil
	}
	for partition, p := range a.read {
		p.From = p.Next
		for _, t := range a.open[partition] {
			p.From = min(p.From, t.start)
		}
		a.read[partition] = p
		a.batch.SetPosition(partition, p)
	}
	if err := a.batch.Commit(); err != nil {
		return err
	}
	a.publish(fetches, records)
	return nil
}

// publish shows what the store has now.
func (a *applier) publish(fetches kgo.Fetches, records int) {
	l := a.l
	l.claims.apply(a.changes)
	for i := range a.changes {
		if c := &a.changes[i]; c.owner == "" {
			l.pending.readBack(c.id, c.decision)
		}
	}
	ends := make(map[int32]int64)
	fetches.EachPartition(func(p kgo.FetchTopicPartition) { ends[p.Partition] = p.HighWatermark })
	l.watermarks.saw(ends)
	l.watermarks.advance(a.read, records)
	l.conf.Metrics.read(records, l.watermarks.progress().behind)
}

// add adds a record, or keeps it for the end of its transaction.
func (a *applier) add(r *kgo.Record) error {
	switch {
	case r.Attrs.IsControl():
		return a.end(r)
	case !r.Attrs.IsTransactional():
		return a.entry(r)
	}
	open := a.open[r.Partition]
	if open == nil {
		open = make(map[int64]*transaction)
		a.open[r.Partition] = open
	}
	t := open[r.ProducerID]
	if t == nil {
		t = &transaction{start: r.Offset}
		open[r.ProducerID] = t
	}
	t.records = append(t.records, r)
	return nil
}

// end ends the transaction of a marker. Other control records end none.
func (a *applier) end(marker *kgo.Record) error {
	t := a.open[marker.Partition][marker.ProducerID]
	if t == nil {
		return nil
	}
	var key kmsg.ControlRecordKey
	if err := key.ReadFrom(marker.Key); err != nil {
		return fmt.Errorf("%w: a control record: %w", entry.ErrUnreadable, err)
	}
	if key.Type != kmsg.ControlRecordKeyTypeAbort && key.Type != kmsg.ControlRecordKeyTypeCommit {
		return nil
	}
	delete(a.open[marker.Partition], marker.ProducerID)
	if key.Type == kmsg.ControlRecordKeyTypeAbort {
		return nil
	}
	for _, r := range t.records {
		if err := a.entry(r); err != nil {
			return err
		}
	}
	return nil
}

// entry adds an entry of the ledger to the batch.
func (a *applier) entry(r *kgo.Record) error {
	kind, id, owner, err := entry.ParseKey(r.Key)
	if err != nil {
		return err
	}
	c := change{id: id, owner: owner, partition: r.Partition, offset: r.Offset, written: r.Timestamp}
	switch {
	case kind == entry.KindAttempt && r.Value == nil:
		a.endAttempts(&c)
	case kind == entry.KindAttempt:
		attempt, err := entry.DecodeAttempt(r.Value)
		if err != nil {
			return err
		}
		c.attempt = &attempt
		a.attempt(&c, r.Value)
	case r.Value == nil:
		a.batch.DeleteDecision(id)
	default:
		rank, at, under, err := entry.Summary(r.Value)
		if err != nil {
			return err
		}
		c.reference, c.decision = under.Reference, store.Decision{Rank: store.Rank(rank), At: at, Value: r.Value}
		a.batch.PutDecision(id, store.Index(under), c.decision)
		a.endAttempts(&c)
	}
	a.changes = append(a.changes, c)
	return nil
}

// openOn returns the open attempts on an event, as the batch leaves them.
func (a *applier) openOn(id string) []*openAttempt {
	if open, ok := a.attempted[id]; ok {
		return open
	}
	return a.l.claims.of(id)
}

// attempt adds an attempt.
func (a *applier) attempt(c *change, value []byte) {
	open := a.openOn(c.id)
	added := c.replaces(open)
	open = slices.DeleteFunc(open, func(older *openAttempt) bool { return older.owner == c.owner })
	a.attempted[c.id] = append(open, added)
	a.batch.PutAttempt(store.Attempt{
		ID: c.id, Owner: c.owner, Partition: c.partition, Offset: added.offset, Written: c.written, Value: value,
	})
}

// endAttempts removes the attempts that a withdrawal or a decision ends.
func (a *applier) endAttempts(c *change) {
	open := a.openOn(c.id)
	if len(open) == 0 {
		return
	}
	a.attempted[c.id] = slices.DeleteFunc(open, func(o *openAttempt) bool {
		ends := c.ends(o)
		if ends {
			a.batch.DeleteAttempt(c.id, o.owner)
		}
		return ends
	})
}
