package capture

import (
	"net/http"
	"time"

	"payment-capture/internal/mercadopago"
)

// inFlight is how many calls may be under way at once. Only the API's own word
// lowers it, 429 or 503, never its latency: a slow API is asked by as many as
// before. It goes up again with what succeeds.
type inFlight struct {
	most      int
	limit     float64
	loweredAt time.Time
}

// lowerEvery is between two cuts: the calls that were under way at one cut are
// answered after it, and would cut again.
const lowerEvery = time.Second

func newInFlight(most int) inFlight { return inFlight{most: most, limit: float64(most)} }

func (l *inFlight) now() int { return max(1, int(l.limit)) }

// learn halves the limit at a 429 or 503, and raises it by a tenth each time
// that as many calls as it allows went well.
func (l *inFlight) learn(a mercadopago.Answer) {
	switch {
	case a.HTTPStatus == http.StatusTooManyRequests || a.HTTPStatus == http.StatusServiceUnavailable:
		if now := time.Now(); now.Sub(l.loweredAt) >= lowerEvery {
			l.limit, l.loweredAt = max(1, l.limit/2), now
		}
	case a.Meaning != mercadopago.Retry && l.limit < float64(l.most):
		l.limit = min(l.limit+max(1, l.limit/10)/l.limit, float64(l.most))
	}
}
