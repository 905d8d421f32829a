package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// contender is a workload that is measured.
type contender struct {
	name  string
	title string
	role  role
	tweak func(*spec)
}

// The contenders, by their names in results.
const (
	theService    = "service"
	withoutIntent = "service-without-intent"
	unsampled     = "service-traces-unsampled"
	sampledTenth  = "service-traces-10%"
)

func contenders() []contender {
	return []contender{
		{name: theService, title: "payment-capture", role: roleService},
		{name: withoutIntent, title: "payment-capture, attempts not noted", role: roleService, tweak: func(s *spec) { s.NoIntent = true }},
		{name: unsampled, title: "payment-capture, traces on, none sampled", role: roleService, tweak: func(s *spec) { s.Sampler = "always_off" }},
		{
			name: sampledTenth, title: "payment-capture, 10 % traced", role: roleService,
			tweak: func(s *spec) { s.Sampler = "parentbased_traceidratio 0.1" },
		},
		{name: "bare", title: "HTTP loop, no Kafka", role: roleBare},
		{name: "batch", title: "poll-batch", role: roleBatch},
		{name: "transaction", title: "poll-batch in a transaction", role: roleTransaction},
		{name: "one", title: "one record at a time", role: roleOne},
		{name: "copy", title: "read and write in transactions", role: roleCopy, tweak: func(s *spec) { s.PollMost = copyPoll }},
	}
}

// copyPoll is the number of records in a transaction of the copying loop: many,
// because each transaction waits for the markers of the one before.
const copyPoll = 10_000

func contenderNames() []string {
	var names []string
	for _, c := range contenders() {
		names = append(names, c.name)
	}
	return names
}

func contenderNamed(name string) contender {
	for _, c := range contenders() {
		if c.name == name {
			return c
		}
	}
	return contender{name: name, title: name}
}

// chosen returns the contenders of a mix, less those that -only leaves out.
func (s *stage) chosen(names ...string) []contender {
	var out []contender
	for _, c := range contenders() {
		if slices.Contains(names, c.name) && (len(s.opts.only) == 0 || slices.Contains(s.opts.only, c.name)) {
			out = append(out, c)
		}
	}
	return out
}

// load configures a measurement.
type load struct {
	axis       string // how it differs from the base, such as "latency=50ms"
	input      string
	events     int // in the input
	partitions int32
	api        apiSettings
	inFlight   int
	window     time.Duration
}

// startOne starts a contender on fresh topics.
func (s *stage) startOne(ctx context.Context, c contender, l load) (*process, spec, error) {
	sp, err := s.prepare(ctx, c, l)
	if err != nil {
		return nil, sp, err
	}
	p, err := start(sp)
	return p, sp, err
}

// prepare creates what a contender's process needs.
func (s *stage) prepare(ctx context.Context, c contender, l load) (spec, error) {
	if err := s.api.reset(ctx, l.api); err != nil {
		return spec{}, err
	}
	t, err := s.topicsFor(ctx, l.input, l.partitions)
	if err != nil {
		return spec{}, err
	}
	sp := s.specFor(c.role, t)
	sp.InFlight, sp.PollMost = l.inFlight, l.inFlight
	if s.opts.profile != "" {
		sp.Profile, sp.Block = s.opts.profile+"/"+s.mix, s.opts.block
	}
	if c.tweak != nil {
		c.tweak(&sp)
	}
	return sp, nil
}

// steady measures a contender that works off a backlog, beginning some seconds after
// its first outcome.
func (s *stage) steady(ctx context.Context, c contender, round int, l load) error {
	p, sp, err := s.startOne(ctx, c, l)
	if err != nil {
		return err
	}
	m, err := s.watch(ctx, c, round, p, sp, l)
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", c.name, err), p.kill(), s.clean(sp))
	}
	s.out.add(s, c, round, l.axis, m)
	return errors.Join(s.dropRun(ctx, sp.Topics), s.clean(sp))
}

