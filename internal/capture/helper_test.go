package capture_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/capture"
	"payment-capture/internal/event"
	"payment-capture/internal/limiter"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/money"
	"payment-capture/internal/rules"
	"payment-capture/internal/secret"
)

// call is one call as the API received it.
type call struct {
	at      time.Duration // since the test's API was made
	request mercadopago.Request
	pollID  string // "" for a charge
}

// api answers from a list, whose last answer repeats. It serves one event at a time.
type api struct {
	began   time.Time
	answers []mercadopago.Answer
	takes   time.Duration               // how long a call takes; the end of its ctx ends it earlier
	during  func(context.Context, *api) // called in each call, before its answer; may be nil
	calls   []call
	// found is the result of each search, the last of which repeats; empty: nothing.
	found    []mercadopago.Found
	searches []time.Duration // when they were made
}

func newAPI(answers ...mercadopago.Answer) *api {
	return &api{began: time.Now(), answers: answers}
}

func (a *api) Capture(ctx context.Context, r mercadopago.Request) mercadopago.Answer {
	return a.answer(ctx, r, "")
}

func (a *api) Get(ctx context.Context, r mercadopago.Request, paymentID string) mercadopago.Answer {
	got := a.answer(ctx, r, paymentID)
	got.Read = true
	return got
}

func (a *api) Find(context.Context, mercadopago.Request, time.Time) mercadopago.Found {
	a.searches = append(a.searches, time.Since(a.began))
	if len(a.found) == 0 {
		return mercadopago.Found{Searched: true, Calls: 3}
	}
	return a.found[min(len(a.searches), len(a.found))-1]
}

// lease is a lease that is good until it is given up.
type lease struct {
	giveUp <-chan struct{}
	turn   chan struct{}
	stale  atomic.Bool // not current
	waits  []string
	// What the ledger has of the event, from earlier owners and from this one.
	tried       *event.Attempt
	resent      *event.ParkInfo
	bar         *event.ParkInfo
	under       []event.Known // the reference
	notSeen     []event.Known // written by others, not read until CatchUp
	caughtUp    int
	attempts    []event.Attempt
	withdrawn   int
	refuse      error // returned by Attempt until refuseUntil
	refuseUntil time.Time
}

func (h *lease) PriorAttempt() *event.Attempt { return h.tried }

func (h *lease) Resent() *event.ParkInfo { return h.resent }

func (h *lease) Bar() *event.ParkInfo { return h.bar }

func (h *lease) Attempt(_ context.Context, a event.Attempt) error {
	if time.Now().Before(h.refuseUntil) {
		return h.refuse
	}
	h.attempts = append(h.attempts, a)
	return nil
}

func (h *lease) Withdraw(context.Context) error {
	h.withdrawn++
	return nil
}

func (h *lease) Under(context.Context, event.Charge) ([]event.Known, error) { return h.under, nil }

func (h *lease) CatchUp(context.Context) error {
	h.caughtUp++
	h.under, h.notSeen = append(h.under, h.notSeen...), nil
	return nil
}

// newLease returns the lease of an event with none before it.
func newLease(giveUp <-chan struct{}) *lease {
	h := &lease{giveUp: giveUp, turn: make(chan struct{})}
	close(h.turn)
	return h
}

// newEarlyLease returns the lease of an event whose turn comes after a time.
func newEarlyLease(giveUp <-chan struct{}, wait time.Duration) *lease {
	h := &lease{giveUp: giveUp, turn: make(chan struct{})}
	time.AfterFunc(wait, func() { close(h.turn) })
	return h
}

func (h *lease) Turn() <-chan struct{} { return h.turn }

func (h *lease) GiveUp() <-chan struct{} { return h.giveUp }

func (h *lease) Current() bool { return !h.stale.Load() }

func (h *lease) StepAside() {}

func (h *lease) SetWaiting(waitsFor string, _ int) { h.waits = append(h.waits, waitsFor) }

func (a *api) answer(ctx context.Context, r mercadopago.Request, pollID string) mercadopago.Answer {
	a.calls = append(a.calls, call{at: time.Since(a.began), request: r, pollID: pollID})
	if a.during != nil {
		a.during(ctx, a)
	}
	if a.takes > 0 {
		select {
		case <-time.After(a.takes):
		case <-ctx.Done():
			return noAnswer()
		}
	}
	return a.answers[min(len(a.calls), len(a.answers))-1]
}

// gaps returns the times between the calls.
func (a *api) gaps() []time.Duration {
	var gaps []time.Duration
	for i := 1; i < len(a.calls); i++ {
		gaps = append(gaps, a.calls[i].at-a.calls[i-1].at)
	}
	return gaps
}

// config configures a capturer and its limiter.
type config struct {
	captureConfig
	limiterConfig
}

type (
	captureConfig = capture.Config
	limiterConfig = limiter.Config
)

// capturer is a Capturer and its limiter, which is its own.
type capturer struct {
	*capture.Capturer
	*limiter.Limiter
}

