package limiter

import (
	"time"

	"payment-capture/internal/mercadopago"
)

// callLimit is how many calls may be in flight. Only the API's own word lowers it,
// 429 or 503, never its latency, so a slow API gets as many calls as before.
// Successful calls raise it again.
type callLimit struct {
	most      int
	limit     float64
	loweredAt time.Time
}

// lowerEvery is the least time between two cuts: the calls that were in flight at
// one cut are answered after it, and would cut again.
const lowerEvery = time.Second

func newCallLimit(most int) callLimit { return callLimit{most: most, limit: float64(most)} }

func (l *callLimit) now() int { return max(1, int(l.limit)) }

// learn halves the limit if the API is overloaded, and raises it by a tenth each
// time that as many calls as it allows succeeded.
func (l *callLimit) learn(r Result) {
	switch {
	case r.Overloaded:
		if now := time.Now(); now.Sub(l.loweredAt) >= lowerEvery {
			l.limit, l.loweredAt = max(1, l.limit/2), now
		}
	case r.Meaning != mercadopago.Retry && l.limit < float64(l.most):
		l.limit = min(l.limit+max(1, l.limit/10)/l.limit, float64(l.most))
	}
}
