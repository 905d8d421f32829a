package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// replay measures the service while it answers decided events from the ledger, beside
// a loop that only reads and writes as much.
func replay(ctx context.Context, s *stage) error {
	events := 300_000
	if s.opts.events > 0 {
		events = s.opts.events
	}
	inputs := make(map[ids]topics)
	for _, kind := range idKinds() {
		t, err := s.decided(ctx, events, s.opts.decided, kind)
		if err != nil {
			return err
		}
		inputs[kind] = t
	}
	for round := range s.opts.rounds {
		for _, kind := range idKinds() {
			for _, c := range s.chosen(theService, "copy") {
				if err := s.replayOnce(ctx, c, round, events, inputs[kind], kind); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// ids describes the event ids in a table. A ledger's store is sorted by them.
type ids string

const (
	randomIDs ids = "ids random"
	timedIDs  ids = "ids by time"
)

func idKinds() []ids { return []ids{randomIDs, timedIDs} }

// decided creates an input, if it is to have events, and a ledger with so many
// decisions, at least one for each event.
func (s *stage) decided(ctx context.Context, events, entries int, kind ids) (topics, error) {
	var t topics
	var err error
	if events > 0 {
		if t.Input, err = s.input(ctx, basePartitions, 0, orders{}); err != nil {
			return t, err
		}
	}
	t.Ledger = strings.ReplaceAll(string(kind), " ", "-") + ".ledger"
	if err := s.broker.create(ctx, t.Ledger, basePartitions, map[string]string{"cleanup.policy": "compact"}); err != nil {
		return t, err
	}
	s.say("writing %d decisions, %s", max(events, entries), kind)
	return t, s.broker.fillDecided(ctx, t, events, entries, orders{timed: kind == timedIDs})
}

func (s *stage) replayOnce(ctx context.Context, c contender, round, events int, t topics, kind ids) error {
	l := s.load(string(kind), nil)
	l.input, l.events = t.Input, events
	tweak := c.tweak
	c.tweak = func(sp *spec) {
		if tweak != nil {
			tweak(sp)
		}
		sp.Topics.Ledger = t.Ledger
	}
	sp, err := s.prepare(ctx, c, l)
	if err != nil {
		return err
	}
	if c.role == roleService {
		v, err := s.readLedger(ctx, sp, max(events, s.opts.decided), kind)
		if err != nil {
			return err
		}
		s.out.add(s, c, round, "reading the ledger, "+l.axis, v)
	}
	p, err := start(sp)
	if err != nil {
		return err
	}
	v, err := s.replayed(ctx, c, round, p, sp, l)
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", c.name, err), p.kill(), s.clean(sp))
	}
	s.out.add(s, c, round, l.axis, v)
	return s.clean(sp)
}

// readLedger brings a service's local store into the state of a long-running service:
// read long ago, and compacted.
func (s *stage) readLedger(ctx context.Context, sp spec, entries int, kind ids) (values, error) {
	sp.Role, sp.Entries, sp.TimedIDs, sp.Profile = roleLedger, entries, kind == timedIDs, ""
	return s.followOnce(ctx, sp)
}

func (s *stage) replayed(ctx context.Context, c contender, round int, p *process, sp spec, l load) (values, error) {
	first, err := s.firstOutcome(ctx, p, sp)
	if err != nil {
		return nil, err
	}
	profiled := sp.Profile != "" && c.role == roleService && round == s.opts.rounds-1
	if profiled {
		if _, err := p.ask(cmdProfile); err != nil {
			return nil, err
		}
	}
	from, err := s.look(ctx, p)
	if err != nil {
		return nil, err
	}
	if err := s.untilCommitted(ctx, p, sp, int64(l.events)); err != nil {
		return nil, err
	}
	to, err := s.look(ctx, p)
	if err == nil && profiled {
		_, err = p.ask(cmdProfiled)
	}
	if err != nil {
		return nil, err
	}
	end, err := p.stop()
	if err != nil {
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
	if c.role == roleService && (o.replayed != l.events || o.events != l.events) {
		return nil, fmt.Errorf("%d outcomes of %d events, %d of them marked as replayed: all of %d should be", len(o.at), o.events, o.replayed,
			l.events)
	}
	// The steady part: without the first tenth and the last.
	_, rate := o.between(o.at[len(o.at)/10], o.at[len(o.at)*9/10])
	since, _ := o.between(from.at, to.at)
	return values{
		"rate": rate, "first_s": first.Seconds(), "peak_mib": mib(end.Peak), "calls": float64(counts.Calls),
		"doubled":       float64(len(o.at) - l.events),
		"broker_cpu_us": float64((to.broker - from.broker).Microseconds()) / max(since, 1),
		"cpu_us":        float64((to.usage.CPU - from.usage.CPU).Microseconds()) / max(since, 1),
	}, nil
}

// untilCommitted waits until a group has committed a number of offsets.
func (s *stage) untilCommitted(ctx context.Context, p *process, sp spec, want int64) error {
	return s.until(ctx, p, 50*time.Millisecond, func() (bool, error) {
		offsets, err := s.broker.admin.FetchOffsets(ctx, sp.Group)
		if err != nil {
			return false, err
		}
		var sum int64
		offsets.Each(func(o kadm.OffsetResponse) { sum += max(o.At, 0) })
		return sum >= want, nil
	})
}
