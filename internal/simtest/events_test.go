//go:build synctests

package simtest

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/simulator"
)

// Planted secrets; none may appear in a log or an outcome.
const (
	accessToken = "APP_USR-planted-access-token"
	payerTokens = "planted-payer" // the beginning of every payer token
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

// The decisions that a plan names: "captured", or "rejected" or "parked" with the
// reason, or none.
const (
	isCaptured  = "captured"
	isUndecided = "parked undecided"
	isKeyUsed   = "parked idempotency_key_used"
	isConflict  = "parked conflicting_event"
	isDoubtful  = "parked error_after_unknown"
	isSkipped   = "nothing"
)

func (g *generator) payers() {
	g.p.script.Payers = []simulator.Payer{
		{Token: payerTokens + "-declined", Decline: "cc_rejected_other_reason"},
		{Token: payerTokens + "-poor", Balance: "0.50"},
		{Token: payerTokens + "-cancelled", State: "cancelled"},
	}
	if g.chance(50) {
		g.p.script.Switches.Replay = "current"
	}
}

func (g *generator) kindOf(kinds ...string) string {
	if g.chance(60) {
		return kinds[0]
	}
	return kinds[g.IntN(len(kinds))]
}

func (g *generator) anyKind() string {
	kinds := []string{
		plainKind, faultyKind, declinedKind, poorKind, cancelledKind, inProcessKind, invalidKind, otherTypeKind, otherAccountKind, currencyKind,
		futureKind, tombstoneKind,
	}
	return kinds[g.weighted(45, 25, 6, 3, 4, 4, 5, 3, 2, 2, 2, 2)]
}

// event generates an event of a kind, with the simulator's rules for it.
func (g *generator) event(kind string) *plannedEvent {
	p := g.p
	n := len(p.events)
	e := &plannedEvent{
		id: fmt.Sprintf("e%d", n), order: fmt.Sprintf("o%d", g.IntN(n*2/3+1)), kind: kind,
		amount: fmt.Sprintf("%d.%02d", g.between(1, 900), g.between(1, 99)), token: fmt.Sprintf("%s-%d", payerTokens, n),
		typ: "order.ready_to_capture", currency: "MXN", allowed: []string{isCaptured}, charged: true,
	}
	g.orderOf(e)
	p.events = append(p.events, e)
	refused := func(allowed ...string) { e.charged, e.allowed = false, allowed }
	switch kind {
	case declinedKind:
		refused("rejected cc_rejected_other_reason")
		e.token = payerTokens + "-declined"
	case poorKind:
		refused("rejected insufficient_money")
		e.token = payerTokens + "-poor"
	case cancelledKind:
		// After an unanswered call the agreement may have been cancelled since.
		refused("rejected invalid_payer_token", isDoubtful)
		e.token = payerTokens + "-cancelled"
	case faultyKind:
		g.passing(e)
	case inProcessKind:
		rule := simulator.Rule{Action: simulator.ActionInProcess, Then: &simulator.Then{Status: "approved", AfterGets: g.between(1, 3)}}
		if g.chance(30) {
			rule.Then.Status, rule.Then.StatusDetail = "rejected", "cc_rejected_high_risk"
			refused("rejected cc_rejected_high_risk")
		}
		g.rule(e, 1, 0, rule)
	case invalidKind:
		refused("parked invalid_event")
		g.spoil(e)
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
		// An operator who resends it accepts its time.
		e.allowed = []string{"parked time_in_future", isCaptured}
		e.ahead, e.unordered = farAhead, true
	default:
		g.lastingFault(e)
	}
	return e
}

// orderOf puts the events that one producer sends of an order into one partition.
func (g *generator) orderOf(e *plannedEvent) {
	e.crc32 = g.p.twoPartitioners && g.chance(40)
	e.home = partitionOf(e.order, e.crc32, g.p.partitions)
}

// partitionOf returns the partition of an order's key: by murmur2 as Java's clients
// choose it, or by CRC32 as librdkafka does.
func partitionOf(order string, useCRC32 bool, partitions int32) int32 {
	if useCRC32 {
		return int32(crc32.ChecksumIEEE([]byte(order)) % uint32(partitions))
	}
	murmur2 := kgo.StickyKeyPartitioner(nil).ForTopic(topicInput)
	return int32(murmur2.Partition(&kgo.Record{Key: []byte(order)}, int(partitions)))
}

// spoil makes an event invalid.
func (g *generator) spoil(e *plannedEvent) {
	switch g.IntN(5) {
	case 0:
		e.raw = "not JSON, " + e.id
	case 1:
		e.amount = "-" + e.amount
	case 2:
		e.amount += "5" // more decimals than the currency has
	case 3:
		e.raw = "\x00\x00\x00\x00\x07" + e.id // the wire format of a schema registry
	case 4:
		e.typ = `"` + e.typ + `"` // the quotes make it another type, although it looks like an order
	}
}

func (g *generator) rule(e *plannedEvent, from, to int, r simulator.Rule) {
	r.Match = simulator.Match{Key: e.id, FromTry: from, ToTry: to}
	g.p.script.Rules = append(g.p.script.Rules, r)
	g.p.apiFaults++
}

// passing makes the first calls for an event fail in some way.
func (g *generator) passing(e *plannedEvent) {
	most := 3
	if g.lasting {
		most = 2
	}
	for try := 1; try <= g.between(1, most); try++ {
		g.rule(e, try, try, g.fault())
	}
}

func (g *generator) fault() simulator.Rule {
	r := simulator.Rule{Charge: g.chance(50)}
	switch g.weighted(5, 3, 5, 2, 2, 2, 1, 2, 1, 5) {
	case 0:
		r.Action = simulator.ActionDrop
	case 1:
		r.Action = simulator.ActionHang
	case 2:
		r.Action, r.Status = simulator.ActionError, g.pick(500, 502, 503, 504)
	case 3:
		r.Action, r.Charge, r.Abort = simulator.ActionTruncated, false, g.chance(50) // it always charges
	case 4:
		r.Action, r.Status = simulator.ActionHTML, g.pick(500, 502, 503)
	case 5:
		r.Action = simulator.ActionBusy
	case 6:
		r.Action = simulator.ActionLocked
	case 7:
		r.Action, r.Charge, r.RetryAfter = simulator.ActionTooManyRequests, false, new(g.between(0, 1)) // the API has not read the request
	case 8:
		r.Action, r.Charge = simulator.ActionSlowBody, false
		r.Delay = simulator.Duration(g.duration(100*time.Millisecond, 2500*time.Millisecond))
	case 9: // slow, without a fault
		r.Action, r.Charge = simulator.ActionUsual, false
		r.Delay = simulator.Duration(g.duration(200*time.Millisecond, 900*time.Millisecond))
	}
	return r
}

// lastingFault makes an event that only an operator or a lookup can decide.
func (g *generator) lastingFault(e *plannedEvent) {
	switch e.kind {
	case failsCharged:
		e.allowed = []string{isUndecided, isCaptured}
		g.rule(e, 1, 0, simulator.Rule{Action: simulator.ActionError, Status: g.pick(500, 503), Charge: true})
	case failsUncharged:
		e.charged, e.allowed = false, []string{isUndecided}
		g.rule(e, 1, 0, simulator.Rule{Action: simulator.ActionError, Status: g.pick(500, 503)})
	case chargedThenRefused:
		// Nothing was charged if the API refused the token at the first call.
		e.allowed = []string{isDoubtful, isCaptured, "rejected invalid_payer_token"}
		g.rule(e, 1, 1, simulator.Rule{Action: []simulator.Action{simulator.ActionDrop, simulator.ActionHang}[g.IntN(2)], Charge: true})
		g.rule(e, 2, 0, simulator.Rule{Action: simulator.ActionInvalidPayerToken})
	case keyUsedKind:
		e.charged, e.allowed = false, []string{isKeyUsed}
		g.rule(e, 1, 0, simulator.Rule{Action: simulator.ActionKeyUsed})
	}
}

// twins generates two different events with one id: the first one is valid, and the
// second is parked without a call. The first one must not be parked for another event of
// its order, because it could be corrected then.
func (g *generator) twins() []*sentRecord {
	first := g.event(plainKind)
	first.order += "-pair"
	second := *first
	first.kind, second.kind = twinKind, twinKind
	second.order, second.amount, second.conflicts = first.order+"-twin", "1.23", true
	second.allowed, second.charged = []string{isConflict}, false
	return append(g.sends(first), g.sends(&second)...)
}

// duplicates generates two events for the same payment, as a publisher does that makes
// an id per delivery.
func (g *generator) duplicates() []*sentRecord {
	first, second := g.event(plainKind), g.event(plainKind)
	second.order, second.amount, second.token = first.order, first.amount, first.token
	second.home = partitionOf(second.order, second.crc32, g.p.partitions)
	return append(g.sends(first), g.sends(second)...)
}

// samePayment reports whether two events are for the same payment.
func (e *plannedEvent) samePayment(other *plannedEvent) bool {
	return e.order == other.order && e.amount == other.amount && e.token == other.token
}

// movable reports whether copies of the event may be in other partitions. Of two events
// with one id the first would no longer be known: a correction that is read before what it
// corrects is an event like any other.
func (e *plannedEvent) movable() bool { return e.kind != twinKind && e.kind != correctedKind }

// record returns the Kafka record of the event.
func (e *plannedEvent) record(topic string, partition int32, at time.Time, binary bool) *kgo.Record {
	// A copy has the timestamp of the first record: the ledger takes both for the same record.
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
