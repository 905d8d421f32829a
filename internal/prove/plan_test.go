//go:build synctests

package prove

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

// how is what becomes of a request that an order hits.
type how int

const (
	notApplied how = iota // it is not sent
	late                  // the process has given it up, and it arrives afterwards
	inFlight              // it arrives, and the answer is not waited for
	swallowed             // it is answered, and the answer is not heard
	answered              // it is answered, and the answer is heard
)

func (h how) String() string {
	return [...]string{"not applied", "arrives late", "applied, in flight", "applied, answer not heard", "applied and answered"}[h]
}

// order says what happens at a step of a process: the n-th request of a kind,
// from when the order was given.
type order struct {
	step  step
	nth   int
	times int // how many from there on; a kill has one
	how   how
	after time.Duration // until the kill, or until what is late arrives
	kill  bool          // the process dies; else the connection is lost

	from int  // set when armed
	hit  bool // its step has come
}

func (o order) String() string {
	what := "connection lost"
	if o.kill {
		what = "KILL"
	}
	s := fmt.Sprintf("%s at %s #%d, %s", what, o.step, o.nth, o.how)
	if o.times > 1 {
		s += fmt.Sprintf(", %d times", o.times)
	}
	if o.after > 0 {
		s += ", after " + o.after.String()
	}
	return s
}

// fate is one life in a slot, to its end.
type fate struct {
	instance string // INSTANCE_ID
	pause    time.Duration
	orders   []order // the first that kills ends it
	outages  []outage
	end      ending
	endAt    time.Duration // of a stop or an idle kill
	unsynced int           // how much of what was not written through a kill leaves, in percent
}

type ending int

const (
	endKilled  ending = iota // by one of its orders, or when all is idle
	endStopped               // gracefully, at endAt, if it is not killed before or at it
	endLast                  // lives until the history ends
)

func (f fate) String() string {
	var parts []string
	for _, o := range f.orders {
		parts = append(parts, o.String())
	}
	for _, o := range f.outages {
		parts = append(parts, fmt.Sprintf("outage at %s for %s (sides %v, held %t)", o.at, o.lasts, o.sides, o.held))
	}
	if f.end == endStopped {
		parts = append(parts, "stopped at "+f.endAt.String())
	}
	return fmt.Sprintf("%s after %s: %s", f.instance, f.pause, strings.Join(parts, "; "))
}

// brokerFault is errors that the broker answers with.
type brokerFault struct {
	at    time.Duration
	key   kmsg.Key
	code  int16
	count int
}

// planned is an event and what may become of it.
type planned struct {
	id, order, amount, token string
	kind                     string // as the draw calls it
	verdicts                 []string
	charged                  bool      // it may be charged
	calm                     bool      // no fault concerns it
	unordered                bool      // its copies go to several partitions
	second                   bool      // it is of the second part
	at                       time.Time // when it was sent first
	conflicts                bool      // another event has its id, and stands before it
	raw                      string
	typ, account, currency   string
	home                     int32
	ahead                    time.Duration // of its time, before that of its record
}

// sent is a record of an event.
type sent struct {
	event     *planned
	partition int32
	offset    int64           // known when it was produced
	id        string          // under which it is decided: the event's, or what stands in for it
	key       string          // of the record; "": the order
	resend    *event.Decision // the parking that it undoes
	again     int             // how often the offsets went back before it
}

// wave is records that are produced at one time.
type wave struct {
	after   time.Duration // the wave before
	records []*sent
}

// plan fixes a history, but for the order of its goroutines.
type plan struct {
	seed  uint64
	index int

	partitions, outPartitions int32
	ledgerPartitions          int32
	brokers                   int
	oldBroker                 bool // without transaction.version 2
	maxInFlight               int
	latency, timeout          time.Duration
	session                   time.Duration
	static, binary            bool
	maxTries                  int
	deadline                  time.Duration
	horizon, maxEventAge      time.Duration
	suppress                  bool   // REPLAYED_OUTCOMES
	oncePer                   string // CAPTURE_ONCE_PER
	again                     *again // nil: the history has one part

	events []*planned
	script simulator.Script

	calm   []wave // before anything goes wrong
	calmly []calmMove
	waves  []wave
	last   wave // after the last kill
	// traffic is sent one at a time, while what was sent before is not settled.
	traffic []*sent

	slots  [][]fate
	broker []brokerFault
	fences []fence
	expiry *expiry

	faults int // of the API, by rules
}

// calmMove is a graceful change among the instances.
type calmMove struct {
	after time.Duration
	what  string // start, stop
	slot  int
}

// fence takes an instance's transactional id, as another process would.
type fence struct {
	at       time.Duration
	instance string
}

// expiry is a time in which the access token is refused.
type expiry struct{ at, lasts time.Duration }

func (p *plan) String() string {
	var b strings.Builder
	w := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	w("seed %d, history %d: %d partitions, %d outcome partitions, %d brokers (old %t), %d in flight, latency %s, time-out %s, session %s, static %t, binary %t, %d tries in %s; %d ledger partitions, horizon %s, events up to %s, once per %s, suppress %t",
		p.seed, p.index, p.partitions, p.outPartitions, p.brokers, p.oldBroker, p.maxInFlight, p.latency, p.timeout, p.session, p.static, p.binary, p.maxTries, p.deadline,
		p.ledgerPartitions, p.horizon, p.maxEventAge, p.oncePer, p.suppress)
	w("events:")
	for _, e := range p.events {
		w("  %-8s order %-6s amount %-8s %-22s may become %s", e.id, e.order, e.amount, e.kind, strings.Join(e.verdicts, " or "))
	}
	for _, r := range p.script.Rules {
		w("  rule for %s, tries %d to %d: %s, status %d, charge %t", r.Match.Key, r.Match.FromTry, r.Match.ToTry, r.Action, r.Status, r.Charge)
	}
	for i, v := range append(append(p.calm, p.waves...), p.last) {
		var records []string
		for _, r := range v.records {
			records = append(records, fmt.Sprintf("%s→%d", r.event.id, r.partition))
		}
		w("wave %d after %s: %s", i, v.after, strings.Join(records, " "))
	}
	for _, m := range p.calmly {
		w("calm: %s slot %d after %s", m.what, m.slot, m.after)
	}
	for i, lives := range p.slots {
		for j, f := range lives {
			w("slot %d, life %d: %s", i, j, f)
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
	if a := p.again; a != nil {
		w("AGAIN: %s", a)
		for _, v := range []wave{{records: a.records}, a.last} {
			var records []string
			for _, r := range v.records {
				records = append(records, strings.TrimSuffix(fmt.Sprintf("%s→%d %s", r.event.id, r.partition, r.key), " "))
			}
			w("again: %s", strings.Join(records, " "))
		}
		for i, lives := range a.slots {
			for j, f := range lives {
				w("again: slot %d, life %d: %s", i, j, f)
			}
		}
	}
	return b.String()
}
