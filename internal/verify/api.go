package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/scratch"
)

// API reads payments; [mercadopago.Client] does.
type API interface {
	Get(ctx context.Context, r mercadopago.Request, paymentID string) mercadopago.Answer
	Find(ctx context.Context, r mercadopago.Request, since time.Time) mercadopago.Found
}

// APIConfig configures the reading of payments. Nothing is written to the API.
type APIConfig struct {
	API    API
	Rate   float64 // calls a second; over zero
	Search bool    // also look for payments of events that are parked or have no decision
	// Pause is the wait before a second try; before each further one it is twice
	// as long. 0: two seconds.
	Pause time.Duration
}

// pause returns the wait after a try.
func (c *APIConfig) pause(try int) time.Duration {
	return cmp.Or(c.Pause, 2*time.Second) << (try - 1)
}

const (
	// apiWorkers bounds the calls at once; the rate bounds them before that,
	// where the API answers in its usual time.
	apiWorkers = 8
	apiTries   = 6
	// apiSilent is how many payments in a row, each tried so often and never
	// answered usefully, end the run: twice the number of workers.
	apiSilent = 2 * apiWorkers
	// searchSkew is how much earlier than by our clocks the API's may date a
	// payment.
	searchSkew = 5 * time.Second
)

// wanted is a payment to read, or to search for.
type wanted struct {
	State     state
	Payment   string // "": search
	Since     int64
	Amount    storedAmount
	Order     string
	Reference string

	event   Finding             // with what findings say of the event
	request mercadopago.Request // what the answer is compared with; it is never sent
}

// ask stores which payments of the event are to be read.
func (e *eventCheck) ask(st state) {
	if e.conf.API == nil || e.main.has(flagInvalid) {
		return
	}
	seen := make(map[string]bool)
	for _, o := range e.outcomes {
		if o.Payment != "" && !seen[o.Payment] {
			seen[o.Payment] = true
			of := stateRejected
			if o.has(flagCaptured) {
				of = stateCaptured
			}
			e.want(of, o.Payment, e.firstAttempt())
		}
	}
	if since := e.firstAttempt(); len(e.outcomes) == 0 && e.conf.API.Search && since > 0 && st != statePending {
		e.want(st, "", since)
	}
}

func (e *eventCheck) want(st state, payment string, since int64) {
	w := wanted{State: st, Payment: payment, Since: since, Amount: e.main.Amount, Order: e.main.Order, Reference: e.main.Reference}
	key := append([]byte{spaceAsk}, e.id...)
	e.batch.Set(append(append(key, 0), payment...), w)
}

// firstAttempt returns the earliest time at which the event can have been called
// for.
func (e *eventCheck) firstAttempt() int64 {
	first := e.main.At
	known := []int64{}
	if e.decision != nil {
		known = append(known, e.decision.First)
	}
	if a := e.attempt(); a != nil {
		known = append(known, a.First)
	}
	for _, p := range e.parked {
		known = append(known, p.First)
	}
	for _, at := range known {
		if at > 0 && at < first {
			first = at
		}
	}
	return first
}

// asking reads payments with several workers.
type asking struct {
	*verifier
	limit *rate.Limiter
	total int64

	mu     sync.Mutex
	done   int64
	silent int // in a row
	shown  time.Time
	failed error
}

