package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/ledger/entry"
)

// writer writes attempts and withdrawals outside of transactions, because an attempt
// must be in the topic before the first call. A write is done when the follower has
// delivered it. The client is idempotent and gives no record up, so the writes of one
// event arrive in their order.
type writer struct {
	l *Ledger

	sending sync.Mutex // one sends at a time, in the order in which they were queued

	mu      sync.Mutex
	client  *kgo.Client
	waiting map[*write]time.Time // not done, since when
	fault   string               // why the last write failed; "": it did not
	queue   []*write             // to be sent together
	sent    time.Time            // when something was sent last
	timed   bool                 // a timer will send it
}

// write is an attempt or a withdrawal that is being written.
type write struct {
	record *kgo.Record
	done   chan struct{}

	mu       sync.Mutex
	acked    int64 // its offset; notYet: not known
	seen     int64 // the offset that the follower delivered last; notYet: none
	first    bool  // nothing that matters came before what was delivered
	err      error // of the client
	finished bool
}

const notYet = -1

func newWrite(r *kgo.Record) *write {
	return &write{record: r, done: make(chan struct{}), acked: notYet, seen: notYet}
}

// delivered records that the follower delivered a record with the key of the write. It
// reports whether that may be the write itself, or a repetition of it. A nil write is
// none.
func (w *write) delivered(r *change, disturbed bool) bool {
	if w == nil || (r.attempt == nil) != (w.record.Value == nil) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.offset < w.acked {
		return false // it is an earlier one, which is read again
	}
	w.seen, w.first = r.offset, !disturbed
	w.finishLocked()
	return true
}

// produced records the result of the client.
func (w *write) produced(offset int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.acked, w.err = offset, err
	w.finishLocked()
}

func (w *write) finishLocked() {
	if !w.finished && (w.err != nil || (w.acked != notYet && w.seen >= w.acked)) {
		w.finished = true
		close(w.done)
	}
}

// result returns the result of a write that is done.
func (w *write) result() (first bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first, w.err
}

// sendEvery is the least time between two batches of attempts, so that under load
// many share a request. One that comes alone does not wait.
const sendEvery = 4 * time.Millisecond

func newWriter(l *Ledger) *writer { return &writer{l: l, waiting: make(map[*write]time.Time)} }

// producer returns the producing client. It creates the client on first use, so
// that read-only users never have one.
func (w *writer) producer() (*kgo.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client != nil {
		return w.client, nil
	}
	client, err := w.l.conf.Kafka.NewClient(
		w.l.conf.Kafka.Metrics.Instrument("ledger_writer"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	w.client = client
	return client, err
}

// Attempt records durably that the event is about to be called for, and waits until
// everything that lies before the attempt is known here. No call may be made after an
// error, and the attempt may have been written all the same. [event.ErrStartOver] means
// that the event, or another one that matters, was attempted or decided by another
// instance since the claim was made: withdraw, close the claim and look again.
func (c *Claim) Attempt(ctx context.Context, a event.Attempt) error {
	start := time.Now()
	first, err := c.put(ctx, entry.EncodeAttempt(a))
	switch {
	case err != nil:
		return fmt.Errorf("record the attempt on event %s in the ledger: %w", c.id, err)
	case !first:
		return event.ErrStartOver
	}
	c.l.conf.Metrics.attempted(time.Since(start))
	return nil
}

// withdrawFor is how long the caller waits for a withdrawal. It may arrive later.
const withdrawFor = 3 * time.Second

// Withdraw takes back the attempt of this process, which certainly had no effect. After
// an error it may stand, which is the safe side.
func (c *Claim) Withdraw(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, withdrawFor)
	defer cancel()
	_, err := c.put(ctx, nil)
	if err == nil {
		return nil
	}
	c.l.conf.Metrics.withdrawalLost()
	c.l.log.WarnContext(ctx, "withdrawing an attempt failed; event counts as attempted",
		slog.String("event_id", c.id), slog.Any("error", err))
	return fmt.Errorf("withdraw the attempt on event %s from the ledger: %w", c.id, err)
}

// put writes a record under the key of this process's attempt on the event, and waits
// until the follower has delivered it.
func (c *Claim) put(ctx context.Context, value []byte) (first bool, err error) {
	l := c.l
	w := newWrite(&kgo.Record{
		Topic: l.conf.Topic, Partition: l.partition(c.reference, c.id), Key: entry.AttemptKey(c.id, l.owner), Value: value,
	})
	c.setWrite(w)
	defer c.setWrite(nil)
	// The write goes on if the caller stops waiting, because it may have been sent.
	l.writer.write(w) //nolint:contextcheck // as said
	defer l.writer.left(w)
	for {
		reason, changed := l.availability.halted()
		if reason != "" {
			return false, errors.New("the ledger is halted: " + reason)
		}
		select {
		case <-w.done:
			return w.result()
		case <-ctx.Done():
			return false, ctx.Err()
		case <-changed:
		}
	}
}

func (c *Claim) setWrite(w *write) {
	c.l.claims.mu.Lock()
	defer c.l.claims.mu.Unlock()
	c.write = w
}

// write sends a record, together with others if some were sent a moment ago.
func (w *writer) write(in *write) {
	w.mu.Lock()
	now := time.Now()
	w.waiting[in] = now
	w.queue = append(w.queue, in)
	wait := sendEvery - now.Sub(w.sent)
	if wait > 0 && !w.timed {
		w.timed = true
		time.AfterFunc(wait, w.send)
	}
	w.mu.Unlock()
	if wait <= 0 {
		w.send()
	}
}

// left records that nobody waits for a write any more.
func (w *writer) left(in *write) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, in)
}

// send sends the queued writes in their order.
func (w *writer) send() {
	w.sending.Lock()
	defer w.sending.Unlock()
	w.mu.Lock()
	batch := w.queue
	w.queue, w.sent, w.timed = nil, time.Now(), false
	w.mu.Unlock()
	if len(batch) == 0 {
		return // another call sent it
	}
	client, err := w.producer()
	for _, in := range batch {
		end := func(r *kgo.Record, err error) {
			w.ended(err)
			in.produced(r.Offset, err)
		}
		if err != nil {
			end(in.record, err)
			continue
		}
		client.TryProduce(context.Background(), in.record, end)
	}
}

func (w *writer) ended(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = ""
	if err != nil {
		w.fault = kafka.NeedsTopic(err, "Write", w.l.conf.Topic).Error()
		w.l.conf.Metrics.writeFailed()
	}
}

// slowAfter is the age at which a write under way is reported as a problem.
const slowAfter = 3 * time.Second

// problem returns why attempts cannot be written; "" if they can.
func (w *writer) problem() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != "" {
		return fmt.Sprintf("attempts cannot be written to the ledger's topic %q: %s: nothing is captured until they can", w.l.conf.Topic, w.fault)
	}
	for _, since := range w.waiting {
		if waited := time.Since(since); waited > slowAfter {
			return fmt.Sprintf("an attempt has not been written to the ledger's topic %q and read back for %s: nothing is captured until it is",
				w.l.conf.Topic, waited.Round(time.Second))
		}
	}
	return ""
}

// closeFor bounds the wait for writes under way when the ledger is closed.
const closeFor = 2 * time.Second

func (w *writer) close() {
	w.send() // what is queued
	w.mu.Lock()
	client := w.client
	w.mu.Unlock()
	if client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeFor)
	defer cancel()
	if err := client.Flush(ctx); err != nil {
		w.l.log.Warn("attempts not acknowledged before close", slog.Any("error", err))
	}
	client.Close()
}
