//go:build synctests

package simtest

import (
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/event"
	"payment-capture/internal/simulator"
)

// step is a kind of external request: a Kafka API key, or a call of the API.
type step int16

const (
	stepPOST step = 1000 + iota
	stepGET
)

func (s step) String() string {
	switch s {
	case stepPOST:
		return "POST"
	case stepGET:
		return "GET"
	}
	return kmsg.Key(s).Name()
}

// effect is what happens to a request that a fault hits.
type effect int

const (
	notApplied effect = iota // the request is not sent
	late                     // the request arrives after the process has given it up
	inFlight                 // the request arrives; the process does not wait for the answer
	swallowed                // the answer does not reach the process
	answered                 // the answer reaches the process
)

func (h effect) String() string {
	return [...]string{"not applied", "arrives late", "applied, in flight", "applied, answer lost", "applied and answered"}[h]
}

// fault is injected at a step of a process: the n-th request of a kind since the
// fault was armed.
type fault struct {
	step   step
	nth    int
	times  int // how many requests from there on; 1 for a kill
	effect effect
	after  time.Duration // until the kill, or until the late request arrives
	kill   bool          // the process is killed; else its connection is lost

	from int  // set when armed
	hit  bool // a request has met it
}

func (o fault) String() string {
	what := "connection lost"
	if o.kill {
		what = "KILL"
	}
	s := fmt.Sprintf("%s at %s #%d, %s", what, o.step, o.nth, o.effect)
	if o.times > 1 {
		s += fmt.Sprintf(", %d times", o.times)
	}
	if o.after > 0 {
		s += ", after " + o.after.String()
	}
	return s
}

// lifetime is one process in a slot, from its start to its end.
type lifetime struct {
	instance string // INSTANCE_ID
	pause    time.Duration
	faults   []fault // the first kill ends the lifetime
	outages  []outage
	lag      time.Duration // of what it reads from the ledger
	end      ending
	endAt    time.Duration // of a stop or an idle kill
	unsynced int           // how much of the unsynced writes survives a kill, in percent
}

type ending int

const (
	endKilled  ending = iota // by one of its faults, or when all is idle
	endStopped               // gracefully, at endAt, unless a fault kills it first
	endLast                  // runs until the phase ends
)

func (f lifetime) String() string {
	var parts []string
	for _, o := range f.faults {
		parts = append(parts, o.String())
	}
	for _, o := range f.outages {
		parts = append(parts, fmt.Sprintf("outage at %s for %s (sides %v, held %t)", o.at, o.lasts, o.sides, o.held))
	}
	if f.lag > 0 {
		parts = append(parts, "reads the ledger "+f.lag.String()+" late")
	}
	if f.end == endStopped {
		parts = append(parts, "stopped at "+f.endAt.String())
	}
	return fmt.Sprintf("%s after %s: %s", f.instance, f.pause, strings.Join(parts, "; "))
}

// brokerFault is an error that the broker answers with.
type brokerFault struct {
	at    time.Duration
	key   kmsg.Key
	code  int16
	count int
}

// plannedEvent is an event and the decisions that it may get.
type plannedEvent struct {
	id, order, amount, token string
	kind                     string    // one of the kinds in events_test.go
	allowed                  []string  // decisions, as decision.word returns them
	charged                  bool      // the event may be charged
	calm                     bool      // no fault concerns the event
	unordered                bool      // copies of the event are in several partitions
	inSecond                 bool      // the event belongs to the second phase
	at                       time.Time // when it was first sent
	conflicts                bool      // another event has its id and comes first
	raw                      string
	typ, account, currency   string
	home                     int32
	crc32                    bool          // its producer chooses partitions by CRC32, not murmur2
	ahead                    time.Duration // how far its time is ahead of its record
}

// sentRecord is a record of an event.
type sentRecord struct {
	event     *plannedEvent
	partition int32
	offset    int64           // set when it was produced
	id        string          // in the ledger: the event id, or the record id of an invalid or conflicting event
	key       string          // of the record; "": the order id
	resend    *event.Decision // the parked decision that it undoes
	rereads   int             // how often the group read it again after an offset reset
}

// wave is a set of records that are produced at one time.
type wave struct {
	after   time.Duration // since the wave before
	records []*sentRecord
}

