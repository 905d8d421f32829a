package capture_test

import (
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
)

// An inherited attempt that is over an hour old is looked up first. Only a captured
// payment decides then. A declined one may be of an earlier call, before a captured
// one that the search does not show yet: as long as the API knows the key, a call
// under it shows the result.
func TestOldAttemptWithoutACapturedPayment(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		age      time.Duration
		found    func(first time.Time) mercadopago.Answer
		answer   mercadopago.Answer
		want     string
		calls    int
		searches int
	}{
		"declined, then captured by the call": {
			2 * time.Hour, func(first time.Time) mercadopago.Answer { return seen(declined("cc_rejected_high_risk"), "7", first) },
			captured(), isCaptured, 1, 1,
		},
		"declined, and the call returns that payment": {
			2 * time.Hour, func(first time.Time) mercadopago.Answer { return seen(declined("cc_rejected_high_risk"), "7", first) },
			seen(declined("cc_rejected_high_risk"), "7", time.Time{}), event.TypeRejected + " cc_rejected_high_risk", 1, 1,
		},
		"not final, then captured by the call": {
			2 * time.Hour, func(first time.Time) mercadopago.Answer { return seen(pending(), "7", first) },
			captured(), isCaptured, 1, 1,
		},
		"declined before the attempt": {
			2 * time.Hour, func(first time.Time) mercadopago.Answer {
				return seen(declined("cc_rejected_high_risk"), "7", first.Add(-time.Minute))
			},
			captured(), isCaptured, 1, 1,
		},
		"declined, past the key retention": { // the API may have forgotten the key: no call
			25 * time.Hour, func(first time.Time) mercadopago.Answer { return seen(declined("cc_rejected_high_risk"), "7", first) },
			captured(), event.TypeRejected + " cc_rejected_high_risk", 0, 6,
		},
		"captured, past the retention of the ledger": { // it may be of an event that is forgotten
			49 * time.Hour, func(first time.Time) mercadopago.Answer { return seen(captured(), "7", first) },
			captured(), "parked key_expired", 0, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, e := inherited(t, test.age)
				a := newAPI(test.answer)
				a.found = []mercadopago.Found{find(test.found(h.tried.First.Add(time.Second)))}
				d, err := newCapturer(a, func(c *config) {
					c.KeyRetention, c.LedgerRetention = 24*time.Hour, 48*time.Hour
				}).Capture(t.Context(), e, h)
				if err != nil || ending(d) != test.want || len(a.calls) != test.calls || len(a.searches) != test.searches {
					t.Errorf("got %q, %v after %d calls and %d searches; want %q after %d and %d",
						ending(d), err, len(a.calls), len(a.searches), test.want, test.calls, test.searches)
				}
			})
		})
	}
}
