//go:build synctests

package prove

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafkatest"
	"payment-capture/internal/simulator"
)

const (
	topicInput, topicCaptured, topicRejected, topicParked = "orders", "captured", "rejected", "parked"
	topicLedger                                           = "ledger"

	// patience bounds every wait, in virtual time.
	patience = 5 * time.Minute
	// trafficEvery is between two events that come while others wait.
	trafficEvery = 30 * time.Second
	// look is how often a condition is looked at. It costs next to nothing:
	// the fake broker is asked in the process.
	look = 20 * time.Millisecond
)

// history is one run of a plan.
type history struct {
	plan    *plan
	began   time.Time
	lasted  time.Duration
	network *kfake.VirtualNetwork
	cluster *kfake.Cluster
	client  *kgo.Client
	sim     *simulator.Simulator
	api     *api
	trace   trace
	log     logRing

	group       string
	second      time.Time           // when the second part began; zero: it has not
	decided     map[string]bool     // by then
	resent      map[string]int      // how often a person sent what was parked, by id
	corrected   map[string]*planned // of events that were parked without a call: what took their place, by id
	halted      bool                // the ledger is gone, and nothing is to be done
	slots       []*slot
	sent        []*sent
	force       chan struct{} // closed when kills that have not come shall come
	over        chan struct{} // closed when the last process has ended
	hung        atomic.Bool   // the fake broker does not answer the group any more
	background  sync.WaitGroup
	supervisors sync.WaitGroup

	mu         sync.Mutex
	processes  []*process
	kills      int
	idleKills  int      // of them, those at rest, for their step had not come
	losses     int      // connections lost by order
	exits      []string // ends that nobody asked for
	violations []string
	stacks     string // of a history that is stuck
	verdicts   []verdict
	entries    []ledgerEntry
	atOnce     int // events that two instances decided in the same moment
}

// run carries out a plan in a bubble of its own.
func run(t *testing.T, p *plan) (r result) {
	t.Helper()
	h := &history{plan: p}
	defer func() {
		// A bubble in which all wait for ever panics; that is a violation as
		// good as any, and the campaign goes on.
		if stuck := recover(); stuck != nil {
			h.violations = append(h.violations, fmt.Sprintf("stuck: %v", stuck))
			h.stacks = stacks()
			r = h.result()
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		h.live(t.Context())
		r = h.result()
	})
	return r
}

func (h *history) violate(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violations = append(h.violations, fmt.Sprintf(format, args...))
}

func (h *history) note(p *process, text string) { h.trace.add(&entry{p: p, note: text}) }

// hit counts a connection that was lost by order.
func (h *history) hit() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.losses++
}

func (h *history) died(p *process) {
	h.note(p, "dies")
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kills++
}

// live runs the history from its beginning to its end.
func (h *history) live(ctx context.Context) {
	p := h.plan
	h.began = time.Now()
	h.group, h.resent = "prove", make(map[string]int)
	h.force, h.over = make(chan struct{}), make(chan struct{}) // channels of outside would keep time from passing
	h.trace.began = h.began
	h.network = &kfake.VirtualNetwork{}
	cluster, err := kfake.NewCluster(kfake.Ports([]int{9092, 9093}[:p.brokers]...), kfake.ListenFn(h.network.Listen), kfake.GroupMinSessionTimeout(1),
		kafkatest.Uncompacted(), kfake.MaxVersions(brokerVersions(p.oldBroker)),
		kfake.SeedTopics(p.partitions, topicInput), kfake.SeedTopics(p.outPartitions, topicCaptured, topicRejected, topicParked))
	if err != nil {
		panic(err)
	}
	h.cluster = cluster
	defer cluster.Close()
	h.sim, err = simulator.New(simulator.Config{AccessToken: accessToken, Latency: p.latency, Seed: p.seed, Script: p.script})
	if err != nil {
		panic(err)
	}
	h.api = newAPI(h.sim)
	defer h.api.serve()()
	h.client, err = kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.Dialer(h.network.DialContext),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.MetadataMaxAge(time.Hour))
	if err != nil {
		panic(err)
	}
	defer h.client.Close()
	if _, err := kadm.NewClient(h.client).CreateTopic(ctx, p.ledgerPartitions, 1, map[string]*string{"cleanup.policy": new("compact")}, topicLedger); err != nil {
		panic(err)
	}
	for range p.slots {
		h.slots = append(h.slots, &slot{h: h, settled: make(chan struct{}), disk: vfs.NewCrashableMem()})
	}
	h.watched(ctx, func() {
		if len(p.calm) > 0 {
			h.calm(ctx)
		}
		h.background.Go(func() { h.trouble(ctx) })
		h.play(ctx, p.slots, p.waves, p.last)
	})
	if p.again != nil && !h.hung.Load() {
		h.comeAgain(ctx)
	}
	h.stopAll()
	close(h.over)
	h.background.Wait()
	h.lasted = time.Since(h.began)
	time.Sleep(2 * time.Minute) // what the clients left running finds out
	h.readVerdicts(ctx)
	h.readLedger(ctx)
	h.check()
}

