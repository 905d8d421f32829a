package capture_test

import (
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
)

// TestOldAttemptOfWhichNoPaymentWasTaken: an inherited attempt that is over an hour
// old is looked up first. Only a payment that was taken decides then. A declined one
// may be that of an earlier call, before one that was taken and is not in the index
// yet: as long as the API knows the key, a call under it tells.
func TestOldAttemptOfWhichNoPaymentWasTaken(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		age      time.Duration
		found    func(first time.Time) mercadopago.Answer
		answer   mercadopago.Answer
		want     string
		calls    int
		searches int
	}{
		"declined, and taken by the call": {
			2 * time.Hour, func(first time.Time) mercadopago.Answer { return seen(declined("cc_rejected_high_risk"), "7", first) },
			captured(), isCaptured, 1, 1,
		},
		"declined, and the call tells of that payment": {
			2 * time.Hour, func(first time.Time) mercadopago.Answer { return seen(declined("cc_rejected_high_risk"), "7", first) },
			seen(declined("cc_rejected_high_risk"), "7", time.Time{}), event.TypeRejected + " cc_rejected_high_risk", 1, 1,
		},
		"not final, and taken by the call": {
			2 * time.Hour, func(first time.Time) mercadopago.Answer { return seen(pending(), "7", first) },
			captured(), isCaptured, 1, 1,
		},
		"declined before the attempt": {
			2 * time.Hour, func(first time.Time) mercadopago.Answer {
				return seen(declined("cc_rejected_high_risk"), "7", first.Add(-time.Minute))
			},
			captured(), isCaptured, 1, 1,
		},
		"declined, past the horizon": { // the API may have forgotten the key: no call
			25 * time.Hour, func(first time.Time) mercadopago.Answer { return seen(declined("cc_rejected_high_risk"), "7", first) },
			captured(), event.TypeRejected + " cc_rejected_high_risk", 0, 6,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h, e := inherited(t, test.age)
				a := newAPI(test.answer)
				a.found = []mercadopago.Found{find(test.found(h.tried.First.Add(time.Second)))}
				d, err := newCapturer(a, func(c *config) { c.KeyRetention = 24 * time.Hour }).Capture(t.Context(), e, h)
				if err != nil || ending(d) != test.want || len(a.calls) != test.calls || len(a.searches) != test.searches {
					t.Errorf("got %q, %v after %d calls and %d searches; want %q after %d and %d",
						ending(d), err, len(a.calls), len(a.searches), test.want, test.calls, test.searches)
				}
			})
		})
	}
}
