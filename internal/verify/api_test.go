package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/secret"
	"payment-capture/internal/simulator"
	"payment-capture/internal/verify"
)

const accessToken = "APP_USR-planted-token"

// apiWorld is a world with the simulated API behind it.
type apiWorld struct {
	*world
	url    string
	client *mercadopago.Client
}

func newAPIWorld(t *testing.T, script simulator.Script) *apiWorld {
	t.Helper()
	sim, err := simulator.New(simulator.Config{AccessToken: accessToken, Script: script})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	w := &apiWorld{world: newWorld(t), url: server.URL}
	w.client, err = mercadopago.New(mercadopago.Config{URL: server.URL, Timeout: 10 * time.Second, MaxConnections: 8},
		func() secret.Text { return secret.New(accessToken) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	w.conf.API = &verify.APIConfig{API: w.client, Rate: 1000}
	return w
}

// charge makes a payment at the API for an event, and returns its id.
func (w *apiWorld) charge(e *event.ReadyToCapture) string {
	w.t.Helper()
	r, err := mercadopago.NewRequest(e)
	if err != nil {
		w.t.Fatal(err)
	}
	a := w.client.Capture(w.t.Context(), r)
	if a.Payment == nil {
		w.t.Fatalf("no payment: %+v", a)
	}
	return a.Payment.ID
}

// capture sends an event, charges what pay says, and publishes the outcome of
// its type.
func (w *apiWorld) capture(o order, eventType string, pay func(*event.ReadyToCapture)) string {
	w.t.Helper()
	s := w.send(o)
	paid := *s.event
	pay(&paid)
	payment := w.charge(&paid)
	w.claim(s, eventType, payment)
	return payment
}

// claim publishes an outcome with a payment, and decides by it.
func (w *apiWorld) claim(s sent, eventType, payment string) {
	w.t.Helper()
	o := outcomeOf(s.event, eventType)
	o.PaymentID = payment
	w.publish(o)
	w.decideAs(s.event, o)
}

func asItIs(*event.ReadyToCapture) {}

func TestPaymentsAreComparedWithTheAPI(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t, simulator.Script{Payers: []simulator.Payer{{Token: "declined", Decline: "cc_rejected_high_risk"}}})
	w.capture(order{id: "right"}, event.TypeCaptured, asItIs)
	w.capture(order{id: "right-rejected", payer: "declined"}, event.TypeRejected, asItIs)
	w.capture(order{id: "amount"}, event.TypeCaptured, func(e *event.ReadyToCapture) { e.Amount = mustParse(t, "1.00", "MXN") })
	w.capture(order{id: "reference"}, event.TypeCaptured, func(e *event.ReadyToCapture) { e.ExternalReference = "another" })
	w.capture(order{id: "declined", payer: "declined"}, event.TypeCaptured, asItIs)
	w.capture(order{id: "taken"}, event.TypeRejected, asItIs)
	refunded := w.capture(order{id: "refunded"}, event.TypeCaptured, asItIs)
	w.refund(refunded)
	w.claim(w.send(order{id: "unknown"}), event.TypeCaptured, "99999999")
	w.commit()
	found, sum := w.expect(
		want{verify.APIDiffers, "amount"}, want{verify.APIDiffers, "declined"}, want{verify.APIDiffers, "reference"},
		want{verify.APIRefunded, "refunded"}, want{verify.APIDiffers, "taken"}, want{verify.APIMissing, "unknown"},
	)
	for i, want := range []string{"1.00", "did not capture", "another", "refunded since", "the API captured", "no such payment"} {
		if !strings.Contains(strings.Replace(found[i].Detail, "1,", "1.00", 1), want) {
			t.Errorf("the detail of %s is %q, which does not say %q", found[i].EventID, found[i].Detail, want)
		}
		if strings.Contains(found[i].Detail, "planted") {
			t.Errorf("it shows a secret: %s", found[i].Detail)
		}
	}
	if sum.Differences() != 5 || sum.Warnings() != 1 {
		t.Errorf("%d differences, %d warnings", sum.Differences(), sum.Warnings())
	}
}

func (w *apiWorld) refund(payment string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.url+"/v1/advanced_payments/"+payment+"/refunds",
		bytes.NewReader([]byte("{}")))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+accessToken)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Idempotency-Key", "refund-"+payment)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode > 299 {
		w.t.Fatalf("refund: %s", resp.Status)
	}
}

