package capture_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/show"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/money"
	"payment-capture/internal/replay"
	"payment-capture/internal/rules"
	"payment-capture/internal/secret"
)

// TestOneRuleBook generates records with their histories, and asserts that what the
// service does with each is what replay plans and what ledger get reports.
func TestOneRuleBook(t *testing.T) {
	const cases = 3000
	seen, duplicates := make(map[rules.Action]int), make(map[event.ParkReason]int)
	shown := 0
	for seed := range uint64(cases) {
		synctest.Test(t, func(t *testing.T) {
			g := &generator{Rand: rand.New(rand.NewPCG(1, seed)), t: t}
			book, c, now := g.rules(), g.recordCase(), time.Now()
			want := g.serve(book, c)
			seen[want.Action]++
			duplicates[reason(want)]++
			if got := book.Decide(c, now); got.Action != want.Action || reason(got) != reason(want) {
				t.Errorf("case %d: the rules say %s %q, the service does %s %q: %+v", seed, got.Action, reason(got), want.Action, reason(want), c)
			}
			if got := (replay.Rules{Rules: book}).Classify(c, now); got.Calls() != want.Action.Calls() || classAction(got) != want.Action {
				t.Errorf("case %d: replay plans %s, the service does %s: %+v", seed, string(got), want.Action, c)
			}
			if !g.asRecorded(c) {
				return
			}
			shown++
			got := show.Of(c.Event.ID, c.History, c.Known, show.Rules{Rules: book}, now).Next
			if got.Action != want.Action || got.Reason != reason(want) {
				t.Errorf("case %d: ledger get reports %s %q, the service does %s %q: %+v", seed, got.Action, got.Reason, want.Action, reason(want), c)
			}
		})
	}
	for _, a := range []rules.Action{
		rules.Republish, rules.LeaveParked, rules.LeaveSuperseded, rules.Park, rules.LookUpThenPark, rules.LookUpThenCharge, rules.Charge,
		rules.Wait,
	} {
		if seen[a] < cases/200 {
			t.Errorf("only %d of the cases end as %s", seen[a], a)
		}
	}
	for _, r := range []event.ParkReason{event.ParkPossibleDuplicate, event.ParkReferenceCaptured} {
		if duplicates[r] < cases/100 {
			t.Errorf("only %d of the cases are parked as %s", duplicates[r], r)
		}
	}
	if shown < cases/10 {
		t.Errorf("only %d of the cases were compared with ledger get", shown)
	}
}

func reason(d rules.Disposition) event.ParkReason {
	if d.Why == nil {
		return ""
	}
	return d.Why.Reason
}

// classAction returns the action that a class of a replay's plan stands for.
func classAction(c replay.Class) rules.Action {
	switch c {
	case replay.AnsweredCaptured, replay.AnsweredRejected:
		return rules.Republish
	case replay.StaysParked:
		return rules.LeaveParked
	case replay.Corrected:
		return rules.LeaveSuperseded
	case replay.First, replay.Again:
		return rules.Charge
	case replay.Waits:
		return rules.Wait
	case replay.LookUpFirst:
		return rules.LookUpThenCharge
	case replay.LookUpThenPark:
		return rules.LookUpThenPark
	}
	return rules.Park
}

// generator makes random cases.
type generator struct {
	*rand.Rand
	t *testing.T
}

func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

func (g *generator) rules() rules.Rules {
	return rules.Rules{
		Currency: "MXN", MaxEventAge: pick(g, 0, 24*time.Hour), MaxEventLead: pick(g, 0, time.Hour), KeyRetention: 24 * time.Hour,
		Guard: pick(g, rules.GuardEvent, rules.GuardPayment, rules.GuardReference), DuplicateWindow: 168 * time.Hour,
		Account: "main", Encoding: mercadopago.EncodingVersion,
	}
}

func (g *generator) recordCase() rules.Case {
	e := newEvent(g.t)
	e.Time = time.Now().Add(pick(g, 0, -time.Minute, -time.Hour, -25*time.Hour, 4*time.Minute, 30*time.Minute, 2*time.Hour))
	if g.IntN(8) == 0 {
		var err error
		if e.Amount, err = money.Parse("700.50", "BRL"); err != nil {
			g.t.Fatal(err)
		}
	}
	c := rules.Case{Event: e, Body: bodyOf(g.t, e)}
	other := *e
	other.OrderID, other.Description = "another-order", "Another order"
	of := pick(g, e, e, e, &other)
	switch g.IntN(8) {
	case 0, 1:
	case 2, 3:
		c.History.Attempt = g.attempt(of)
	case 4:
		c.History.Decision = g.decision(of, event.Result{Outcome: &event.Outcome{
			Type: pick(g, event.TypeCaptured, event.TypeRejected), EventID: e.ID, OrderID: of.OrderID, Amount: of.Amount,
			ExternalReference: of.ExternalReference,
		}}, true)
	case 5:
		c.History.Decision = g.decision(of, event.Result{ParkInfo: &event.ParkInfo{
			Reason: pick(g, event.ParkUndecided, event.ParkPossibleDuplicate),
		}}, true)
	default:
		c.History.Decision = g.decision(of, event.Result{ParkInfo: &event.ParkInfo{
			Reason: pick(g, event.ParkTooOld, event.ParkPossibleDuplicate),
		}}, false)
		if g.IntN(3) == 0 {
			c.History.Attempt = g.attempt(pick(g, e, &other))
		}
	}
	if d := c.History.Decision; d != nil && g.IntN(2) == 0 {
		c.Resend = &event.Resend{
			ParkedAt:     pick(g, d.At, d.At.Add(-time.Hour)),
			FirstAttempt: pick(g, time.Time{}, time.Now().Add(-30*time.Minute)),
		}
	}
	if g.IntN(2) == 0 {
		c.Known = []event.Known{g.another(e)}
	}
	if g.IntN(3) == 0 {
		c.Record = g.decision(e, event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkConflicting}}, false)
	}
	return c
}

