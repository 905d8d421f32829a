package main

import (
	"context"
	"time"
)

// half is half of what a contender that loses a tenth can do.
func (s *stage) half() float64 {
	if s.opts.rate > 0 {
		return s.opts.rate
	}
	return .45 * s.most()
}

// most is how many events a second there can be: calls at once ÷ latency.
func (s *stage) most() float64 {
	return float64(s.opts.inFlight) / max(s.opts.latency, 10*time.Millisecond).Seconds()
}

// visible measures the time to a visible outcome, with the broker's defaults
// and with the one property that shortens it.
func visible(ctx context.Context, s *stage) error {
	for _, b := range []struct {
		axis       string
		properties map[string]string
	}{
		{"", nil},
		{", broker's backoff 1 ms", map[string]string{"add.partitions.to.txn.retry.backoff.ms": "1"}},
	} {
		if b.properties != nil {
			if err := s.open(ctx, b.properties); err != nil {
				return err
			}
		}
		for round := range s.opts.rounds {
			for _, c := range s.chosen(theService, "batch", "transaction") {
				for _, l := range []paced{
					{load: s.load("one at a time"+b.axis, nil)},
					{load: s.load("half of saturation"+b.axis, nil), rate: s.half()},
				} {
					if err := s.pacedRun(ctx, c, round, l); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// intent measures the service with and without attempts noted, at work on a
// backlog and paced.
func intent(ctx context.Context, s *stage) error {
	names := []string{theService, withoutIntent}
	if err := s.compare(ctx, 400_000, orders{}, names, s.load("backlog", nil)); err != nil {
		return err
	}
	for round := range s.opts.rounds {
		for _, c := range s.chosen(names...) {
			if err := s.pacedRun(ctx, c, round, paced{load: s.load("half of saturation", nil), rate: s.half()}); err != nil {
				return err
			}
		}
	}
	return nil
}