// An API that does not answer is not asked for every payment there is.
func TestAnAPIThatDoesNotAnswerIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t, simulator.Script{})
	for i := range 100 {
		w.claim(w.send(order{id: fmt.Sprintf("e%d", i)}), event.TypeCaptured, fmt.Sprint(1000+i))
	}
	w.commit()
	silent := &silentAPI{}
	w.conf.API.API, w.conf.API.Pause = silent, time.Microsecond
	_, _, err := w.try()
	if !errors.Is(err, verify.ErrNotAsked) || !strings.Contains(err.Error(), "MERCADOPAGO_URL") {
		t.Errorf("got %v", err)
	}
	if n := silent.asked.Load(); n < 16*6 || n > 24*6 {
		t.Errorf("it was asked %d times for 100 payments", n)
	}
}

// One that answers, if not to every question, is asked for all.
func TestAnAPIWithoutASearchIsAskedForTheRest(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t, simulator.Script{})
	p := event.ParkInfo{Reason: event.ParkUndecided, Detail: "d", FirstAttempt: time.Now().Add(-time.Minute)}
	for i := range 40 {
		s := w.send(order{id: fmt.Sprintf("a%d", i), at: time.Now()})
		w.park(s.record, p)
		w.decideParked(s.event.ID, p, time.Now())
	}
	w.claim(w.send(order{id: "z"}), event.TypeCaptured, "99999999")
	w.commit()
	w.conf.API.API, w.conf.API.Search = noSearch{w.client}, true
	found, _, err := w.try()
	if !errors.Is(err, verify.ErrNotAsked) || !strings.Contains(err.Error(), "40 of 41") {
		t.Errorf("got %v", err)
	}
	if len(found) != 1 || found[0].Kind != verify.APIMissing {
		t.Errorf("found %+v", found)
	}
}

// noSearch is an API that cannot search.
type noSearch struct{ verify.API }

func (noSearch) Find(context.Context, mercadopago.Request, time.Time) mercadopago.Found {
	return mercadopago.Found{}
}

// silentAPI never answers.
type silentAPI struct {
	verify.API

	asked atomic.Int64
}

func (s *silentAPI) Get(context.Context, mercadopago.Request, string) mercadopago.Answer {
	s.asked.Add(1)
	return mercadopago.Answer{Meaning: mercadopago.Retry, Detail: "no answer"}
}

// A payment that was taken for an event that is parked is found by a search, but
// for one that another event of its reference has.
func TestPaymentsOfParkedEventsAreSearchedFor(t *testing.T) {
	t.Parallel()
	w := newAPIWorld(t, simulator.Script{})
	w.conf.API.Search = true
	p := event.ParkInfo{Reason: event.ParkUndecided, Detail: "d", FirstAttempt: time.Now().Add(-time.Minute)}
	paid := w.send(order{id: "paid", at: time.Now()})
	payment := w.charge(paid.event)
	first := w.send(order{id: "first", reference: "shared", at: time.Now()})
	w.claim(first, event.TypeCaptured, w.charge(first.event))
	second := w.send(order{id: "second", reference: "shared", at: time.Now()})
	unpaid := w.send(order{id: "unpaid", at: time.Now()})
	for _, s := range []sent{paid, second, unpaid} {
		w.park(s.record, p)
		w.decideParked(s.event.ID, p, time.Now())
	}
	w.commit()
	found, _ := w.expect(want{verify.APIPaid, "paid"})
	if found[0].PaymentID != payment {
		t.Errorf("payment %s, want %s", found[0].PaymentID, payment)
	}
	w.conf.API.Search = false
	w.expect()
}
