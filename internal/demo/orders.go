package demo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/simulator"
)

// expectation is the decision that an event of the demo must get.
type expectation struct {
	kind   string // captured, rejected or parked
	reason string // of a rejected or parked event
}

// metBy reports whether a decision is correct. If a call timed out, for example on a
// slow machine, and the API refuses the payer afterwards, that call may have charged:
// the event is then parked.
func (e expectation) metBy(v seen) bool {
	return v.kind == e.kind && v.reason == e.reason ||
		e.reason == "invalid_payer_token" && v.kind == "parked" && v.reason == "error_after_unknown"
}

// generated is a stream of orders.
type generated struct {
	records []*kgo.Record
	expect  map[string]expectation // by event id
	other   int                    // records of other types, which the service skips
}

// Payers, by the simulator's decision on them; see script.
const (
	payerGood      = "payer-with-money"
	payerPoor      = "payer-without-money"
	payerDeclined  = "payer-declined"
	payerFraud     = "payer-high-risk"
	payerCancelled = "payer-cancelled-agreement"
)

// script makes the simulated API decline some payers and fail, with and without a
// charge.
func script() simulator.Script {
	chance := func(p float64) *float64 { return &p }
	return simulator.Script{
		Payers: []simulator.Payer{
			{Token: payerPoor, Balance: "1.00"},
			{Token: payerDeclined, Decline: "cc_rejected_call_for_authorize"},
			{Token: payerFraud, Decline: "cc_rejected_high_risk"},
			{Token: payerCancelled, State: "cancelled"},
		},
		Rules: []simulator.Rule{
			{
				Name: "charged, then the connection broke", Match: simulator.Match{PayerToken: payerGood, ToTry: 1, Probability: chance(.01)},
				Action: simulator.ActionDrop, Charge: true,
			},
			{
				Name: "charged, then 500", Match: simulator.Match{PayerToken: payerGood, ToTry: 2, Probability: chance(.01)},
				Action: simulator.ActionError, Status: 500, Charge: true,
			},
			{
				Name: "charged, then cut off", Match: simulator.Match{PayerToken: payerGood, ToTry: 1, Probability: chance(.005)},
				Action: simulator.ActionTruncated,
			},
			{
				Name: "broke before charging", Match: simulator.Match{PayerToken: payerGood, ToTry: 2, Probability: chance(.01)},
				Action: simulator.ActionDrop,
			},
			{
				Name: "unavailable", Match: simulator.Match{PayerToken: payerGood, ToTry: 3, Probability: chance(.02)}, Action: simulator.ActionError,
				Status: 503,
			},
			{
				Name: "too many requests", Match: simulator.Match{PayerToken: payerGood, ToTry: 1, Probability: chance(.01)},
				Action: simulator.ActionTooManyRequests, Plain: true,
			},
			{
				Name: "slow", Match: simulator.Match{Probability: chance(.005)}, Action: simulator.ActionUsual,
				Delay: simulator.Duration(800 * time.Millisecond),
			},
		},
	}
}

// generate returns a stream of orders, the same for the same seed.
func generate(topic string, events int, seed uint64) (*generated, error) {
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // G404: a demo's orders
	g := &generated{expect: make(map[string]expectation)}
	for i := range events {
		id, err := uuid.NewRandomFromReader(randomReader{random})
		if err != nil {
			return nil, err
		}
		value, want := event(random, id.String(), fmt.Sprintf("order-%d", i+1))
		raw, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		g.expect[id.String()] = want
		g.records = append(g.records, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "order-%d", i+1), Value: raw})
		if random.Float64() < .02 {
			g.other++
			other := fmt.Appendf(nil, `{"specversion":"1.0","id":"o%d","source":"/orders","type":"order.shipped","data":{}}`, i)
			g.records = append(g.records, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "order-%d", i+1), Value: other})
		}
	}
	return g, nil
}

// event returns an event and the decision that it must get.
func event(random *rand.Rand, id, order string) (map[string]any, expectation) {
	payer, want := payerGood, expectation{kind: "captured"}
	amount := fmt.Sprintf("%d.%02d", 5+random.IntN(900), random.IntN(100))
	switch p := random.Float64(); {
	case p < .04:
		payer, want = payerPoor, expectation{"rejected", "insufficient_money"}
	case p < .07:
		payer, want = payerDeclined, expectation{"rejected", "cc_rejected_call_for_authorize"}
	case p < .08:
		payer, want = payerFraud, expectation{"rejected", "cc_rejected_high_risk"}
	case p < .09:
		payer, want = payerCancelled, expectation{"rejected", "invalid_payer_token"}
	case p < .095:
		amount, want = "12.345", expectation{"parked", "invalid_event"}
	case p < .1:
		amount, want = "-1", expectation{"parked", "invalid_event"}
	}
	return map[string]any{
		"specversion": "1.0", "id": id, "source": "/demo", "type": "order.ready_to_capture",
		"time": time.Now().UTC().Format(time.RFC3339Nano),
		"data": map[string]any{
			"order_id": order, "amount": amount, "currency": currency, "description": "Demo " + order,
			"payer": map[string]any{"token": payer},
		},
	}, want
}

// randomReader reads from a seeded source.
type randomReader struct{ random *rand.Rand }

func (r randomReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.random.UintN(256)) //nolint:gosec // G115: below 256
	}
	return len(p), nil
}
