//go:build synctests

package simtest

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

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/kafkatest"
	ledgerentry "payment-capture/internal/ledger/entry"
	"payment-capture/internal/simulator"
)

const (
	topicInput, topicCaptured, topicRejected, topicParked = "orders", "captured", "rejected", "parked"
	topicLedger                                           = "ledger"

	// patience bounds every wait, in virtual time.
	patience = 5 * time.Minute
	// giveUpAfter is how much longer than CAPTURE_DEADLINE the service waits for an attempt
	// that nobody resumes.
	giveUpAfter = 5 * time.Minute
	// trafficEvery is the time between two events of the plan's traffic.
	trafficEvery = 30 * time.Second
	// pollInterval is the time between two checks of a condition. A check is cheap
	// because the fake broker runs in this process.
	pollInterval = 20 * time.Millisecond
)

// harness carries out the plan of one run.
type harness struct {
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
	secondBegan time.Time                // when the second phase began; zero before that
	decided     map[string]bool          // events that the first phase decided, by id
	resent      map[string]int           // how often an operator resent an event, by id
	corrected   map[string]*plannedEvent // corrections of events that were parked without a call, by id
	halted      bool                     // the ledger was recreated, so the service must do nothing
	slots       []*slot
	sent        []*sentRecord
	force       chan struct{} // closed when processes whose kill has not come must be killed
	over        chan struct{} // closed when the last process has ended
	groupStuck  atomic.Bool   // the fake broker no longer answers the group
	background  sync.WaitGroup
	supervisors sync.WaitGroup

	mu         sync.Mutex
	processes  []*process
	kills      int
	idleKills  int      // kills at rest, because no request had met the fault
	losses     int      // connections that a fault has lost
	exits      []string // processes that ended by themselves
	violations []string
	stacks     string // of a run that is stuck
	decisions  []decision
	entries    []ledgerEntry
}

// run carries out a plan in a bubble of its own.
func run(t *testing.T, p *plan) (r result) {
	t.Helper()
	h := &harness{plan: p}
	defer func() {
		// A bubble in which all goroutines are blocked panics. That counts as a
		// violation, and the other runs continue.
		if stuck := recover(); stuck != nil {
			h.violations = append(h.violations, fmt.Sprintf("stuck: %v", stuck))
			h.stacks = stacks()
			r = h.result()
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		h.execute(t.Context())
		r = h.result()
	})
	return r
}

func (h *harness) violate(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.violations = append(h.violations, fmt.Sprintf(format, args...))
}

func (h *harness) annotate(p *process, text string) { h.trace.add(&entry{p: p, note: text}) }

// countLoss counts a connection that a fault has lost.
func (h *harness) countLoss() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.losses++
}

func (h *harness) countKill(p *process) {
	h.annotate(p, "killed")
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kills++
}

