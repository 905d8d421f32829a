//go:build synctests

package prove

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/simulator"
)

// Secrets that are planted; none may be seen in a log or an outcome.
const (
	accessToken = "APP_USR-planted-access-token"
	payerTokens = "planted-payer" // every payer token begins so
)

// The kinds of events.
const (
	plainKind          = "plain"
	declinedKind       = "declined"
	poorKind           = "insufficient money"
	cancelledKind      = "agreement cancelled"
	faultyKind         = "faults that pass"
	inProcessKind      = "in process at first"
	invalidKind        = "invalid"
	otherTypeKind      = "of another type"
	otherAccountKind   = "for another account"
	tombstoneKind      = "a tombstone"
	currencyKind       = "wrong currency"
	failsCharged       = "5xx for ever, charged"
	failsUncharged     = "5xx for ever"
	chargedThenRefused = "charged, then refused"
	keyUsedKind        = "key used"
	twinKind           = "of one id with another"
)

// The verdicts that a plan names: "captured", or "rejected" or "parked" with
// the reason, or nothing at all.
const (
	isCaptured  = "captured"
	isUndecided = "parked undecided"
	isKeyUsed   = "parked idempotency_key_used"
	isConflict  = "parked conflicting_event"
	isDoubtful  = "parked error_after_unknown"
	isSkipped   = "nothing"
)

func (d *draw) payers() {
	d.p.script.Payers = []simulator.Payer{
		{Token: payerTokens + "-declined", Decline: "cc_rejected_other_reason"},
		{Token: payerTokens + "-poor", Balance: "0.50"},
		{Token: payerTokens + "-cancelled", State: "cancelled"},
	}
	if d.chance(50) {
		d.p.script.Switches.Replay = "current"
	}
}

func (d *draw) kindOf(kinds ...string) string {
	if d.chance(60) {
		return kinds[0]
	}
	return kinds[d.IntN(len(kinds))]
}

func (d *draw) anyKind() string {
	kinds := []string{
		plainKind, faultyKind, declinedKind, poorKind, cancelledKind, inProcessKind, invalidKind, otherTypeKind, otherAccountKind, currencyKind,
		futureKind, tombstoneKind,
	}
	return kinds[d.weighted(45, 25, 6, 3, 4, 4, 5, 3, 2, 2, 2, 2)]
}

// event draws an event of a kind, with the rules that make it one.
func (d *draw) event(kind string) *planned {
	p := d.p
	n := len(p.events)
	e := &planned{
		id: fmt.Sprintf("e%d", n), order: fmt.Sprintf("o%d", d.IntN(n*2/3+1)), kind: kind,
		amount: fmt.Sprintf("%d.%02d", d.between(1, 900), d.between(1, 99)), token: fmt.Sprintf("%s-%d", payerTokens, n),
		typ: "order.ready_to_capture", currency: "MXN", verdicts: []string{isCaptured}, charged: true,
	}
	d.orderOf(e)
	p.events = append(p.events, e)
	refused := func(verdicts ...string) { e.charged, e.verdicts = false, verdicts }
	switch kind {
	case declinedKind:
		refused("rejected cc_rejected_other_reason")
		e.token = payerTokens + "-declined"
	case poorKind:
		refused("rejected insufficient_money")
		e.token = payerTokens + "-poor"
	case cancelledKind:
		// After a try that nobody answered, it may have been cancelled since.
		refused("rejected invalid_payer_token", isDoubtful)
		e.token = payerTokens + "-cancelled"
	case faultyKind:
		d.passing(e)
	case inProcessKind:
		rule := simulator.Rule{Action: simulator.ActionInProcess, Then: &simulator.Then{Status: "approved", AfterGets: d.between(1, 3)}}
		if d.chance(30) {
			rule.Then.Status, rule.Then.StatusDetail = "rejected", "cc_rejected_high_risk"
			refused("rejected cc_rejected_high_risk")
		}
		d.rule(e, 1, 0, rule)
	case invalidKind:
		refused("parked invalid_event")
		d.spoil(e)
	case tombstoneKind:
		refused(isSkipped)
	case otherTypeKind:
		refused(isSkipped)
		e.typ = "order.shipped"
	case otherAccountKind:
		refused(isSkipped)
		e.account = "another"
	case currencyKind:
		refused("parked wrong_currency")
		e.currency = "BRL"
	case futureKind:
		// Sent again by an operator, who accepts its time, it is captured.
		e.verdicts = []string{"parked time_in_future", isCaptured}
		e.ahead, e.unordered = farAhead, true
	default:
		d.lastingFault(e)
	}
	return e
}

// orderOf puts events of one order into one partition.
func (d *draw) orderOf(e *planned) {
	n := 0
	_, _ = fmt.Sscanf(e.order, "o%d", &n) // as written above
	e.home = int32(n) % d.p.partitions
}

// spoil makes an event one that cannot be read.
func (d *draw) spoil(e *planned) {
	switch d.IntN(5) {
	case 0:
		e.raw = "this is no JSON, " + e.id
	case 1:
		e.amount = "-" + e.amount
	case 2:
		e.amount += "5" // finer than the currency
	case 3:
		e.raw = "\x00\x00\x00\x00\x07" + e.id // a schema registry's
	case 4:
		e.typ = `"` + e.typ + `"` // of another type by its letters, and perhaps an order
	}
}

