package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// watcher records when the broker appended each order, and when a read-committed
// reader received its outcome.
type watcher struct {
	reader *kgo.Client
	mu     sync.Mutex
	first  uint64 // number of the first order
	sent   []time.Time
	seen   []time.Time
	count  int
	others int // outcomes of other orders
}

// newWatcher reads a topic of outcomes from its start, or from its end.
func (s *stage) newWatcher(topic string, first uint64, most int) (*watcher, error) {
	reader, err := kgo.NewClient(kgo.SeedBrokers(s.broker.address), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return nil, err
	}
	return &watcher{reader: reader, first: first, sent: make([]time.Time, most), seen: make([]time.Time, most)}, nil
}

// watch reads until ctx ends.
func (w *watcher) watch(ctx context.Context) {
	prefix := []byte("order-")
	for {
		fetches := w.reader.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		now := time.Now()
		w.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			n, err := strconv.ParseUint(string(bytes.TrimPrefix(r.Key, prefix)), 10, 64)
			i := int(n - w.first) //nolint:gosec // G115: what is too large is another's
			if err != nil || n < w.first || i >= len(w.seen) {
				w.others++
				return
			}
			if w.seen[i].IsZero() {
				w.seen[i] = now
				w.count++
			}
		})
		w.mu.Unlock()
	}
}

// appended records the append time of an order.
func (w *watcher) appended(i int, r *kgo.Record) {
	w.mu.Lock()
	w.sent[i] = r.Timestamp
	w.mu.Unlock()
}

func (w *watcher) has(i int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.seen[i].IsZero()
}

func (w *watcher) counts() (own, others int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count, w.others
}

// delays returns the times from append to outcome of a range of orders, sorted. An
// order without an outcome is missing.
func (w *watcher) delays(from, to int) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []time.Duration
	for i := from; i < to; i++ {
		if !w.seen[i].IsZero() {
			out = append(out, w.seen[i].Sub(w.sent[i]))
		}
	}
	slices.Sort(out)
	return out
}

// quantile returns a quantile of times, in ms.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(q * float64(len(sorted)))
	return float64(sorted[min(i, len(sorted)-1)].Microseconds()) / 1000
}

func latencies(delays []time.Duration, api time.Duration) values {
	v := values{"p50_ms": quantile(delays, .5), "p99_ms": quantile(delays, .99), "p999_ms": quantile(delays, .999)}
	ms := float64(api.Microseconds()) / 1000
	v["beyond50_ms"], v["beyond99_ms"] = v["p50_ms"]-ms, v["p99_ms"]-ms
	return v
}

// paced measures a contender under a load that does not wait for it.
type paced struct {
	load
	rate  float64 // events a second; 0: one at a time
	first uint64  // number of the first order
	// beside runs meanwhile, until its context ends; nil: nothing. It begins once
	// the contender works.
	beside func(ctx context.Context, input string) error
	setUp  func(*spec) // nil: nothing
}

// probes is the number of events that are sent one at a time before the measurement
// begins, while clients load their metadata.
const probes = 20

// pacedRun measures the time from sending to a visible outcome.
func (s *stage) pacedRun(ctx context.Context, c contender, round int, l paced) error {
	s.runs++
	input := fmt.Sprintf("input-%d", s.runs)
	// Time runs from when the broker has an event.
	if err := s.broker.create(ctx, input, l.partitions, appendTime()); err != nil {
		return err
	}
	l.input = input
	if l.setUp != nil {
		tweak := c.tweak
		c.tweak = func(sp *spec) {
			if tweak != nil {
				tweak(sp)
			}
			l.setUp(sp)
		}
	}
	p, sp, err := s.startOne(ctx, c, l.load)
	if err != nil {
		return err
	}
	v, err := s.pace(ctx, p, sp, l)
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", c.name, err), p.kill(), s.clean(sp))
	}
	end, err := p.stop()
	if err != nil {
		return err
	}
	v["peak_mib"] = mib(end.Peak)
	s.out.add(s, c, round, l.axis, v)
	return errors.Join(s.broker.drop(ctx, input), s.clean(sp))
}

func (s *stage) pace(ctx context.Context, p *process, sp spec, l paced) (values, error) {
	most := probes + 200
	if l.rate > 0 {
		most = probes + int(l.rate*(l.window+s.opts.warmUp).Seconds()) + 1
	}
	w, err := s.newWatcher(sp.Topics.Captured, l.first, most)
	if err != nil {
		return nil, err
	}
	defer w.reader.Close()
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { w.watch(ctx) })

	if err := s.oneByOne(ctx, p, w, l, 0, probes); err != nil {
		return nil, err
	}
	var besideErr error
	if l.beside != nil {
		running.Go(func() { besideErr = l.beside(ctx, l.input) })
		if err := pause(ctx, s.opts.warmUp); err != nil {
			return nil, err
		}
	}
	from := probes
	_, others := w.counts()
	began := time.Now()
	if l.rate > 0 {
		from, err = s.atRate(ctx, w, l, probes, most)
	} else {
		err = s.oneByOne(ctx, p, w, l, probes, most)
	}
	if err != nil {
		return nil, err
	}
	_, more := w.counts()
	backfilled := float64(more-others) / time.Since(began).Seconds()
	err = s.until(ctx, p, 5*time.Millisecond, func() (bool, error) {
		own, _ := w.counts()
		return own >= most, nil
	})
	v := latencies(w.delays(from, most), l.api.Latency)
	v["backfill_rate"] = backfilled
	if l.beside == nil {
		delete(v, "backfill_rate")
	}
	return v, errors.Join(err, besideErr)
}

// oneByOne sends each event after the outcome of the one before.
func (s *stage) oneByOne(ctx context.Context, p *process, w *watcher, l paced, from, to int) error {
	for i := from; i < to; i++ {
		r := orders{first: l.first}.record(uint64(i)) //nolint:gosec // G115: not below zero
		r.Topic = l.input
		if err := s.broker.client.ProduceSync(ctx, r).FirstErr(); err != nil {
			return err
		}
		w.appended(i, r)
		if err := s.until(ctx, p, 200*time.Microsecond, func() (bool, error) { return w.has(i), nil }); err != nil {
			return err
		}
	}
	return nil
}

// atRate sends events evenly, and returns the first one that counts: events of the
// warm-up do not.
func (s *stage) atRate(ctx context.Context, w *watcher, l paced, from, to int) (int, error) {
	client, err := newFiller(s.broker.address)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	begin := time.Now()
	warm := from + int(l.rate*s.opts.warmUp.Seconds())
	failed := make(chan error, 1)
	for i := from; i < to; {
		due := from + int(time.Since(begin).Seconds()*l.rate)
		for ; i < min(due, to); i++ {
			r := orders{first: l.first}.record(uint64(i)) //nolint:gosec // G115: not below zero
			r.Topic = l.input
			this := i
			client.Produce(ctx, r, func(r *kgo.Record, err error) {
				if err == nil {
					w.appended(this, r)
					return
				}
				select {
				case failed <- err:
				default:
				}
			})
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return warm, err
		}
	}
	if err := client.Flush(ctx); err != nil {
		return warm, err
	}
	select {
	case err := <-failed:
		return warm, err
	default:
		return warm, nil
	}
}