// newCapturer returns one that charges in Mexican pesos, with a generous budget;
// each change is applied to its configuration.
func newCapturer(a capture.API, changes ...func(*config)) *capturer {
	log, reg := slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	conf := config{
		capture.Config{
			Rules: rules.Rules{
				Currency: "MXN", MaxEventAge: 24 * time.Hour, KeyRetention: 8760 * time.Hour, Encoding: mercadopago.EncodingVersion,
			},
			Deadline: 15 * time.Minute, MaxTries: 100,
			ReconcileFor: 3 * time.Minute, Log: log, Metrics: capture.NewMetrics(reg),
		},
		limiter.Config{MaxInFlight: 8, Log: log, Metrics: limiter.NewMetrics(reg)},
	}
	for _, change := range changes {
		change(&conf)
	}
	limit := limiter.New(conf.limiterConfig)
	return &capturer{capture.New(conf.captureConfig, a, limit), limit}
}

// newEvent returns a present event over 700.50 pesos.
func newEvent(t *testing.T) *event.ReadyToCapture {
	t.Helper()
	amount, err := money.Parse("700.50", "MXN")
	if err != nil {
		t.Fatal(err)
	}
	return &event.ReadyToCapture{
		ID: "event-1", Source: "/orders", Time: time.Now(), TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		OrderID: "order-1", Amount: amount, Description: "An order", ExternalReference: "reference-1",
		PayerToken: secret.New("payer-token"), DeviceSessionID: "device-1",
	}
}

// The answers that the tests are made of.

func payment() *mercadopago.Payment {
	return &mercadopago.Payment{
		ID: "payment-1", Status: "approved",
		Transactions: []event.Transaction{{ID: "1", Status: "approved", StatusDetail: "accredited", Amount: "700.50"}},
		CreatedAt:    time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
		UpdatedAt:    time.Date(2026, 11, 23, 10, 0, 1, 0, time.UTC),
	}
}

func captured() mercadopago.Answer {
	return mercadopago.Answer{Meaning: mercadopago.Captured, Cause: mercadopago.CauseApproved, Payment: payment(), HTTPStatus: 201, Sent: true}
}

// declined is a rejection with the rejected payment.
func declined(reason string) mercadopago.Answer {
	p := payment()
	p.Status = "rejected"
	return mercadopago.Answer{
		Meaning: mercadopago.Rejected, Cause: mercadopago.CauseDeclined, Reason: reason, Payment: p, HTTPStatus: 201,
		Sent: true,
	}
}

// refused is an error that means rejected: no payment was made.
func refused(reason string) mercadopago.Answer {
	return mercadopago.Answer{
		Meaning: mercadopago.Rejected, Cause: mercadopago.CausePayer, Reason: reason, HTTPStatus: 400, RequestID: "request-1", Sent: true,
	}
}

// noAnswer is the result of a call whose connection broke after the request was
// sent: the buyer may have been charged.
func noAnswer() mercadopago.Answer {
	return mercadopago.Answer{Meaning: mercadopago.Retry, Cause: mercadopago.CauseNoAnswer, Detail: "the connection broke", Sent: true}
}

// unsent is the result of a call that never reached the API.
func unsent() mercadopago.Answer {
	return mercadopago.Answer{Meaning: mercadopago.Retry, Cause: mercadopago.CauseNotSent, Detail: "connection refused"}
}

func unavailable() mercadopago.Answer {
	return mercadopago.Answer{
		Meaning: mercadopago.Retry, Cause: mercadopago.CauseServerError, Detail: "HTTP 503", HTTPStatus: 503,
		RequestID: "request-1", Sent: true,
	}
}

// wait asks for time and has no effect.
func wait(after time.Duration) mercadopago.Answer {
	return mercadopago.Answer{Meaning: mercadopago.Wait, Cause: mercadopago.CauseRateLimit, HTTPStatus: 429, RetryAfter: after, Sent: true}
}

// busy reports that an earlier call under the key has not completed.
func busy() mercadopago.Answer {
	return mercadopago.Answer{Meaning: mercadopago.Wait, Cause: mercadopago.CauseKeyBusy, Detail: "HTTP 409", HTTPStatus: 409, Sent: true}
}

// busyFor is busy, and asks for time.
func busyFor(after time.Duration) mercadopago.Answer {
	a := busy()
	a.RetryAfter = after
	return a
}

// pending reports that the payment exists and is not final.
func pending() mercadopago.Answer {
	p := payment()
	p.Status = "in_process"
	return mercadopago.Answer{
		Meaning: mercadopago.Poll, Cause: mercadopago.CauseInProcess, ParkReason: event.ParkUndecided, Payment: p,
		HTTPStatus: 201, Sent: true,
	}
}

func halted() mercadopago.Answer {
	return mercadopago.Answer{
		Meaning: mercadopago.Halt, Cause: mercadopago.CauseCredential, Certain: true, ParkReason: event.ParkBlocked,
		Reason: "the access token is refused: renew it", HTTPStatus: 401, RequestID: "request-1", Sent: true,
	}
}

func parked() mercadopago.Answer {
	return mercadopago.Answer{
		Meaning: mercadopago.Park, Cause: mercadopago.CauseKeyUsed, ParkReason: event.ParkKeyUsed, Detail: "the key is used",
		HTTPStatus: 422, RequestID: "request-1", Sent: true,
	}
}