func (d *draw) rule(e *planned, from, to int, r simulator.Rule) {
	r.Match = simulator.Match{Key: e.id, FromTry: from, ToTry: to}
	d.p.script.Rules = append(d.p.script.Rules, r)
	d.p.faults++
}

// passing lets the first tries of an event fail in some way.
func (d *draw) passing(e *planned) {
	most := 3
	if d.lasting {
		most = 2
	}
	for try := 1; try <= d.between(1, most); try++ {
		d.rule(e, try, try, d.fault())
	}
}

func (d *draw) fault() simulator.Rule {
	r := simulator.Rule{Charge: d.chance(50)}
	switch d.weighted(5, 3, 5, 2, 2, 2, 1, 2, 1, 5) {
	case 0:
		r.Action = simulator.ActionDrop
	case 1:
		r.Action = simulator.ActionHang
	case 2:
		r.Action, r.Status = simulator.ActionError, d.pick(500, 502, 503, 504)
	case 3:
		r.Action, r.Charge, r.Abort = simulator.ActionTruncated, false, d.chance(50) // it charges in any case
	case 4:
		r.Action, r.Status = simulator.ActionHTML, d.pick(500, 502, 503)
	case 5:
		r.Action = simulator.ActionBusy
	case 6:
		r.Action = simulator.ActionLocked
	case 7:
		r.Action, r.Charge, r.RetryAfter = simulator.ActionTooManyRequests, false, new(d.between(0, 1)) // it looks at nothing
	case 8:
		r.Action, r.Charge = simulator.ActionSlowBody, false
		r.Delay = simulator.Duration(d.duration(100*time.Millisecond, 2500*time.Millisecond))
	case 9: // slow, and well
		r.Action, r.Charge = simulator.ActionUsual, false
		r.Delay = simulator.Duration(d.duration(200*time.Millisecond, 900*time.Millisecond))
	}
	return r
}

// lastingFault makes an event that only a person, or a search, can decide.
func (d *draw) lastingFault(e *planned) {
	switch e.kind {
	case failsCharged:
		e.verdicts = []string{isUndecided, isCaptured}
		d.rule(e, 1, 0, simulator.Rule{Action: simulator.ActionError, Status: d.pick(500, 503), Charge: true})
	case failsUncharged:
		e.charged, e.verdicts = false, []string{isUndecided}
		d.rule(e, 1, 0, simulator.Rule{Action: simulator.ActionError, Status: d.pick(500, 503)})
	case chargedThenRefused:
		// Where the token was bad at the first try, nothing was charged.
		e.verdicts = []string{isDoubtful, isCaptured, "rejected invalid_payer_token"}
		d.rule(e, 1, 1, simulator.Rule{Action: []simulator.Action{simulator.ActionDrop, simulator.ActionHang}[d.IntN(2)], Charge: true})
		d.rule(e, 2, 0, simulator.Rule{Action: simulator.ActionInvalidPayerToken})
	case keyUsedKind:
		e.charged, e.verdicts = false, []string{isKeyUsed}
		d.rule(e, 1, 0, simulator.Rule{Action: simulator.ActionKeyUsed})
	}
}

// twins are two different events under one id: the first stands, and nobody is
// called for the second.
func (d *draw) twins() []*sent {
	first := d.event(plainKind)
	second := *first
	first.kind, second.kind = twinKind, twinKind
	second.order, second.amount, second.conflicts = first.order+"-twin", "1.23", true
	second.verdicts, second.charged = []string{isConflict}, false
	return append(d.sends(first), d.sends(&second)...)
}

// movable reports whether copies of the event may go to other partitions. Two
// instances may have those at the same moment, and what is decided by what
// happened to a single try may then be decided in two ways.
func (e *planned) movable() bool {
	switch e.kind {
	case plainKind, declinedKind, poorKind, faultyKind, inProcessKind, invalidKind, otherTypeKind, otherAccountKind, currencyKind, futureKind, tombstoneKind:
		return true
	}
	return false
}

// record makes the Kafka record.
func (e *planned) record(topic string, partition int32, at time.Time, binary bool) *kgo.Record {
	// A copy has the time of the first: it is the same record to the ledger.
	r := &kgo.Record{Topic: topic, Partition: partition, Key: []byte(e.order), Timestamp: at.Truncate(time.Millisecond)}
	if e.kind == tombstoneKind {
		return r
	}
	if e.raw != "" {
		r.Value = []byte(e.raw)
		return r
	}
	data := map[string]any{
		"order_id": e.order, "amount": e.amount, "currency": e.currency, "description": "Order " + e.order,
		"payer": map[string]string{"token": e.token},
	}
	if e.account != "" {
		data["account"] = e.account
	}
	attributes := map[string]any{
		"specversion": "1.0", "id": e.id, "source": "/orders", "type": e.typ, "time": at.Add(e.ahead).UTC().Format(time.RFC3339Nano),
	}
	value := attributes
	if binary {
		value = data
		for _, k := range slices.Sorted(maps.Keys(attributes)) {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: "ce_" + k, Value: []byte(attributes[k].(string))})
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "content-type", Value: []byte("application/json")})
	} else {
		attributes["data"] = data
	}
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err) // maps of strings
	}
	r.Value = raw
	return r
}
