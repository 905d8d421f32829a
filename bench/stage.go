package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// stage holds what a mix is measured with: a broker, an API, and topics.
type stage struct {
	opts   options
	mix    string
	out    *report
	broker *broker
	server *process // the API's
	api    apiClient
	host   string // the API's address
	runs   int
}

func newStage(ctx context.Context, o options, out *report, mix string) (*stage, error) {
	s := &stage{opts: o, mix: mix, out: out}
	var err error
	if s.host, err = freeAddress(ctx); err != nil {
		return nil, err
	}
	s.api = apiClient{base: "http://" + s.host}
	if s.server, err = start(spec{Role: roleAPI, API: s.host, Latency: o.latency}); err != nil {
		return nil, err
	}
	if err = s.open(ctx, nil); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// open starts a broker that replaces the present one.
func (s *stage) open(ctx context.Context, properties map[string]string) error {
	if s.broker != nil {
		if err := s.broker.close(); err != nil {
			return err
		}
		s.broker = nil
	}
	var err error
	if s.broker, err = startBroker(ctx, properties); err != nil {
		return err
	}
	return s.compile(ctx)
}

// compile runs a load on a new broker as long as the options say, until its JVM has
// compiled its code.
func (s *stage) compile(ctx context.Context) error {
	if s.opts.compile <= 0 {
		return nil
	}
	events := int(s.opts.compile.Seconds() * s.most())
	input, err := s.input(ctx, basePartitions, events, orders{})
	if err != nil {
		return err
	}
	p, sp, err := s.startOne(ctx, contenderNamed(theService), s.load("compile", func(l *load) { l.input = input }))
	if err != nil {
		return err
	}
	s.say("the broker works for %s before anything is measured", s.opts.compile)
	if err := pause(ctx, s.opts.compile); err != nil {
		return errors.Join(err, p.kill(), s.clean(sp))
	}
	if _, err := p.stop(); err != nil {
		return errors.Join(err, s.clean(sp))
	}
	return errors.Join(s.dropRun(ctx, sp.Topics), s.broker.drop(ctx, input), s.clean(sp))
}

func (s *stage) close() error {
	var err error
	if s.broker != nil {
		err = s.broker.close()
	}
	_, stopped := s.server.stop()
	return errors.Join(err, stopped)
}

// say writes the current step, because measuring takes minutes.
func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s: %s\n", time.Now().Format("15:04:05"), s.mix, fmt.Sprintf(format, args...))
}

// appendTime creates a topic whose records have the time at which the broker appended
// them.
func appendTime() map[string]string {
	return map[string]string{"message.timestamp.type": "LogAppendTime"}
}

// input creates an input topic and fills it.
func (s *stage) input(ctx context.Context, partitions int32, n int, o orders) (string, error) {
	s.runs++
	name := fmt.Sprintf("input-%d", s.runs)
	if err := s.broker.create(ctx, name, partitions, nil); err != nil {
		return "", err
	}
	s.say("writing %d events into %d partitions", n, partitions)
	return name, s.broker.fill(ctx, name, n, o)
}

// topicsFor creates the topics of one run, except the input. The time of an outcome is
// the broker's append time, so throughput is measured without a reader that takes a
// part of the machine.
func (s *stage) topicsFor(ctx context.Context, input string, partitions int32) (topics, error) {
	s.runs++
	t := topics{Input: input}
	for _, one := range []struct {
		name *string
		kind string
		conf map[string]string
	}{
		{&t.Captured, "captured", appendTime()},
		{&t.Rejected, "rejected", nil},
		{&t.Parked, "parked", nil},
		{&t.Ledger, "ledger", map[string]string{"cleanup.policy": "compact"}},
	} {
		*one.name = fmt.Sprintf("%s-%d", one.kind, s.runs)
		if err := s.broker.create(ctx, *one.name, partitions, one.conf); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (s *stage) dropRun(ctx context.Context, t topics) error {
	return s.broker.drop(ctx, t.Captured, t.Rejected, t.Parked, t.Ledger)
}

// specFor returns the spec of a process with a new group, which begins at the start.
func (s *stage) specFor(r role, t topics) spec {
	return spec{
		Role: r, Brokers: []string{s.broker.address}, API: s.host, Topics: t,
		Group: fmt.Sprintf("%s-%d", r, s.runs), Instance: "bench", InFlight: s.opts.inFlight, PollMost: s.opts.inFlight,
		Dir: filepath.Join(s.opts.dir, fmt.Sprintf("%s-%d", s.mix, s.runs)),
	}
}

// clean removes a run's local store.
func (s *stage) clean(sp spec) error { return os.RemoveAll(sp.Dir) }
