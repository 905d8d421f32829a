//go:build integration && chaos

package acceptance

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"payment-capture/internal/kafkatest"
	"payment-capture/internal/simulator"
)

// TestChaos runs three processes of the command for CHAOS_MINUTES against a real broker
// and a faulty API, and kills, suspends and cuts off processes and the broker. SEED
// determines the fault schedule, but not the interleaving. At the end all faults are
// over, and every promise must hold.
func TestChaos(t *testing.T) {
	seed, duration := chaosSettings(t)
	dice := rand.New(rand.NewPCG(seed, 0))
	c := &chaos{began: time.Now(), static: dice.IntN(2) == 0}
	plan := newPlan(dice, duration)
	binary := buildBinary(t, raceFlags()...)
	c.broker = kafkatest.Run(t, kafkatest.ContainerOptions{Routes: chaosInstances})
	c.world = newWorld(t, &c.broker.Broker, 6, faultyNow(seed), serveReal(t))
	c.zombies, c.patience = true, 4*time.Minute
	c.load = newLoad(t, dice.Uint64())
	defer c.diagnose()
	t.Logf("chaos: seed %d for %s: %d faults are planned, static membership is %t, logs are in %s",
		seed, duration, len(plan), c.static, t.ArtifactDir())
	for i, route := range c.broker.Routes {
		c.links = append(c.links, newLink(t, route))
		c.seats = append(c.seats, newSeat(c, i, binary))
	}
	c.began = time.Now()
	stopLoad := c.steadily(loadInterval, c.load.next)
	c.carryOut(plan)
	stopLoad()
	t.Logf("chaos: %6.1fs all is well again: %d events were sent, the rest of them is waited for", time.Since(c.began).Seconds(), len(c.sent))
	for _, s := range c.seats {
		s.mustRun()
	}
	decisions := c.awaitDecisions()
	c.load.check(decisions)
	summary := c.summary(seed, decisions)
	c.load.check(c.fullReplay())
	for _, s := range c.seats {
		s.down(syscall.SIGTERM)
	}
	if c.log.contains("WARNING: DATA RACE") {
		t.Error("the race detector found something; see the logs")
	}
	t.Log(summary)
}

// chaosInstances is the number of instances, each with its own route to the broker.
const chaosInstances = 3

// chaos is a chaos run.
type chaos struct {
	*world
	began  time.Time
	static bool
	broker *kafkatest.Container
	links  []*link
	seats  []*seat
	load   *load

	mu    sync.Mutex
	count map[string]int
}

// did prints a fault and counts it under a name.
func (c *chaos) did(name, format string, args ...any) {
	c.mu.Lock()
	if c.count == nil {
		c.count = make(map[string]int)
	}
	c.count[name]++
	c.mu.Unlock()
	c.t.Logf("chaos: %6.1fs %s", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

// carryOut injects each fault at its time and waits until the last one is over.
func (c *chaos) carryOut(plan []fault) {
	var faults sync.WaitGroup
	for _, f := range plan {
		select {
		case <-time.After(time.Until(c.began.Add(f.at))):
		case <-c.t.Context().Done():
		}
		faults.Go(func() { f.kind.do(c, f) })
	}
	faults.Wait()
}

func (c *chaos) summary(seed uint64, decisions []decision) string {
	got, sent := make(map[string]int), make(map[string]int)
	parked := make(map[string]bool)
	for _, v := range decisions {
		got[v.event]++
		parked[v.event] = parked[v.event] || v.kind == "parked"
	}
	for _, s := range c.sent {
		if !s.skipped {
			sent[s.id]++
		}
	}
	lost, doubled, repeated := 0, 0, 0
	charges := c.sim.Charges()
	for id, n := range sent {
		if parked[id] {
			n = 1 // a copy of a parked event gets no decision
		}
		lost += max(0, n-got[id])
		doubled += max(0, got[id]-n)
		repeated += max(0, charges.CallsByKey[id]-n)
	}
	return fmt.Sprintf("chaos: seed %d: %d events, %d kills, %d stops, %d twins, %d restarts, %d cuts, %d broker restarts, %d stores lost, "+
		"%d fenced, "+
		"%d calls, %d repeated calls, %d charges, %d lost, %d doubled, %d double charges",
		seed, len(c.sent), c.count["kill"], c.count["stop"], c.count["twin"], c.count["restart"], c.count["cut"], c.count["broker"],
		c.count["store"], c.count["fenced"],
		charges.Calls, repeated, len(charges.List), lost, doubled, len(charges.DoubleCharges()))
}

// chaosSettings reads SEED (default: the time) and CHAOS_MINUTES (default: 3).
func chaosSettings(t *testing.T) (seed uint64, duration time.Duration) {
	t.Helper()
	seed, minutes := uint64(time.Now().UnixNano()), 3.0
	var err error
	if text := os.Getenv("SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SEED: %q is not a whole number", text)
		}
	}
	if text := os.Getenv("CHAOS_MINUTES"); text != "" {
		if minutes, err = strconv.ParseFloat(text, 64); err != nil || minutes <= 0 || minutes > 24*60 {
			t.Fatalf("CHAOS_MINUTES: %q is not a number of minutes, such as 3", text)
		}
	}
	return seed, time.Duration(minutes * float64(time.Minute))
}

// faultyNow is an API with transient faults in the first calls for a key, among them
// slow calls and charges whose answer is lost.
func faultyNow(seed uint64) simulator.Config {
	percent := func(p float64, r simulator.Rule) simulator.Rule {
		r.Match = simulator.Match{Probability: new(p / 100), ToTry: 4}
		return r
	}
	lasting := simulator.Match{ExternalReferencePrefix: classLasting + "-"}
	return simulator.Config{Latency: 30 * time.Millisecond, Seed: seed, Script: simulator.Script{
		Payers: []simulator.Payer{
			{Token: classPoor, Balance: "1"}, {Token: classDeclined, Decline: "cc_rejected_high_risk"}, {Token: classCancelled, State: "cancelled"},
		},
		Rules: []simulator.Rule{
			{Match: lasting, Action: simulator.ActionKeyUsed, Charge: true},
			// Before the faults, because a refusal after one would not decide.
			{Match: simulator.Match{PayerToken: classCancelled}, Action: simulator.ActionInvalidPayerToken},
			percent(2, simulator.Rule{Action: simulator.ActionDrop, Charge: true}),
			percent(2, simulator.Rule{Action: simulator.ActionDrop}),
			percent(1, simulator.Rule{Action: simulator.ActionHang, Charge: true}),
			percent(1, simulator.Rule{Action: simulator.ActionHang}),
			percent(2, simulator.Rule{Action: simulator.ActionError, Status: 500, Charge: true}),
			percent(2, simulator.Rule{Action: simulator.ActionError, Status: 500}),
			percent(2, simulator.Rule{Action: simulator.ActionTooManyRequests, RetryAfter: new(1), Charge: true}),
			percent(2, simulator.Rule{Action: simulator.ActionTooManyRequests}),
			percent(3, simulator.Rule{Action: simulator.ActionSlowBody, Delay: simulator.Duration(500 * time.Millisecond)}),
		},
	}}
}
