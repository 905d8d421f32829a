package capture_test

import (
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
)

// The key retention is checked right before the call, not before the attempt is
// written, which may last as long as the ledger's brokers are away.
func TestSlowAttemptPastTheKeyRetention(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &ledgerLease{lease: newLease(nil), slow: 15 * time.Minute}
		a := newAPI(halted())
		c := newCapturer(a, func(c *config) { c.KeyRetention = 30 * time.Minute })
		// Another event halts the service before this one comes.
		other := newEvent(t)
		other.ID, other.OrderID, other.ExternalReference = "event-0", "order-0", "reference-0"
		giveUp := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(giveUp) })
		if _, err := c.Capture(t.Context(), other, newLease(giveUp)); err == nil {
			t.Fatal("the call was not refused")
		}
		if c.Blocked() == "" {
			t.Fatal("the service is not halted")
		}
		a.answers = []mercadopago.Answer{captured()}
		e := newEvent(t)
		body, err := mercadopago.NewRequest(e)
		if err != nil {
			t.Fatal(err)
		}
		h.tried = &event.Attempt{
			First: time.Now().Add(-20 * time.Minute), Event: e.Fingerprint(),
			Body: event.FingerprintOf(body.Body), Encoding: mercadopago.EncodingVersion,
		}
		calls := len(a.calls)
		d, err := c.Capture(t.Context(), e, h)
		if err != nil || ending(d) != "parked "+string(event.ParkKeyExpired) || len(a.calls) != calls {
			t.Errorf("got %q, %v after %d calls %s after its first attempt", ending(d), err, len(a.calls)-calls, time.Since(h.tried.First))
		}
	})
}