// execute carries out the plan from its beginning to its end.
func (h *harness) execute(ctx context.Context) {
	p := h.plan
	h.began = time.Now()
	h.group, h.resent = "simulation", make(map[string]int)
	h.force, h.over = make(chan struct{}), make(chan struct{}) // channels from outside the bubble would keep virtual time from passing
	h.trace.began = h.began
	h.network = &kfake.VirtualNetwork{}
	cluster, err := kfake.NewCluster(kfake.Ports([]int{9092, 9093}[:p.brokers]...),
		kfake.ListenFn(h.network.Listen), kfake.GroupMinSessionTimeout(1),
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
	if _, err := kadm.NewClient(h.client).CreateTopic(ctx, p.ledgerPartitions, 1, p.ledgerConfig(), topicLedger); err != nil {
		panic(err)
	}
	for range p.slots {
		h.slots = append(h.slots, &slot{h: h, lastBegan: make(chan struct{}), disk: vfs.NewCrashableMem()})
	}
	h.writeAbandoned(ctx)
	if p.mute != nil {
		h.background.Go(func() { h.watchProgress(h.over) })
	}
	h.watched(ctx, func() {
		if len(p.calm) > 0 {
			h.calm(ctx)
		}
		h.background.Go(func() { h.injectFaults(ctx) })
		h.runPhase(ctx, p.slots, p.waves, p.last)
	})
	if p.second != nil && !h.groupStuck.Load() {
		h.runSecondPhase(ctx)
	}
	h.stopAll()
	close(h.over)
	h.background.Wait()
	h.lasted = time.Since(h.began)
	time.Sleep(2 * time.Minute) // goroutines that the clients left running end
	h.readDecisions(ctx)
	h.readLedger(ctx)
	h.check()
}

// calm runs the calm phase.
func (h *harness) calm(ctx context.Context) {
	var waves sync.WaitGroup
	waves.Go(func() { h.send(ctx, h.plan.calm) })
	for _, m := range h.plan.calmMoves {
		time.Sleep(m.after)
		s := h.slots[m.slot]
		if m.what == "start" {
			s.start(h.plan.slots[m.slot][0].instance, m.slot) //nolint:contextcheck // a process outlives the caller
			continue
		}
		if err := s.stop(s.process); err != nil {
			h.violate("calm: %s ended with %v", s.process.name, err)
		}
		s.process = nil
	}
	waves.Wait()
	if h.eventually("the records of the calm phase are committed", h.allCommitted) {
		h.checkCalm()
	}
}

// runPhase runs a phase until all records are committed after the last kill, or
// until the plan kills all processes.
func (h *harness) runPhase(ctx context.Context, lifetimes [][]lifetime, waves []wave, last wave) {
	for i, s := range h.slots {
		if len(lifetimes[i]) > 0 {
			h.supervisors.Go(func() { s.supervise(lifetimes[i], i) }) //nolint:contextcheck // as above
		}
	}
	h.send(ctx, waves)
	a := h.plan.second
	if a == nil || !h.secondBegan.IsZero() {
		a = new(secondPhase)
	}
	if a.killAll {
		h.send(ctx, []wave{last})
		time.Sleep(a.after)
		return
	}
	h.eventually("the records of the waves are committed", h.committedWithTraffic(ctx))
	close(h.force)
	for _, s := range h.slots {
		select {
		case <-s.lastBegan:
		case <-time.After(patience):
			h.violate("a slot does not reach its last lifetime")
		}
	}
	h.send(ctx, []wave{last})
	if a.suspendFirst {
		time.Sleep(a.after)
		h.slots[0].suspend()
	}
	h.eventually("the records of the last wave are committed", h.committedWithTraffic(ctx))
}

// committedWithTraffic returns allCommitted as a condition that sends an event of the
// plan's traffic every now and then while it does not hold.
func (h *harness) committedWithTraffic(ctx context.Context) func() bool {
	next := time.Now().Add(trafficEvery)
	return func() bool {
		if len(h.plan.traffic) > 0 && time.Now().After(next) {
			h.send(ctx, []wave{{records: h.plan.traffic[:1]}})
			h.plan.traffic = h.plan.traffic[1:]
			next = time.Now().Add(trafficEvery)
		}
		return h.allCommitted()
	}
}

// send produces waves of records.
func (h *harness) send(ctx context.Context, waves []wave) {
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
				panic(r.Err) // no fault concerns this client
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

// writeAbandoned writes the attempts of an instance whose partition of the input is gone.
func (h *harness) writeAbandoned(ctx context.Context) {
	for _, planned := range h.plan.abandoned {
		planned.at = time.Now()
		e, err := event.Decode(kafka.MessageOf(planned.record(topicInput, 0, planned.at, h.plan.binary)))
		if err != nil {
			panic(err) // it is valid
		}
		a := event.AttemptOf(e)
		a.First, a.Account, a.Input = event.Now(), "main", h.plan.partitions
		r := &kgo.Record{
			Topic: topicLedger, Partition: ledgerentry.Partition(e.ExternalReference, e.ID, h.plan.ledgerPartitions),
			Key: ledgerentry.AttemptKey(e.ID, "gone"), Value: ledgerentry.EncodeAttempt(a),
		}
		if err := h.client.ProduceSync(ctx, r).FirstErr(); err != nil {
			panic(err) // no fault concerns this client
		}
	}
}

// allCommitted reports whether all input is committed and no transaction is open.
func (h *harness) allCommitted() bool {
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

func (h *harness) eventually(what string, condition func() bool) bool {
	limit := patience
	if len(h.plan.abandoned) > 0 {
		// Each process waits anew, and is not killed before.
		for _, lifetimes := range h.plan.slots {
			limit += time.Duration(len(lifetimes)) * (h.plan.deadline + giveUpAfter)
		}
	}
	deadline := time.Now().Add(limit)
	for !condition() {
		if h.groupStuck.Load() {
			return false
		}
		if time.Now().After(deadline) {
			h.violate("not within %[2]s: %[1]s", what, limit)
			return false
		}
		time.Sleep(h.plan.pollInterval())
	}
	return true
}

// stopAll stops the running processes as SIGTERM does, and waits until the killed
// ones have ended.
func (h *harness) stopAll() {
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

func (h *harness) logger(p *process) *slog.Logger {
	return slog.New(slog.NewJSONHandler(io.Writer(&h.log), &slog.HandlerOptions{Level: slog.LevelDebug})).With(slog.String("process", p.name))
}