// askAll reads every wanted payment. The error is [ErrNotAsked] if some could not
// be read.
func (v *verifier) askAll(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := &asking{verifier: v, limit: rate.NewLimiter(rate.Limit(v.conf.API.Rate), 1)}
	if err := v.each(spaceAsk, func([]byte, scratch.Value) error { a.total++; return nil }); err != nil {
		return err
	}
	work := make(chan wanted)
	var workers sync.WaitGroup
	for range apiWorkers {
		workers.Go(func() {
			for w := range work {
				if err := a.ask(ctx, w); err != nil {
					cancel(err)
				}
			}
		})
	}
	err := v.each(spaceAsk, func(key []byte, value scratch.Value) error {
		w, err := decode[wanted](value)
		if err != nil {
			return err
		}
		w.identify(key)
		select {
		case work <- w:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	close(work)
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil { // which is what ended the reading of the store
		err = cause
	}
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrNotAsked, err)
	case v.sum.unread > 0:
		return fmt.Errorf("%w: %d of %d; the first: %w", ErrNotAsked, v.sum.unread, a.total, a.failed)
	}
	return nil
}

// identify restores what follows from the key.
func (w *wanted) identify(key []byte) {
	w.event.OrderID, w.event.Reference = w.Order, w.Reference
	w.event.Amount, w.event.Currency = amounts(w.Amount)
	w.event.EventID = string(key[:len(key)-len(w.Payment)-1])
	w.event.PaymentID = w.Payment
	w.request = mercadopago.Request{Key: w.event.EventID, Amount: w.Amount.amount(), ExternalReference: w.Reference}
}

// ask reads or searches one payment.
func (a *asking) ask(ctx context.Context, w wanted) error {
	b := a.newBatch()
	var err error
	if w.Payment != "" {
		err = a.read(ctx, b, w)
	} else {
		err = a.search(ctx, b, w)
	}
	if e := b.Commit(); e != nil {
		return e
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done++
	switch {
	case errors.Is(err, errUnread):
		a.sum.unread++
		if a.failed == nil {
			a.failed = err
		}
		if !errors.Is(err, errSilent) {
			a.silent = 0
		} else if a.silent++; a.silent >= apiSilent {
			return fmt.Errorf("%d in a row, of %d: check whether the API (MERCADOPAGO_URL) can be reached: %w", a.silent, a.total, err)
		}
		err = nil
	case err == nil:
		a.silent = 0
		a.sum.readPayments++
	}
	if now := time.Now(); now.Sub(a.shown) > progressEvery || a.done == a.total {
		a.shown = now
		a.conf.Progress(phaseAPI, a.done, a.total)
	}
	return err
}

var (
	errUnread = errors.New("could not be read")
	errSilent = fmt.Errorf("%w after %d tries", errUnread, apiTries) // but might be later
	errHalt   = errors.New("the API refuses this service")
)

// read reads a payment and compares it with the outcome.
func (a *asking) read(ctx context.Context, b batch, w wanted) error {
	for try := 1; ; try++ {
		if err := a.limit.Wait(ctx); err != nil {
			return err
		}
		answer := a.conf.API.API.Get(ctx, w.request, w.Payment)
		if answer.Meaning == mercadopago.Park && answer.Payment != nil && answer.Payment.Status == "" {
			// The guide's own sample of a read has no status; a search shows it.
			answer = a.find(ctx, w, answer)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		done, err := a.compare(b, w, answer)
		switch {
		case err != nil:
			return err
		case done:
			return nil
		case try == apiTries:
			return fmt.Errorf("payment %s of event %s: %w: %s", w.Payment, w.event.EventID, unread(answer.Meaning), answer.Detail)
		}
		a.conf.Log.DebugContext(ctx, "retrying to read a payment", slog.String("payment_id", w.Payment), slog.String("answer", answer.Detail))
		if err := pause(ctx, max(answer.RetryAfter, a.conf.API.pause(try))); err != nil {
			return err
		}
	}
}

// unread returns the error of a payment that was not read, by the meaning of the
// last answer.
func unread(last mercadopago.Meaning) error {
	if last == mercadopago.Retry || last == mercadopago.Wait {
		return errSilent
	}
	return errUnread
}

// compare compares an answer with the outcome; done is false if the answer is of no
// use.
func (a *asking) compare(b batch, w wanted, answer mercadopago.Answer) (done bool, err error) {
	differs := func(kind Kind, format string, args ...any) {
		f := w.event
		f.Detail = fmt.Sprintf(format, args...)
		b.finding(a.finding(kind, f))
	}
	captured := w.State == stateCaptured
	switch answer.Meaning {
	case mercadopago.Captured:
		if !captured {
			differs(APIDiffers, "the outcome is rejected, and the API captured the payment: %s", answer.Detail)
		}
		return true, nil
	case mercadopago.Rejected:
		if captured {
			differs(APIDiffers, "the outcome is captured, and the API did not capture the payment: %s", answer.Detail)
		}
		return true, nil
	case mercadopago.Halt:
		return false, fmt.Errorf("%w: %s", errHalt, answer.Reason)
	case mercadopago.Poll:
		switch {
		case answer.HTTPStatus == http.StatusNotFound:
			differs(APIMissing, "the API has no such payment; check whether it is of another account: %s", answer.Detail)
			return true, nil
		case answer.Payment != nil:
			differs(APIDiffers, "the outcome is final, the payment is not: %s", answer.Detail)
			return true, nil
		}
		return false, nil
	case mercadopago.Park:
		return a.compareOdd(differs, captured, answer), nil
	case mercadopago.Retry, mercadopago.Wait:
	}
	return false, nil
}

// compareOdd reports an answer that only an operator can resolve.
func (a *asking) compareOdd(differs func(Kind, string, ...any), captured bool, answer mercadopago.Answer) bool {
	switch {
	case answer.Cause == mercadopago.CauseNone:
		differs(APIMissing, "its payment_id is not valid: %s", answer.Detail)
	case answer.ParkReason == event.ParkContradictory:
		differs(APIDiffers, "the payment contradicts the outcome: %s", answer.Detail)
	case answer.Payment == nil || answer.Payment.Status == "":
		return false
	case captured && returned(answer.Payment):
		differs(APIRefunded, "the payment was captured, and refunded since, wholly or in part: %s", answer.Detail)
	default:
		differs(APIDiffers, "the payment is in a state that no outcome has: %s", answer.Detail)
	}
	return true
}

// returned reports whether a payment was made and refunded or disputed.
func returned(p *mercadopago.Payment) bool {
	switch p.Status {
	case "refunded", "partially_refunded", "charged_back", "in_mediation", "approved":
		return true
	}
	return false
}

// find searches a payment whose status a read does not show, and returns what the
// search found, or else the answer to the read.
func (a *asking) find(ctx context.Context, w wanted, read mercadopago.Answer) mercadopago.Answer {
	if w.Since <= 0 || a.limit.Wait(ctx) != nil {
		return read
	}
	for _, p := range a.conf.API.API.Find(ctx, w.request, time.UnixMilli(w.Since).Add(-searchSkew)).Payments {
		if p.Payment.ID == w.Payment {
			return p
		}
	}
	return read
}

// search looks for a payment of an event that has no outcome.
func (a *asking) search(ctx context.Context, b batch, w wanted) error {
	since := time.UnixMilli(w.Since).Add(-searchSkew)
	for try := 1; ; try++ {
		if err := a.limit.Wait(ctx); err != nil {
			return err
		}
		found := a.conf.API.API.Find(ctx, w.request, since)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for range found.Calls - 1 { // it made more than one call
			if err := a.limit.Wait(ctx); err != nil {
				return err
			}
		}
		if found.Searched {
			return a.compareFound(b, w, found)
		}
		failure, detail := errUnread, "the API offers no search"
		if found.Failed != nil {
			if found.Failed.Meaning == mercadopago.Halt {
				return fmt.Errorf("%w: %s", errHalt, found.Failed.Reason)
			}
			failure, detail = unread(found.Failed.Meaning), found.Failed.Detail
		}
		if try == apiTries || found.Failed == nil {
			return fmt.Errorf("payments of event %s: %w: %s", w.event.EventID, failure, detail)
		}
		if err := pause(ctx, max(found.Failed.RetryAfter, a.conf.API.pause(try))); err != nil {
			return err
		}
	}
}

// compareFound reports captured payments that no event has.
func (a *asking) compareFound(b batch, w wanted, found mercadopago.Found) error {
	for _, p := range found.Payments {
		if p.Meaning != mercadopago.Captured {
			continue
		}
		owned := false
		err := a.store.Each(append(append([]byte{spacePayment}, p.Payment.ID...), 0), func([]byte, scratch.Value) error {
			owned = true
			return nil
		})
		if err != nil {
			return err
		}
		if owned {
			continue // another event of this reference has it
		}
		f := w.event
		f.PaymentID = p.Payment.ID
		f.Detail = "the API captured a payment of the event's reference after its first attempt, " +
			"and no event has an outcome with this payment: " + p.Detail
		b.finding(a.finding(APIPaid, f))
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