// plan determines a run, except the order of its goroutines.
type plan struct {
	seed  uint64
	index int

	partitions, outPartitions int32
	ledgerPartitions          int32
	twoPartitioners           bool // of the producers
	brokers                   int
	oldBroker                 bool // a broker without transaction.version 2
	maxInFlight               int
	latency, timeout          time.Duration
	session                   time.Duration
	static, binary            bool
	maxTries                  int
	deadline                  time.Duration
	horizon, maxEventAge      time.Duration
	duplicateWindow           time.Duration // CAPTURE_DUPLICATE_WINDOW
	retention                 time.Duration // LEDGER_RETENTION
	suppress                  bool          // REPLAYED_OUTCOMES
	oncePer                   string        // CAPTURE_ONCE_PER
	second                    *secondPhase  // nil: the run has one phase
	mute                      *mute         // nil: every fault passes

	events []*plannedEvent
	script simulator.Script

	calm      []wave // before the first fault
	calmMoves []calmMove
	waves     []wave
	last      wave // after the last kill
	// traffic is sent one at a time, until the records before it are committed.
	traffic []*sentRecord
	// abandoned events have an attempt from a partition of the input that is gone.
	abandoned []*plannedEvent

	slots  [][]lifetime
	broker []brokerFault
	fences []fence
	expiry *expiry

	apiFaults int // rules that make the API fail
}

// calmMove starts or stops an instance without a fault.
type calmMove struct {
	after time.Duration
	what  string // start, stop
	slot  int
}

// fence initialises the transactional id of an instance, as another process would.
type fence struct {
	at       time.Duration
	instance string
}

// expiry is a time in which the API refuses the access token.
type expiry struct{ at, lasts time.Duration }

func (p *plan) String() string {
	var b strings.Builder
	w := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	w("seed %d, run %d: %d partitions, %d outcome partitions, %d ledger partitions, %d brokers (old %t)",
		p.seed, p.index, p.partitions, p.outPartitions, p.ledgerPartitions, p.brokers, p.oldBroker)
	w("%d in flight, latency %s, time-out %s, session %s, static %t, binary %t, %d calls in %s",
		p.maxInFlight, p.latency, p.timeout, p.session, p.static, p.binary, p.maxTries, p.deadline)
	w("key retention %s, events up to %s, ledger retention %s, once per %s, suppress %t", p.horizon, p.maxEventAge, p.retention, p.oncePer,
		p.suppress)
	w("events:")
	for _, e := range p.events {
		w("  %-8s order %-6s amount %-8s %-22s may become %s", e.id, e.order, e.amount, e.kind, strings.Join(e.allowed, " or "))
	}
	for _, e := range p.abandoned {
		w("  %s was attempted by an instance whose partition is gone", e.id)
	}
	for _, r := range p.script.Rules {
		w("  rule for %s, calls %d to %d: %s, status %d, charge %t", r.Match.Key, r.Match.FromTry, r.Match.ToTry, r.Action, r.Status, r.Charge)
	}
	for i, v := range append(append(p.calm, p.waves...), p.last) {
		var records []string
		for _, r := range v.records {
			records = append(records, fmt.Sprintf("%s→%d", r.event.id, r.partition))
		}
		w("wave %d after %s: %s", i, v.after, strings.Join(records, " "))
	}
	for _, m := range p.calmMoves {
		w("calm: %s slot %d after %s", m.what, m.slot, m.after)
	}
	for i, lifetimes := range p.slots {
		for j, f := range lifetimes {
			w("slot %d, lifetime %d: %s", i, j, f)
		}
	}
	for _, f := range p.broker {
		w("broker: %d times error %d to %s at %s", f.count, f.code, f.key.Name(), f.at)
	}
	for _, f := range p.fences {
		w("fence: the id of %s is taken at %s", f.instance, f.at)
	}
	if p.expiry != nil {
		w("token: refused at %s for %s", p.expiry.at, p.expiry.lasts)
	}
	if p.mute != nil {
		w("liveness: %s", p.mute)
	}
	if a := p.second; a != nil {
		w("second phase: %s", a)
		for _, v := range []wave{{records: a.records}, a.last} {
			var records []string
			for _, r := range v.records {
				records = append(records, strings.TrimSuffix(fmt.Sprintf("%s→%d %s", r.event.id, r.partition, r.key), " "))
			}
			w("second phase: %s", strings.Join(records, " "))
		}
		for i, lifetimes := range a.slots {
			for j, f := range lifetimes {
				w("second phase: slot %d, lifetime %d: %s", i, j, f)
			}
		}
	}
	return b.String()
}
