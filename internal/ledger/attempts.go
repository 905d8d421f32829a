package ledger

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// attemptWriter writes attempts and withdrawals outside of transactions, because an
// attempt must be in the topic before the first call.
type attemptWriter struct {
	l *Ledger

	sending sync.Mutex // one sends at a time, in the order in which they were queued

	mu      sync.Mutex
	client  *kgo.Client
	waiting map[*attemptWrite]time.Time // what is being written, since when
	fault   string                      // why the last write failed; "": it did not
	queue   []queued                    // to be sent together
	sent    time.Time                   // when something was sent last
	timed   bool                        // a timer will send it
	lost    map[string]time.Time        // when a withdrawal of an event was given up, which may arrive yet
}

type queued struct {
	in   *attemptWrite
	done func(error)
}

// sendEvery is the least time between two batches of attempts, so that under load
// many share a request. One that comes alone does not wait.
const sendEvery = 4 * time.Millisecond

func newAttemptWriter(l *Ledger) *attemptWriter {
	return &attemptWriter{l: l, waiting: make(map[*attemptWrite]time.Time), lost: make(map[string]time.Time)}
}

// producer returns the producing client. It creates the client on first use, so
// that read-only users never have one.
func (w *attemptWriter) producer() (*kgo.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client != nil {
		return w.client, nil
	}
	client, err := w.l.conf.Kafka.NewClient(
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	w.client = client
	return client, err
}

// Attempt records durably that an event is about to be called for; input is the
// partition that the event came from. Lookup knows of it from then on, also after
// an error, because it may have been written all the same. No call may be made
// after an error; repeat Attempt first.
func (l *Ledger) Attempt(ctx context.Context, input int32, id string, a event.Attempt) error {
	if state, reason, _ := l.availability.current(); state == stateHalted {
		return fmt.Errorf("record the attempt on event %s: the ledger is halted: %s", id, reason)
	}
	if wait := l.writes.mayStillArrive(id); wait > 0 {
		return fmt.Errorf("record the attempt on event %s: the withdrawal of an earlier one was not acknowledged, and would erase this one if "+
			"it came late: it is waited for another %s",
			id, wait.Round(time.Second))
	}
	start := time.Now()
	in := &attemptWrite{id: id, partition: l.Partition(input), attempt: &a, value: EncodeAttempt(a)}
	done := make(chan error, 1)
	// The write goes on if the caller stops waiting, because it may have been sent.
	if _, err := l.writes.write(in, func(err error) { done <- err }); err != nil { //nolint:contextcheck // as said
		return err
	}
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("record the attempt on event %s in the ledger: %w", id, err)
	}
	l.conf.Metrics.attempted(time.Since(start))
	return nil
}

// withdrawFor is how long a withdrawal may take. A later one could reach the
// topic when another instance has the event, and erase that one's attempt.
const withdrawFor = 3 * time.Second

// Withdraw takes back an attempt that certainly had no effect. It waits for the
// acknowledgement, because the event may be handed over only when the withdrawal
// lies before its next owner's attempt. After an error the attempt may stand,
// which is the safe side.
//
// A withdrawal that is not acknowledged in time is given up together with its
// client, so that it is not sent again: the library repeats a request that was sent
// once, even if the record's context has ended.
func (l *Ledger) Withdraw(ctx context.Context, input int32, id string) error {
	done := make(chan error, 1)
	client, err := l.writes.write(&attemptWrite{id: id, partition: l.Partition(input)}, func(err error) { done <- err }) //nolint:contextcheck // see above
	if err == nil {
		timer := time.NewTimer(withdrawFor)
		defer timer.Stop()
		select {
		case err = <-done:
		case <-timer.C:
			err = l.writes.giveUp(client, done)
		case <-ctx.Done():
			err = l.writes.giveUp(client, done)
		}
	}
	if err != nil {
		l.withdrawalLost(id, err)
		return fmt.Errorf("withdraw the attempt on event %s from the ledger: %w", id, err)
	}
	return nil
}

// giveUp closes a client; the next write creates another one. Its other writes
// fail, and their callers repeat them. It does nothing if client is nil.
func (w *attemptWriter) giveUp(client *kgo.Client, done <-chan error) error {
	if client == nil {
		return <-done
	}
	w.mu.Lock()
	if w.client == client {
		w.client = nil
	}
	w.mu.Unlock()
	client.Close()
	return <-done
}