func (s *stage) watch(ctx context.Context, c contender, round int, p *process, sp spec, l load) (values, error) {
	first, err := s.firstOutcome(ctx, p, sp)
	if err != nil {
		return nil, err
	}
	if err := pause(ctx, s.opts.warmUp); err != nil {
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
	if err := pause(ctx, l.window); err != nil {
		return nil, err
	}
	to, err := s.look(ctx, p)
	if err != nil {
		return nil, err
	}
	if profiled {
		if _, err := p.ask(cmdProfiled); err != nil {
			return nil, err
		}
	}
	end, err := p.stop()
	if err != nil {
		return nil, err
	}
	m := values{"first_s": first.Seconds(), "peak_mib": mib(end.Peak)}
	done := float64(to.counts.Calls - from.counts.Calls)
	m["rate"] = done / to.at.Sub(from.at).Seconds()
	if c.role != roleBare {
		o, err := s.outcomes(ctx, sp.Topics.Captured)
		if err != nil {
			return nil, err
		}
		done, m["rate"] = o.between(from.at, to.at)
		m["outcomes"], m["doubled"] = float64(len(o.at)), float64(len(o.at)-o.events)
		if len(o.at) >= l.events {
			s.say("%s: the input was used up; -events should be more", c.name)
		}
	}
	counts, err := s.api.counts(ctx)
	if err != nil {
		return nil, err
	}
	m["calls"], m["repeated"], m["at_once"] = float64(counts.Calls), float64(counts.Repeated), float64(counts.Most)
	m["cpu_us"] = float64((to.usage.CPU - from.usage.CPU).Microseconds()) / max(done, 1)
	m["broker_cpu_us"] = float64((to.broker - from.broker).Microseconds()) / max(done, 1)
	m["api_cpu_us"] = float64((to.counts.CPU - from.counts.CPU).Microseconds()) / max(done, 1)
	if l.api.Latency > 0 {
		m["of_ideal"] = m["rate"] / (float64(l.inFlight) / l.api.Latency.Seconds())
	}
	return m, nil
}

// glance is a contender's state at a moment.
type glance struct {
	at     time.Time
	usage  answer
	counts apiCounts
	broker time.Duration // its CPU time
}

func (s *stage) look(ctx context.Context, p *process) (glance, error) {
	counts, err := s.api.counts(ctx)
	if err != nil {
		return glance{}, err
	}
	broker, err := s.broker.cpu(ctx)
	if err != nil {
		return glance{}, err
	}
	usage, err := p.ask(cmdUsage)
	return glance{at: time.Now(), usage: usage, counts: counts, broker: broker}, err
}

// patience bounds every wait.
const patience = 90 * time.Second

// firstOutcome waits for the first outcome that a reader can see; without Kafka, for
// the first answer. It returns the time since the start of the process.
func (s *stage) firstOutcome(ctx context.Context, p *process, sp spec) (time.Duration, error) {
	err := s.until(ctx, p, 10*time.Millisecond, func() (bool, error) {
		if sp.Role == roleBare {
			counts, err := s.api.counts(ctx)
			return counts.Calls > 0, err
		}
		n, err := s.broker.visible(ctx, sp.Topics.Captured)
		return n > 0, err
	})
	return time.Since(p.started), err
}

// until polls a condition, and sometimes checks that the process still works.
func (s *stage) until(ctx context.Context, p *process, every time.Duration, done func() (bool, error)) error {
	deadline, checked := time.Now().Add(patience), time.Now()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if err := pause(ctx, every); err != nil {
			return err
		}
		if time.Since(checked) > time.Second {
			checked = time.Now()
			if _, err := p.ask(cmdUsage); err != nil {
				return err
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no outcome for %s", patience)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// produced describes the outcomes of a run.
type produced struct {
	at       []time.Time // append times, in order
	events   int         // different ones
	replayed int
}

func (s *stage) outcomes(ctx context.Context, topic string) (produced, error) {
	var p produced
	ids := make(map[string]struct{})
	err := s.broker.readAll(ctx, topic, func(r *kgo.Record) {
		p.at = append(p.at, r.Timestamp)
		ids[eventOf(r.Value)] = struct{}{}
		if isReplayed(r.Value) {
			p.replayed++
		}
	})
	p.events = len(ids)
	slices.SortFunc(p.at, time.Time.Compare)
	return p, err
}

// between returns the number of outcomes in a span of time, and the rate per second.
// Outcomes come in bursts, so the rate counts the time from the last burst before the
// span to the last burst in it.
func (p produced) between(from, to time.Time) (n, rate float64) {
	i := max(p.before(from), 1)
	j := p.before(to)
	if j <= i {
		return 0, 0
	}
	n = float64(j - i)
	span := p.at[j-1].Sub(p.at[i-1]).Seconds()
	if span <= 0 {
		return n, 0
	}
	return n, n / span
}

// before returns the number of outcomes up to a time.
func (p produced) before(t time.Time) int {
	i, _ := slices.BinarySearchFunc(p.at, t.Add(1), time.Time.Compare)
	return i
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