// another returns another event of the reference that is decided, for the same payment or
// another one.
func (g *generator) another(e *event.ReadyToCapture) event.Known {
	other := *e
	other.ID = "other-event"
	switch g.IntN(6) {
	case 0:
		other.PayerToken = secret.New("another-token")
	case 1:
		var err error
		if other.Amount, err = money.Parse("1.00", "MXN"); err != nil {
			g.t.Fatal(err)
		}
	}
	return event.Known{EventID: other.ID, History: event.History{Decision: g.decision(&other, event.Result{Outcome: &event.Outcome{
		Type: pick(g, event.TypeCaptured, event.TypeCaptured, event.TypeRejected), EventID: other.ID, ExternalReference: e.ExternalReference,
		Amount: other.Amount, CapturedAt: time.Now().Add(-pick(g, time.Hour, 200*time.Hour)),
	}}, true)}}
}

// attempt returns an attempt on an event, some of them not as this service would
// make it.
func (g *generator) attempt(e *event.ReadyToCapture) *event.Attempt {
	a := event.AttemptOf(e)
	a.First = time.Now().Add(-pick(g, 0, time.Minute, 61*time.Minute, 25*time.Hour, -4*time.Minute, -10*time.Minute)).Round(0)
	a.Body, a.Account, a.Encoding = bodyOf(g.t, e), "main", mercadopago.EncodingVersion
	switch g.IntN(12) {
	case 0:
		a.Body = event.FingerprintOf([]byte("another body"))
	case 1:
		a.Account = "another account"
	case 2:
		a.Encoding++
	case 3:
		a.Body = event.Fingerprint{}
	}
	return &a
}

func (g *generator) decision(e *event.ReadyToCapture, r event.Result, called bool) *event.Decision {
	d := &event.Decision{Result: r, At: time.Now().Add(-time.Minute).Round(0), Attempt: event.AttemptOf(e)}
	if called {
		d.Attempt = *g.attempt(e)
	} else {
		d.Content = e.Content()
	}
	if g.IntN(6) == 0 {
		d.Superseded = []event.Fingerprint{newEvent(g.t).Content(), event.FingerprintOf([]byte("x"))}
		if g.IntN(2) == 0 {
			d.Superseded = append(d.Superseded, e.Content())
			if !called {
				d.Content = event.FingerprintOf([]byte("corrected"))
			}
		}
	}
	return d
}

func bodyOf(t *testing.T, e *event.ReadyToCapture) event.Fingerprint {
	t.Helper()
	r, err := mercadopago.NewRequest(e)
	if err != nil {
		t.Fatal(err)
	}
	return event.FingerprintOf(r.Body)
}

// asRecorded reports whether the case is what ledger get assumes: the event comes
// again as the ledger has it.
func (g *generator) asRecorded(c rules.Case) bool {
	a, d := c.History.Attempt, c.History.Decision
	if c.Resend != nil || (a == nil && d == nil) || (a != nil && d != nil) {
		return false
	}
	if d != nil {
		return d.Attempt.Event == c.Event.Fingerprint() && (d.Content.IsZero() || d.Content == c.Event.Content()) &&
			!slices.Contains(d.Superseded, c.Event.Content())
	}
	return a.Event == c.Event.Fingerprint() && (a.Body.IsZero() || a.Body == c.Body)
}

// serve returns what the service does with a record: it applies the history as the
// pipeline does, has a Capturer work the event, and watches the API.
func (g *generator) serve(book rules.Rules, c rules.Case) rules.Disposition {
	g.t.Helper()
	d := rules.Respond(c.Event, c.Resend, c.History)
	switch {
	case d.Action == rules.Park:
		return rules.ParkOnce(d.Why, c.Resend, c.Record)
	case d.Action != rules.Evaluate:
		return d
	}
	waits := d.Prior == nil && !book.Evaluate(rules.Case{Event: c.Event}, d, time.Now()).Until.IsZero()
	if waits {
		time.Sleep(time.Until(c.Event.Time)) // as the pipeline does
	}
	a, h := newAPI(captured()), newLease(nil)
	h.tried, h.resent, h.under = d.Prior, d.Resent, c.Known
	decided, err := newCapturer(a, func(conf *config) { conf.Rules, conf.ReconcileFor = book, 0 }).Capture(g.t.Context(), c.Event, h)
	if err != nil {
		g.t.Fatal(err)
	}
	d.Why = decided.ParkInfo
	switch looked, called := len(a.searches) > 0, len(a.calls) > 0; {
	case looked && called:
		d.Action = rules.LookUpThenCharge
	case looked:
		d.Action = rules.LookUpThenPark
	case called && waits:
		d.Action = rules.Wait
	case called:
		d.Action = rules.Charge
	default:
		d.Action = rules.Park
	}
	return d
}
