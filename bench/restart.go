package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// restart stops contenders in the middle of a backlog and starts them again: once
// gracefully, and once by a kill.
func restart(ctx context.Context, s *stage) error {
	events := 400_000
	if s.opts.events > 0 {
		events = s.opts.events
	}
	input, err := s.input(ctx, basePartitions, events, orders{})
	if err != nil {
		return err
	}
	for round := range s.opts.rounds {
		for _, killed := range []bool{false, true} {
			axis := "stopped"
			if killed {
				axis = "killed"
			}
			l := s.load(axis, nil)
			l.input, l.events = input, events
			for _, c := range s.chosen(theService, "batch", "transaction") {
				if err := s.restartOnce(ctx, c, round, l, killed); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
			}
		}
	}
	return nil
}

func (s *stage) restartOnce(ctx context.Context, c contender, round int, l load, killed bool) error {
	tweak := c.tweak
	c.tweak = func(sp *spec) {
		if tweak != nil {
			tweak(sp)
		}
		// Static membership, because otherwise the broker keeps the partitions of a
		// killed member until its session times out.
		sp.Static = true
	}
	p, sp, err := s.startOne(ctx, c, l)
	if err != nil {
		return err
	}
	v, err := s.interrupt(ctx, p, sp, killed)
	if err != nil {
		return errors.Join(err, p.kill(), s.clean(sp))
	}
	s.out.add(s, c, round, l.axis, v)
	return errors.Join(s.dropRun(ctx, sp.Topics), s.clean(sp))
}

func (s *stage) interrupt(ctx context.Context, p *process, sp spec, killed bool) (values, error) {
	if _, err := s.firstOutcome(ctx, p, sp); err != nil {
		return nil, err
	}
	if err := pause(ctx, s.opts.warmUp); err != nil {
		return nil, err
	}
	end := p.kill
	if !killed {
		end = func() error { _, err := p.stop(); return err }
	}
	from := time.Now()
	if err := end(); err != nil {
		return nil, err
	}
	again, err := start(sp)
	if err != nil {
		return nil, err
	}
	before, err := s.broker.visible(ctx, sp.Topics.Captured)
	if err == nil {
		err = s.until(ctx, again, 10*time.Millisecond, func() (bool, error) {
			// Some markers of ended transactions may follow.
			n, err := s.broker.visible(ctx, sp.Topics.Captured)
			return n > before+int64(sp.InFlight), err
		})
	}
	if err == nil {
		err = pause(ctx, s.opts.warmUp)
	}
	if err != nil {
		return nil, errors.Join(err, again.kill())
	}
	if _, err := again.stop(); err != nil {
		return nil, err
	}
	o, err := s.outcomes(ctx, sp.Topics.Captured)
	if err != nil {
		return nil, err
	}
	counts, err := s.api.counts(ctx)
	if err != nil {
		return nil, err
	}
	v := values{
		"calls": float64(counts.Calls), "repeated": float64(counts.Repeated), "doubled": float64(len(o.at) - o.events),
	}
	// The longest time without an outcome around the interruption.
	for i := 1; i < len(o.at); i++ {
		if o.at[i].After(from) {
			v["gap_s"] = max(v["gap_s"], o.at[i].Sub(o.at[i-1]).Seconds())
		}
	}
	return v, nil
}