// calm lets instances join and leave, and nothing else happen.
func (h *history) calm(ctx context.Context) {
	var waves sync.WaitGroup
	waves.Go(func() { h.send(ctx, h.plan.calm) })
	for _, m := range h.plan.calmly {
		time.Sleep(m.after)
		s := h.slots[m.slot]
		if m.what == "start" {
			s.start(h.plan.slots[m.slot][0].instance, m.slot) //nolint:contextcheck // a process has a life of its own
			continue
		}
		if err := s.stop(s.process); err != nil {
			h.violate("calm: %s ended with %v", s.process.name, err)
		}
		s.process = nil
	}
	waves.Wait()
	if h.eventually("what was sent in the calm phase is committed", h.settled) {
		h.checkCalm()
	}
}

// play lets everything happen, until all is settled after the last kill, or
// until all die before.
func (h *history) play(ctx context.Context, lives [][]fate, waves []wave, last wave) {
	for i, s := range h.slots {
		if len(lives[i]) > 0 {
			h.supervisors.Go(func() { s.supervise(lives[i], i) }) //nolint:contextcheck // as above
		}
	}
	h.send(ctx, waves)
	a := h.plan.again
	if a == nil || !h.second.IsZero() {
		a = new(again)
	}
	if a.cut {
		h.send(ctx, []wave{last})
		time.Sleep(a.after)
		return
	}
	h.eventually("what was sent is committed", h.goesOn(ctx))
	close(h.force)
	for _, s := range h.slots {
		select {
		case <-s.settled:
		case <-time.After(patience):
			h.violate("slot does not come to its last life")
		}
	}
	h.send(ctx, []wave{last})
	if a.sleeper {
		time.Sleep(a.after)
		h.slots[0].sleep()
	}
	h.eventually("what was sent last is committed", h.goesOn(ctx))
}

// goesOn is settled, with an event of the plan's traffic every now and then
// while it is not.
func (h *history) goesOn(ctx context.Context) func() bool {
	next := time.Now().Add(trafficEvery)
	return func() bool {
		if len(h.plan.traffic) > 0 && time.Now().After(next) {
			h.send(ctx, []wave{{records: h.plan.traffic[:1]}})
			h.plan.traffic = h.plan.traffic[1:]
			next = time.Now().Add(trafficEvery)
		}
		return h.settled()
	}
}

// send produces waves of records.
func (h *history) send(ctx context.Context, waves []wave) {
	for _, w := range waves {
		time.Sleep(w.after)
		var records []*kgo.Record
		for _, s := range w.records {
			if s.event.at.IsZero() {
				s.event.at = time.Now()
			}
			r := s.event.record(topicInput, s.partition, s.event.at, h.plan.binary)
			s.mark(r)
			records = append(records, r)
		}
		for _, r := range h.client.ProduceSync(ctx, records...) {
			if r.Err != nil {
				panic(r.Err) // nothing cuts this client off
			}
			for j := range records {
				if records[j] == r.Record {
					w.records[j].offset, w.records[j].id = r.Record.Offset, w.records[j].event.recordID(r.Record)
				}
			}
		}
		h.mu.Lock()
		h.sent = append(h.sent, w.records...)
		h.mu.Unlock()
	}
}

// settled reports whether all input is committed and no transaction is open
// over the outcomes.
func (h *history) settled() bool {
	info := h.cluster.GroupInfo(h.group)
	if info == nil {
		return false
	}
	for _, p := range h.cluster.PartitionInfos(topicInput) {
		if info.Commits[topicInput][p.Partition].Offset != p.HighWatermark {
			return false
		}
	}
	for _, topic := range []string{topicCaptured, topicRejected, topicParked, topicLedger} {
		for _, p := range h.cluster.PartitionInfos(topic) {
			if p.LastStableOffset != p.HighWatermark {
				return false
			}
		}
	}
	return true
}

func (h *history) eventually(what string, condition func() bool) bool {
	deadline := time.Now().Add(patience)
	for !condition() {
		if h.hung.Load() {
			return false
		}
		if time.Now().After(deadline) {
			h.violate("%s: not so after %s", what, patience)
			return false
		}
		time.Sleep(look)
	}
	return true
}

// stopAll ends the history: the living are stopped as by SIGTERM, the dead are
// waited for.
func (h *history) stopAll() {
	var all sync.WaitGroup
	for _, s := range h.slots {
		all.Go(s.finish)
	}
	all.Wait()
	h.supervisors.Wait()
	for _, p := range h.processes {
		select {
		case <-p.ended:
		case <-time.After(patience):
			h.violate("%s does not end", p.name)
		}
	}
}

func (h *history) logger(p *process) *slog.Logger {
	return slog.New(slog.NewJSONHandler(io.Writer(&h.log), &slog.HandlerOptions{Level: slog.LevelDebug})).With(slog.String("process", p.name))
}
