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

// APIConfig says how payments are read. They are only read.
type APIConfig struct {
	API    API
	Rate   float64 // calls a second; over zero
	Search bool    // also look for payments of events that are parked or have no verdict
	// Pause is the wait before a second try; before each further one it is twice
	// as long. 0: two seconds.
	Pause time.Duration
}

// pause is the wait after a try.
func (c *APIConfig) pause(try int) time.Duration {
	return cmp.Or(c.Pause, 2*time.Second) << (try - 1)
}

const (
	// apiWorkers bounds the calls at once; the rate bounds them before that,
	// where the API answers in its usual time.
	apiWorkers = 8
	apiTries   = 6
	// apiSilent is how many payments in a row, each tried so often and never
	// answered to any purpose, are enough to conclude that more would do no better:
	// twice what is asked for at once.
	apiSilent = 2 * apiWorkers
	// searchSkew is how much earlier than by our clocks the API's may date a
	// payment.
	searchSkew = 5 * time.Second
)

// wanted is what to ask the API about an event.
type wanted struct {
	_         struct{} `cbor:",toarray"`
	State     state
	Payment   string // "": search
	Since     int64
	Amount    storedAmount
	Order     string
	Reference string

	event   Finding             // with what findings say of the event
	request mercadopago.Request // what the answer is compared with; it is never sent
}

// ask notes what to ask the API about the event.
func (e *judgement) ask(st state) {
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

func (e *judgement) want(st state, payment string, since int64) {
	w := wanted{State: st, Payment: payment, Since: since, Amount: e.main.Amount, Order: e.main.Order, Reference: e.main.Reference}
	key := append([]byte{spaceAsk}, e.id...)
	e.batch.Set(append(append(key, 0), payment...), w)
}

// firstAttempt gives when the event was first tried, as early as that can have
// been.
func (e *judgement) firstAttempt() int64 {
	first := e.main.At
	known := []int64{}
	if e.decision != nil {
		known = append(known, e.decision.First)
	}
	if a := e.attempt(); a != nil {
		known = append(known, a.First)
	}
	for _, p := range e.parkings {
		known = append(known, p.First)
	}
	for _, at := range known {
		if at > 0 && at < first {
			first = at
		}
	}
	return first
}

// asking is the asking under way.
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

// askAll asks the API about every payment. The error is [ErrNotAsked] where some
// could not be read.
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
	case v.sum.unasked > 0:
		return fmt.Errorf("%w: %d of %d; the first: %w", ErrNotAsked, v.sum.unasked, a.total, a.failed)
	}
	return nil
}

// identify restores what follows from the key.
func (w *wanted) identify(key []byte) {
	w.event.OrderID, w.event.Reference = w.Order, w.Reference
	w.event.Amount, w.event.Currency = amounts(w.Amount)
	w.event.EventID = string(key[:len(key)-len(w.Payment)-1])
	w.event.PaymentID = w.Payment
	w.request = mercadopago.Request{Key: w.event.EventID, Amount: w.Amount.Amount, ExternalReference: w.Reference}
}

// ask asks about one event.
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
		a.sum.unasked++
		if a.failed == nil {
			a.failed = err
		}
		if !errors.Is(err, errSilent) {
			a.silent = 0
		} else if a.silent++; a.silent >= apiSilent {
			return fmt.Errorf("%d in a row, of %d: see whether the API (MERCADOPAGO_URL) can be reached: %w", a.silent, a.total, err)
		}
		err = nil
	case err == nil:
		a.silent = 0
		a.sum.asked++
	}
	if now := time.Now(); now.Sub(a.shown) > progressEvery || a.done == a.total {
		a.shown = now
		a.conf.Progress(phaseAPI, a.done, a.total)
	}
	return err
}

var (
	errUnread = errors.New("it could not be read")
	errSilent = fmt.Errorf("%w after %d tries", errUnread, apiTries) // but might be later
	errHalt   = errors.New("the API refuses this service")
)

// read reads a payment and holds it against the outcome.
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
		done, err := a.hold(b, w, answer)
		switch {
		case err != nil:
			return err
		case done:
			return nil
		case try == apiTries:
			return fmt.Errorf("payment %s of event %s: %w: %s", w.Payment, w.event.EventID, unread(answer.Meaning), answer.Detail)
		}
		a.conf.Log.DebugContext(ctx, "a payment is read again", slog.String("payment_id", w.Payment), slog.String("answer", answer.Detail))
		if err := pause(ctx, max(answer.RetryAfter, a.conf.API.pause(try))); err != nil {
			return err
		}
	}
}

// unread is the error of a payment that was not read, by the last answer's meaning.
func unread(last mercadopago.Meaning) error {
	if last == mercadopago.Retry || last == mercadopago.Wait {
		return errSilent
	}
	return errUnread
}

// hold holds an answer against the outcome; done is false where it says nothing.
func (a *asking) hold(b batch, w wanted, answer mercadopago.Answer) (done bool, err error) {
	differs := func(kind Kind, format string, args ...any) {
		f := w.event
		f.Detail = fmt.Sprintf(format, args...)
		b.finding(a.finding(kind, f))
	}
	captured := w.State == stateCaptured
	switch answer.Meaning {
	case mercadopago.Captured:
		if !captured {
			differs(APIDiffers, "the outcome says rejected, the API has taken the money: %s", answer.Detail)
		}
		return true, nil
	case mercadopago.Rejected:
		if captured {
			differs(APIDiffers, "the outcome says captured, the API has not taken the money: %s", answer.Detail)
		}
		return true, nil
	case mercadopago.Halt:
		return false, fmt.Errorf("%w: %s", errHalt, answer.Reason)
	case mercadopago.Poll:
		switch {
		case answer.HTTPStatus == http.StatusNotFound:
			differs(APIMissing, "the API knows no such payment: is it of another account? %s", answer.Detail)
			return true, nil
		case answer.Payment != nil:
			differs(APIDiffers, "the outcome is final, the payment is not: %s", answer.Detail)
			return true, nil
		}
		return false, nil
	case mercadopago.Park:
		return a.holdOdd(differs, captured, answer), nil
	case mercadopago.Retry, mercadopago.Wait:
	}
	return false, nil
}

// holdOdd holds an answer that only a person can judge.
func (a *asking) holdOdd(differs func(Kind, string, ...any), captured bool, answer mercadopago.Answer) bool {
	switch {
	case answer.Cause == mercadopago.CauseNone:
		differs(APIMissing, "its payment_id is none: %s", answer.Detail)
	case answer.ParkReason == event.ParkContradictory:
		differs(APIDiffers, "the payment is not that of the outcome: %s", answer.Detail)
	case answer.Payment == nil || answer.Payment.Status == "":
		return false
	case captured && returned(answer.Payment):
		differs(APIRefunded, "the money was taken, and returned since, wholly or in part: %s", answer.Detail)
	default:
		differs(APIDiffers, "the payment is in a state that no outcome has: %s", answer.Detail)
	}
	return true
}

// returned reports whether money was taken and given back.
func returned(p *mercadopago.Payment) bool {
	switch p.Status {
	case "refunded", "partially_refunded", "charged_back", "in_mediation", "approved":
		return true
	}
	return false
}
