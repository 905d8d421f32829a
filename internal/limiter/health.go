package limiter

import (
	"log/slog"
	"time"
)

const (
	statePassing  = "passing"           // calls are allowed
	stateOpen     = "circuit_open"      // the API is down: no calls
	stateHalfOpen = "circuit_half_open" // a probe may be made, or is in flight
	stateHalted   = "halted"            // the credential or the configuration is refused
)

// Health is the state of the calls to the API, as /status shows it.
type Health struct {
	State     string    `json:"state"`                // passing, circuit_open, circuit_half_open or halted
	Cause     string    `json:"cause,omitzero"`       // of a halt: a word from a closed list
	Reason    string    `json:"reason,omitzero"`      // why it is not passing, and how to fix it
	RequestID string    `json:"request_id,omitzero"`  // the API's, of the answer that halted
	Since     time.Time `json:"since,omitzero"`       // since when it is not passing
	NextProbe time.Time `json:"next_probe,omitzero"`  // when the next probe is made
	Calls     int       `json:"calls"`                // in flight
	CallLimit int       `json:"call_limit"`           // how many may be: lowered by 429 and 503, raised by success
	Waiting   int       `json:"waiting"`              // events that wait for a permit
	RateLimit float64   `json:"rate_limit,omitempty"` // calls a second; 0: no limit
}

// Passing reports whether calls are allowed.
func (h Health) Passing() bool { return h.State == statePassing }

// Health returns the state of the calls to the API.
func (l *Limiter) Health() Health {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.healthLocked()
}

// Blocked returns why no calls are allowed; "" while they are.
func (l *Limiter) Blocked() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.probesOnlyLocked() {
		return ""
	}
	return l.healthLocked().Reason
}

// Busy returns how many events are calling, between two calls, or waiting for the
// end of a halt for which they are evidence. All others are on their way to a call.
func (l *Limiter) Busy() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls + int(l.resting.Load()) + l.refusedLocked()
}

// Changes returns a channel that receives after Blocked has changed or Busy has
// grown.
func (l *Limiter) Changes() <-chan struct{} { return l.changes }

func (l *Limiter) signalChange() {
	select {
	case l.changes <- struct{}{}:
	default:
	}
}

// stateLocked returns the state, and the cause of a halt.
func (l *Limiter) stateLocked() (state, cause string) {
	switch {
	case l.halt != nil:
		return stateHalted, l.halt.cause
	case l.breaker.IsOpen():
		return stateOpen, ""
	case l.breaker.IsHalfOpen():
		return stateHalfOpen, ""
	}
	return statePassing, ""
}

func (l *Limiter) healthLocked() Health {
	h := Health{Calls: l.calls, CallLimit: l.limit.now(), Waiting: l.charges.waiting() + l.reads.waiting(), Since: l.stoppedAt}
	if l.pace != nil {
		h.RateLimit = float64(l.pace.Limit())
	}
	switch h.State, h.Cause = l.stateLocked(); h.State {
	case stateHalted:
		h.Reason, h.RequestID = l.halt.reason, l.halt.requestID
		if l.proberLocked() != nil {
			h.NextProbe = l.halt.probeAt
			if now := time.Now(); now.After(h.NextProbe) {
				h.NextProbe = now
			}
		}
	case stateOpen:
		h.NextProbe = time.Now().Add(l.breaker.RemainingDelay())
		fallthrough
	case stateHalfOpen:
		h.Reason = "the payment API is down (" + l.openedBy + "); the service probes every few seconds whether it is back"
	}
	return h
}

// updateLocked brings all that depends on the state up to date, and grants the free
// permits.
func (l *Limiter) updateLocked() {
	if l.probesOnlyLocked() {
		l.calls -= l.charges.revoke() + l.reads.revoke()
	}
	if state, cause := l.stateLocked(); state != l.shown.state || cause != l.shown.cause {
		l.shown.state, l.shown.cause = state, cause
		l.metrics.state(state, cause)
		if state == statePassing {
			l.stoppedAt = time.Time{}
		} else if l.stoppedAt.IsZero() {
			l.stoppedAt = time.Now()
		}
		l.logStateLocked()
		l.signalChange()
	}
	l.grantLocked()
	l.metrics.calling(l.calls, l.limit.now())
}

func (l *Limiter) logStateLocked() {
	h := l.healthLocked()
	log := l.log.Info
	switch h.State {
	case stateHalted:
		log = l.log.Error
	case stateOpen:
		log = l.log.Warn
	}
	log("payment API state changed", slog.String("state", h.State), slog.String("cause", h.Cause),
		slog.String("reason", h.Reason), slog.String("request_id", h.RequestID))
}
