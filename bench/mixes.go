package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// mixture is one set of loads; each differs from the base in one thing.
type mixture struct {
	what string
	run  func(ctx context.Context, s *stage) error
}

// basePartitions is the base mix's.
const basePartitions = 6

func allMixes() map[string]mixture {
	loops := []string{theService, "bare", "batch", "transaction", "one"}
	few := []string{theService, "bare", "batch", "transaction"}
	return map[string]mixture{
		"base": {"the base: 50 ms, 256 at once, 6 partitions, a million events", func(ctx context.Context, s *stage) error {
			return s.compare(ctx, 1_000_000, orders{}, loops, s.load("base", nil))
		}},
		"latency0": {"the API answers at once", func(ctx context.Context, s *stage) error {
			return s.compare(ctx, 600_000, orders{}, few, s.load("latency=0", func(l *load) { l.api.Latency = 0 }))
		}},
		"latency": {"the API takes 20 ms, 200 ms", func(ctx context.Context, s *stage) error {
			return s.compare(ctx, 400_000, orders{}, few,
				s.load("latency=20ms", func(l *load) { l.api.Latency = 20 * time.Millisecond }),
				s.load("latency=200ms", func(l *load) { l.api.Latency = 200 * time.Millisecond }))
		}},
		"slow": {"one call in 200 takes 3 s more", func(ctx context.Context, s *stage) error {
			return s.compare(ctx, 400_000, orders{}, []string{theService, "bare", "batch"}, s.load("slow=1/200", func(l *load) {
				l.api.SlowEvery, l.api.SlowBy = 200, 3*time.Second
				l.window = max(l.window, 12*time.Second) // some bursts of the loops
			}))
		}},
		"hotkeys": {"all events are of 1,000 orders; of 50 and 200, at 20 ms", func(ctx context.Context, s *stage) error {
			if err := s.compare(ctx, 400_000, orders{hotKeys: 1000}, few, s.load("keys=1000", nil)); err != nil {
				return err
			}
			fast := func(l *load) { l.api.Latency = 20 * time.Millisecond }
			for _, n := range []uint64{50, 200} {
				if err := s.compare(ctx, 400_000, orders{hotKeys: n}, []string{theService}, s.load(fmt.Sprintf("keys=%d", n), fast)); err != nil {
					return err
				}
			}
			return nil
		}},
		"duplicates": {"one record in ten is a copy", func(ctx context.Context, s *stage) error {
			return s.compare(ctx, 400_000, orders{duplicates: 10}, few, s.load("duplicates=10%", nil))
		}},
		"partitions": {"1 and 48 partitions", func(ctx context.Context, s *stage) error {
			for _, n := range []int32{1, 48} {
				l := s.load(fmt.Sprintf("partitions=%d", n), func(l *load) { l.partitions = n })
				if err := s.compare(ctx, 400_000, orders{}, few, l); err != nil {
					return err
				}
			}
			return nil
		}},
		"inflight": {"64 and 2,048 calls at once", func(ctx context.Context, s *stage) error {
			return s.compare(ctx, 600_000, orders{}, few,
				s.load("in-flight=64", func(l *load) { l.inFlight = 64 }), s.load("in-flight=2048", func(l *load) { l.inFlight = 2048 }))
		}},
		"visible": {"from append to visible outcome, one at a time and paced", visible},
		"replay":  {"decided events, answered from the ledger", replay},
		"restart": {"stopped and killed with a full window", restart},
		"restore": {"the ledger read into an empty store, and a restart on a full one", restore},
		"intent":  {"with and without attempts noted", intent},
		"traces": {"traces off, on without sampling, and of one event in ten", func(ctx context.Context, s *stage) error {
			return s.compare(ctx, 600_000, orders{}, []string{theService, unsampled, sampledTenth},
				s.load("base", nil), s.load("latency=0", func(l *load) { l.api.Latency = 0 }))
		}},
		"backfill": {"a live load beside a backfill at several rates", backfill},
	}
}

func mixNames() []string { return slices.Sorted(maps.Keys(allMixes())) }

// load returns the base load with one change.
func (s *stage) load(axis string, change func(*load)) load {
	l := load{
		axis: axis, partitions: basePartitions, api: apiSettings{Latency: s.opts.latency}, inFlight: s.opts.inFlight, window: s.opts.window,
	}
	if change != nil {
		change(&l)
	}
	return l
}

// compare measures contenders under loads, alternating, on one input.
func (s *stage) compare(ctx context.Context, events int, o orders, names []string, loads ...load) error {
	if s.opts.events > 0 {
		events = s.opts.events
	}
	input, err := s.input(ctx, loads[0].partitions, events, o)
	if err != nil {
		return err
	}
	for round := range s.opts.rounds {
		for _, l := range loads {
			l.input, l.events = input, events
			for _, c := range s.chosen(names...) {
				if err := s.steady(ctx, c, round, l); err != nil {
					return err
				}
			}
		}
	}
	return s.broker.drop(ctx, input)
}
