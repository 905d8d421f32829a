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

// intents writes attempts and withdrawals, outside of any transaction: an
// attempt must be in the topic before the first call.
type intents struct {
	l *Ledger

	sending sync.Mutex // one sends at a time, in the order in which they were queued

	mu      sync.Mutex
	client  *kgo.Client
	waiting map[*intent]time.Time // what is being written, since when
	fault   string                // why the last write failed; "": it did not
	queue   []queued              // to be sent together
	sent    time.Time             // when something was sent last
	timed   bool                  // a timer will send it
	lost    map[string]time.Time  // when a withdrawal of an event was given up, which may arrive yet
}

type queued struct {
	in   *intent
	done func(error)
}

// sendEvery is the least time between two batches of attempts, so that under load
// many share a request. One that comes alone does not wait.
const sendEvery = 4 * time.Millisecond

func newIntents(l *Ledger) *intents {
	return &intents{l: l, waiting: make(map[*intent]time.Time), lost: make(map[string]time.Time)}
}

// producer gives the client, and makes it at the first use: who only reads needs
// none.
func (w *intents) producer() (*kgo.Client, error) {
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

// Attempt notes durably that an event is tried; input is the partition that it
// came from. Lookup knows of it from then on, also where there is an error: it
// may have been written all the same. The error may pass by itself; while it
// does not, no call may be made.
func (l *Ledger) Attempt(ctx context.Context, input int32, id string, a event.Attempt) error {
	if state, reason, _ := l.gate.look(); state == stateHalted {
		return fmt.Errorf("note the attempt on event %s: the ledger is halted: %s", id, reason)
	}
	if wait := l.writes.mayArrive(id); wait > 0 {
		return fmt.Errorf("note the attempt on event %s: the withdrawal of an earlier one was not acknowledged, and would erase this one if it came late: it is waited for another %s",
			id, wait.Round(time.Second))
	}
	start := time.Now()
	in := &intent{id: id, partition: l.Partition(input), attempt: &a, value: EncodeAttempt(a)}
	done := make(chan error, 1)
	// It is not taken back when the caller gives up: it may have been sent.
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
		return fmt.Errorf("note the attempt on event %s in the ledger: %w", id, err)
	}
	l.conf.Metrics.attempted(time.Since(start))
	return nil
}

// withdrawFor is how long a withdrawal may take. A later one could reach the
// topic when another instance has the event, and erase that one's attempt.
const withdrawFor = 3 * time.Second

// Withdraw takes an attempt back that had no effect, for certain, and waits: an
// event is handed over only when it is known that the withdrawal comes before
// its next owner's attempt. After an error the attempt may stand, which is the
// safe side.
//
// One that is not acknowledged in time is given up with its client, so that it
// is not sent again: the library goes on with what was sent once, whatever
// becomes of the record's context.
func (l *Ledger) Withdraw(ctx context.Context, input int32, id string) error {
	done := make(chan error, 1)
	client, err := l.writes.write(&intent{id: id, partition: l.Partition(input)}, func(err error) { done <- err }) //nolint:contextcheck // see above
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

// giveUp closes a client; another one is made when it is needed. What else it
// was writing is told that it failed, and written again. nil: that was done.
func (w *intents) giveUp(client *kgo.Client, done <-chan error) error {
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

// mayArrive gives how long a withdrawal of an event that was given up may still
// arrive.
func (w *intents) mayArrive(id string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, ok := w.lost[id]
	if !ok {
		return 0
	}
	return arrivesWithin - time.Since(at)
}

// gaveUp notes that a withdrawal was given up.
func (w *intents) gaveUp(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.lost, func(_ string, at time.Time) bool { return time.Since(at) > arrivesWithin })
	w.lost[id] = time.Now()
}

func (l *Ledger) withdrawalLost(id string, err error) {
	l.writes.gaveUp(id)
	l.conf.Metrics.withdrawalLost()
	l.log.Warn("an attempt without effect could not be withdrawn from the ledger: the event counts as attempted",
		slog.String("event_id", id), slog.Any("error", err))
}

// write puts an intent into the overlay and then under way. The function is
// called when it is written, or perhaps is not.
func (w *intents) write(in *intent, done func(error)) (*kgo.Client, error) {
	client, err := w.producer()
	if err != nil {
		return nil, err
	}
	w.l.over.intend(in)
	w.mu.Lock()
	now := time.Now()
	w.waiting[in] = now
	w.queue = append(w.queue, queued{in, done})
	wait := sendEvery - now.Sub(w.sent)
	atOnce := wait <= 0 || in.attempt == nil
	if !atOnce && !w.timed {
		w.timed = true
		time.AfterFunc(wait, func() { _, _ = w.send() }) // whoever waits is told of an error
	}
	w.mu.Unlock()
	if atOnce {
		return w.send()
	}
	return client, nil
}

// send sends what is queued, in its order. It gives the client that was used; nil
// where that was given up since.
func (w *intents) send() (*kgo.Client, error) {
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

func (w *intents) written(in *intent, r *kgo.Record, err error) {
	if err != nil {
		w.l.over.failed(in)
		w.l.conf.Metrics.writeFailed()
	} else {
		w.l.over.acked(in, r.Offset)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, in)
	w.fault = ""
	if err != nil {
		w.fault = err.Error()
	}
}

// slowAfter is from when on a write that is under way is worth telling.
const slowAfter = 3 * time.Second

// trouble says why attempts cannot be written; "" when they can.
func (w *intents) trouble() string {
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

// closeFor is how long what is under way is waited for at the end.
const closeFor = 2 * time.Second

func (w *intents) close() {
	client, err := w.send() // what is queued
	if err != nil {
		w.l.log.Warn("what was to be written to the ledger is not", slog.Any("error", err))
	}
	if client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeFor)
	defer cancel()
	if err := client.Flush(ctx); err != nil {
		w.l.log.Warn("what was being written to the ledger was not acknowledged in time", slog.Any("error", err))
	}
	client.Close()
}

// AddPending keeps a decision that will be in the topic soon, until it is read
// back.
func (l *Ledger) AddPending(id string, d *event.Decision) { l.over.remember(id, d) }

// DropPending drops what was remembered last of an event: its transaction will not
// be.
func (l *Ledger) DropPending(id string) { l.over.forget(id) }
