package limiter

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/mercadopago"
)

// The limit on calls halves with 429 and 503, once a second at most, and grows by a
// tenth, one call at the least, each time that as many calls as it allows went well.
func TestCallLimitRecovers(t *testing.T) {
	t.Parallel()
	well := Result{Meaning: mercadopago.Captured, Sent: true}
	for _, meaning := range []mercadopago.Meaning{mercadopago.Wait, mercadopago.Retry} { // HTTP 429 and 503
		synctest.Test(t, func(t *testing.T) {
			limited := Result{Meaning: meaning, Overloaded: true, Sent: true}
			const most = 64
			l := newCallLimit(most)
			l.learn(limited)
			l.learn(limited) // of the calls that were in flight
			if l.now() != most/2 {
				t.Fatalf("%s: the limit is %d, want %d", meaning, l.now(), most/2)
			}
			for want := most / 4; want > 0; want /= 2 {
				<-time.After(lowerEvery)
				l.learn(limited)
				if l.now() != want {
					t.Fatalf("%s: the limit is %d, want %d", meaning, l.now(), want)
				}
			}
			<-time.After(lowerEvery)
			l.learn(limited)
			if l.now() != 1 {
				t.Fatalf("the limit is %d, want 1 at the least", l.now())
			}
			for l.now() < most {
				before := l.limit
				for range l.now() {
					l.learn(well)
				}
				// There are no parts of calls: of 2.9 that it allows, two are made.
				step, least := max(1, before/10), math.Floor(before)/(before+1)
				if grew := l.limit - before; l.now() < most && (grew < least*step || grew > 1.01*step) {
					t.Fatalf("as many calls as it allows went well: the limit grew from %.2f by %.2f", before, grew)
				}
			}
			l.learn(well)
			if l.now() != most {
				t.Errorf("the limit is %d, at most %d calls are allowed", l.now(), most)
			}
		})
	}
}

// Failures that show nothing of the pace neither lower the limit nor raise it.
func TestCallLimitAndFailures(t *testing.T) {
	t.Parallel()
	l := newCallLimit(8)
	l.learn(Result{Meaning: mercadopago.Wait, Overloaded: true, Sent: true})
	for range 100 {
		l.learn(Result{Meaning: mercadopago.Retry, Sent: true})
	}
	if l.now() != 4 {
		t.Errorf("the limit is %d, want 4", l.now())
	}
}
