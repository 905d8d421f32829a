package capture

import (
	"log/slog"
	"time"
)

// The states of the way to the API.
const (
	statePassing  = "passing"           // calls go out
	stateOpen     = "circuit_open"      // the API is down: none goes out
	stateHalfOpen = "circuit_half_open" // one is out that tries whether it is back
	stateHalted   = "halted"            // the credential or the configuration is refused
)

// Health is the state of the way to the API.
type Health struct {
	State     string    `json:"state"`                // passing, circuit_open, circuit_half_open or halted
	Cause     string    `json:"cause,omitzero"`       // of a halt: a word from a closed list
	Reason    string    `json:"reason,omitzero"`      // why it is not passing, and what to do
	RequestID string    `json:"request_id,omitzero"`  // the API's, of the answer that halted
	Since     time.Time `json:"since,omitzero"`       // since when it is not passing
	NextProbe time.Time `json:"next_probe,omitzero"`  // when an event is tried next
	Calls     int       `json:"calls"`                // under way
	CallLimit int       `json:"call_limit"`           // how many may be: lowered by 429 and 503, raised by success
	Waiting   int       `json:"waiting"`              // captures that wait for their call
	RateLimit float64   `json:"rate_limit,omitempty"` // calls a second; 0: no limit
}

// Passing reports whether calls go out.
func (h Health) Passing() bool { return h.State == statePassing }

// Health gives the state of the way to the API.
func (c *Capturer) Health() Health {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	return c.gate.health()
}

// Blocked says why no call goes out; "" while calls do.
func (c *Capturer) Blocked() string {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	if state, _ := c.gate.condition(); state == statePassing {
		return ""
	}
	return c.gate.health().Reason
}

// Busy returns how many captures are calling, between two tries, or waiting for the
// end of a halt to which they gave reason: the others are on their way to a call.
func (c *Capturer) Busy() int {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	return c.gate.calls + int(c.resting.Load()) + c.gate.refused()
}

// Changes gives a channel on which something arrives after Blocked has changed, or
// Busy has grown.
func (c *Capturer) Changes() <-chan struct{} { return c.gate.changes }

// condition gives the state, and the cause of a halt. The caller holds the lock.
func (g *gate) condition() (state, cause string) {
	switch {
	case g.halt != nil:
		return stateHalted, g.halt.cause
	case g.breaker.IsOpen():
		return stateOpen, ""
	case g.breaker.IsHalfOpen():
		return stateHalfOpen, ""
	}
	return statePassing, ""
}

// health describes the state. The caller holds the lock.
func (g *gate) health() Health {
	h := Health{Calls: g.calls, CallLimit: g.limit.now(), Waiting: g.charges.waiting() + g.reads.waiting(), Since: g.shutAt}
	if g.pace != nil {
		h.RateLimit = float64(g.pace.Limit())
	}
	switch h.State, h.Cause = g.condition(); h.State {
	case stateHalted:
		h.Reason, h.RequestID, h.NextProbe = g.halt.reason, g.halt.requestID, g.nextProbe()
	case stateOpen:
		h.NextProbe = time.Now().Add(g.breaker.RemainingDelay())
		fallthrough
	case stateHalfOpen:
		h.Reason = "the payment API is down (" + g.openedBy + "): it is asked every few seconds whether it is back"
	}
	return h
}

// nextProbe returns when an event is tried next; zero: there is none to try.
func (g *gate) nextProbe() time.Time {
	if g.prober() == nil {
		return time.Time{}
	}
	if now := time.Now(); now.After(g.halt.probeAt) {
		return now
	}
	return g.halt.probeAt
}

// look brings what depends on the state up to date, and lets in whose turn it is.
func (g *gate) look() {
	if g.shut() { // whoever has a pass and did not call yet shall not
		g.calls -= g.charges.takeBack() + g.reads.takeBack()
	}
	if state, cause := g.condition(); state != g.shown.state || cause != g.shown.cause {
		g.shown.state, g.shown.cause = state, cause
		g.metrics.state(state, cause)
		if state == statePassing {
			g.shutAt = time.Time{}
		} else if g.shutAt.IsZero() {
			g.shutAt = time.Now()
		}
		g.tell()
		g.changed()
	}
	g.letIn()
	g.metrics.calling(g.calls, g.limit.now())
}

// changed has the pipeline look.
func (g *gate) changed() {
	select {
	case g.changes <- struct{}{}:
	default:
	}
}

// tell logs what the state has become: that it is shut, and why, is the first
// thing an operator looks for.
func (g *gate) tell() {
	now := g.health()
	log := g.log.Info
	switch now.State {
	case stateHalted:
		log = g.log.Error
	case stateOpen:
		log = g.log.Warn
	}
	log("the way to the payment API", slog.String("state", now.State), slog.String("cause", now.Cause),
		slog.String("reason", now.Reason), slog.String("request_id", now.RequestID))
}