// arrivesWithin is how long a request that was given up may lie at a broker before it
// is handled: brokers hang up, and collect garbage, for less.
const arrivesWithin = 30 * time.Second

// mayStillArrive returns how long a withdrawal of an event that was given up may still
// arrive.
func (w *attemptWriter) mayStillArrive(id string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, ok := w.lost[id]
	if !ok {
		return 0
	}
	return arrivesWithin - time.Since(at)
}

// abandoned records that a withdrawal was given up.
func (w *attemptWriter) abandoned(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.lost, func(_ string, at time.Time) bool { return time.Since(at) > arrivesWithin })
	w.lost[id] = time.Now()
}

func (l *Ledger) withdrawalLost(id string, err error) {
	l.writes.abandoned(id)
	l.conf.Metrics.withdrawalLost()
	l.log.Warn("withdrawing an attempt failed; event counts as attempted",
		slog.String("event_id", id), slog.Any("error", err))
}

// write adds a write to the pending ones and sends it. done is called when it was
// acknowledged or has failed; after a failure it may have been written.
func (w *attemptWriter) write(in *attemptWrite, done func(error)) (*kgo.Client, error) {
	client, err := w.producer()
	if err != nil {
		return nil, err
	}
	w.l.pending.addWrite(in)
	w.mu.Lock()
	now := time.Now()
	w.waiting[in] = now
	w.queue = append(w.queue, queued{in, done})
	wait := sendEvery - now.Sub(w.sent)
	atOnce := wait <= 0 || in.attempt == nil
	if !atOnce && !w.timed {
		w.timed = true
		time.AfterFunc(wait, func() { _, _ = w.send() }) // the waiting writers get the error
	}
	w.mu.Unlock()
	if atOnce {
		return w.send()
	}
	return client, nil
}

// send sends the queued writes in their order. It returns the client that it used;
// nil if that was given up since.
func (w *attemptWriter) send() (*kgo.Client, error) {
	w.sending.Lock()
	defer w.sending.Unlock()
	w.mu.Lock()
	batch := w.queue
	w.queue, w.sent, w.timed = nil, time.Now(), false
	last := w.client
	w.mu.Unlock()
	if len(batch) == 0 {
		return last, nil // another call sent it
	}
	client, err := w.producer()
	for _, q := range batch {
		r := &kgo.Record{Topic: w.l.conf.Topic, Partition: q.in.partition, Key: KindAttempt.Key(q.in.id), Value: q.in.value}
		end := func(r *kgo.Record, err error) {
			w.written(q.in, r, err)
			q.done(err)
		}
		if err != nil {
			end(r, err)
			continue
		}
		client.TryProduce(context.Background(), r, end)
	}
	return client, err
}

func (w *attemptWriter) written(in *attemptWrite, r *kgo.Record, err error) {
	if err != nil {
		w.l.pending.failed(in)
		w.l.conf.Metrics.writeFailed()
	} else {
		w.l.pending.acked(in, r.Offset)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, in)
	w.fault = ""
	if err != nil {
		w.fault = err.Error()
	}
}

// slowAfter is the age at which a write under way is reported as a problem.
const slowAfter = 3 * time.Second

// problem returns why attempts cannot be written; "" if they can.
func (w *attemptWriter) problem() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault != "" {
		return fmt.Sprintf("attempts cannot be written to the ledger's topic %q: %s: nothing is captured until they can", w.l.conf.Topic, w.fault)
	}
	for _, since := range w.waiting {
		if waited := time.Since(since); waited > slowAfter {
			return fmt.Sprintf("the brokers have not acknowledged an attempt to the ledger's topic %q for %s: nothing is captured until they do",
				w.l.conf.Topic, waited.Round(time.Second))
		}
	}
	return ""
}

// closeFor bounds the wait for writes under way when the ledger is closed.
const closeFor = 2 * time.Second

func (w *attemptWriter) close() {
	client, err := w.send() // what is queued
	if err != nil {
		w.l.log.Warn("writing queued attempts on close failed", slog.Any("error", err))
	}
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

// AddPending keeps a decision until it is read back from the topic.
func (l *Ledger) AddPending(id string, d *event.Decision) { l.pending.addDecision(id, d) }

// DropPending drops the decision that was added last for an event, because its
// transaction was not committed.
func (l *Ledger) DropPending(id string) { l.pending.dropDecision(id) }
