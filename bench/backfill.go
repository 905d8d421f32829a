package main

import (
	"context"
	"fmt"
	"time"
)

// backfill measures a live load while events are sent again, or for the first
// time, at several rates.
func backfill(ctx context.Context, s *stage) error {
	const known = 1_000_000
	events := 400_000
	if s.opts.events > 0 {
		events = s.opts.events
	}
	t, err := s.decided(ctx, 0, events, randomIDs)
	if err != nil {
		return err
	}
	next := uint64(10 * known)
	c := s.chosen(theService)[0]
	for round := range s.opts.rounds {
		for _, kind := range []string{"replayed", "captured"} {
			for _, rate := range []float64{0, 200, 1000, 2000, 4000, 8000, unlimited} {
				if rate == 0 && kind == "captured" {
					continue
				}
				live := next
				next += known
				o := orders{}
				if kind == "captured" {
					o.first = next
					next += 10 * known
				}
				l := paced{
					load: s.load(backfillAxis(kind, rate), nil), rate: liveRate, first: live,
					setUp: func(sp *spec) { sp.Topics.Ledger = t.Ledger },
				}
				l.window = max(l.window, 20*time.Second)
				if rate > 0 {
					l.beside = s.sendAgain(o, rate, events)
				}
				if err := s.pacedRun(ctx, c, round, l); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

const (
	liveRate  = 50
	unlimited = 1e9
)

func backfillAxis(kind string, rate float64) string {
	switch rate {
	case 0:
		return "no backfill"
	case unlimited:
		return kind + ", no cap"
	}
	return fmt.Sprintf("%s, %.0f/s", kind, rate)
}

// sendAgain sends events at a rate until ctx ends or there are no more.
func (s *stage) sendAgain(o orders, rate float64, events int) func(ctx context.Context, input string) error {
	return func(ctx context.Context, input string) error {
		client, err := newFiller(s.broker.address)
		if err != nil {
			return err
		}
		defer client.Close()
		begin := time.Now()
		for sent := 0; sent < events; {
			due := min(int(time.Since(begin).Seconds()*rate), events)
			for ; sent < due; sent++ {
				r := o.record(uint64(sent))
				r.Topic = input
				client.Produce(ctx, r, nil) // what is missing shows in the figures
			}
			if pause(ctx, 5*time.Millisecond) != nil {
				return nil // the measurement is over
			}
		}
		return nil
	}
}
