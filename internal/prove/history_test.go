//go:build synctests

package prove

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/simulator"
)

const (
	topicInput, topicCaptured, topicRejected, topicParked = "orders", "captured", "rejected", "parked"
	topicLedger                                           = "ledger"

	group = "prove"
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

	slots      []*slot
	sent       []*sent
	force      chan struct{} // closed when kills that have not come shall come
	over       chan struct{} // closed when the last process has ended
	hung       atomic.Bool   // the fake broker does not answer the group any more
	background sync.WaitGroup

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

// result is what a history adds to the campaign.
type result struct {
	hung, kills, idleKills, faults, calls, charges, exits, atOnce int
	virtual                                                       time.Duration
	violations                                                    []string
	report                                                        string // of one that failed
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

// stacks gives where goroutines of bubbles are.
func stacks() string {
	all := make([]byte, 4<<20)
	var b strings.Builder
	for g := range strings.SplitSeq(string(all[:runtime.Stack(all, true)]), "\n\n") {
		if head, _, _ := strings.Cut(g, "\n"); strings.Contains(head, "synctest bubble") {
			fmt.Fprintf(&b, "%s\n\n", g)
		}
	}
	return b.String()
}

func (h *history) result() result {
	r := result{
		kills: h.kills, idleKills: h.idleKills, violations: h.violations, exits: len(h.exits), atOnce: h.atOnce,
		faults: h.losses + h.plan.faults + len(h.plan.broker) + len(h.plan.fences), virtual: h.lasted,
	}
	if h.hung.Load() {
		r.hung = 1
	}
	if h.sim != nil {
		ledger := h.sim.Ledger()
		r.calls, r.charges = ledger.Calls, len(ledger.Charges)
	}
	if len(h.violations) > 0 {
		r.report = h.String()
	}
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
	h.force, h.over = make(chan struct{}), make(chan struct{}) // channels of outside would keep time from passing
	h.trace.began = h.began
	h.network = &kfake.VirtualNetwork{}
	cluster, err := kfake.NewCluster(kfake.Ports([]int{9092, 9093}[:p.brokers]...), kfake.ListenFn(h.network.Listen), kfake.GroupMinSessionTimeout(1), kfake.MaxVersions(brokerVersions(p.oldBroker)),
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
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0))
	if err != nil {
		panic(err)
	}
	defer h.client.Close()
	if _, err := kadm.NewClient(h.client).CreateTopic(ctx, p.partitions, 1, map[string]*string{"cleanup.policy": new("compact")}, topicLedger); err != nil {
		panic(err)
	}
	h.background.Go(func() { h.watchGroup(ctx) })
	for range p.slots {
		h.slots = append(h.slots, &slot{h: h, settled: make(chan struct{}), disk: vfs.NewMem()})
	}
	if len(p.calm) > 0 {
		h.calm(ctx)
	}
	h.main(ctx)
	h.stopAll()
	close(h.over)
	h.background.Wait()
	h.lasted = time.Since(h.began)
	time.Sleep(5 * time.Minute) // what the clients left running finds out
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
		if err := s.stop(); err != nil {
			h.violate("calm: %s ended with %v", s.process.name, err)
		}
		s.process = nil
	}
	waves.Wait()
	if h.eventually("what was sent in the calm phase is committed", h.settled) {
		h.checkCalm()
	}
}

// main lets everything happen, until all is settled after the last kill.
func (h *history) main(ctx context.Context) {
	for i, s := range h.slots {
		h.background.Go(func() { s.supervise(h.plan.slots[i], i) }) //nolint:contextcheck // as above
	}
	h.background.Go(func() { h.trouble(ctx) })
	h.send(ctx, h.plan.waves)
	h.eventually("what was sent is committed", h.goesOn(ctx))
	close(h.force)
	for _, s := range h.slots {
		select {
		case <-s.settled:
		case <-time.After(patience):
			h.violate("slot does not come to its last life")
		}
	}
	h.send(ctx, []wave{h.plan.last})
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
			records = append(records, s.event.record(topicInput, s.partition, h.began, h.plan.binary))
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
	info := h.cluster.GroupInfo(group)
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

// String shows all of a history.
func (h *history) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "violations:\n  %s\n\nPLAN\n%s", strings.Join(h.violations, "\n  "), h.plan)
	fmt.Fprintf(&b, "\nSEEN (requests, in virtual time since the beginning)\n%s", h.trace.String())
	if h.stacks != "" {
		fmt.Fprintf(&b, "\nGOROUTINES\n%s", h.stacks)
	}
	b.WriteString("\nVERDICTS\n")
	for _, v := range h.verdicts {
		fmt.Fprintf(&b, "  %s\n", v)
	}
	if h.sim != nil {
		b.WriteString("\nTHE LEDGER'S TOPIC\n")
		for _, e := range h.entries {
			fmt.Fprintf(&b, "  %8.3fs %s\n", e.written.Sub(h.began).Seconds(), e)
		}
		b.WriteString("\nCHARGES\n")
		for _, c := range h.sim.Ledger().Charges {
			fmt.Fprintf(&b, "  %8.3fs key %s reference %s amount %s payment %d\n", c.Time.Sub(h.began).Seconds(), c.Key, c.ExternalReference, c.Amount, c.PaymentID)
		}
	}
	fmt.Fprintf(&b, "\nENDS THAT NOBODY ASKED FOR\n  %s\n\nLOG\n%s", strings.Join(h.exits, "\n  "), h.log.String())
	return b.String()
}
