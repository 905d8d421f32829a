package capture

import (
	"crypto/sha256"
	"fmt"
	"time"

	"payment-capture/internal/mercadopago"
)

// subject is what an answer is about; the payer is a digest of the token.
type subject struct {
	order string
	payer [sha256.Size]byte
}

// guard tells wiring from bad luck: many payers or requests refused in a row,
// or answers that contradict what was asked for, without a payment between as it
// should be, are not the buyers' fault.
type guard struct {
	limit int             // how long a run of refusals halts; 0: none does
	runs  map[string]*run // by the cause of the halt that they come to
}

// run is the different payers, or orders, that were answered alike in a row.
type run struct {
	since time.Time
	of    map[string]struct{}
}

const (
	// guardWindow is what "in a row" lasts at most: a refusal every few hours is
	// no run.
	guardWindow = 10 * time.Minute
	// contradictions is how many contradictory answers in a row halt: each of
	// them may have taken money, in another currency for instance.
	contradictions = 5
)

func newGuard(limit int) guard { return guard{limit: limit, runs: make(map[string]*run)} }

// judge counts an answer and gives a halt when it makes a run too long, or goes
// on with the run that halted.
func (g *guard) judge(about subject, a mercadopago.Answer, halted *halt) *halt {
	var cause, which string
	limit := g.limit
	switch {
	case g.limit == 0 || a.Read:
		return nil
	case a.Row == rowContradictory:
		cause, which, limit = causeContradictions, about.order, min(g.limit, contradictions)
	case a.Row >= 13 && a.Row <= 16: // the payer's token, or the payer
		cause, which = causePayers, string(about.payer[:])
	case a.Row >= 17 && a.Row <= 20 || a.Row == 39: // the request
		cause, which = causeRequests, about.order
	case a.Payment != nil:
		g.reset()
		return nil
	default:
		return nil
	}
	if halted != nil && halted.ofARun() { // of whichever kind: it goes on
		return halted
	}
	r := g.runs[cause]
	if r == nil || time.Since(r.since) > guardWindow {
		r = &run{since: time.Now(), of: make(map[string]struct{})}
		g.runs[cause] = r
	}
	if len(r.of) < limit {
		r.of[which] = struct{}{}
	}
	if len(r.of) < limit {
		return nil
	}
	return &halt{cause: cause, requestID: a.RequestID, reason: runReason(cause, limit, a.Detail)}
}

func runReason(cause string, limit int, last string) string {
	const off = "; if it is right, set CAPTURE_REFUSAL_RUN higher, or to 0, and start again"
	switch cause {
	case causePayers:
		return fmt.Sprintf("%d different payers in a row were refused, the last one so: %s; that is hardly the buyers' doing: "+
			"look whether the access token is of the application that these payers agreed to", limit, last) + off
	case causeRequests:
		return fmt.Sprintf("the requests of %d different orders in a row were refused, the last one so: %s: "+
			"look at what changed in the events, and at the application of the access token", limit, last) + off
	}
	return fmt.Sprintf("the answers for %d different orders in a row contradict what was asked for, the last one so: %s: "+
		"the buyers may have been charged wrongly; look whether CURRENCY is that of the access token's site", limit, last) + off
}

// reset forgets the runs: a payment was made as it should be.
func (g *guard) reset() { clear(g.runs) }

// shift leaves a time out of the runs in which nobody was answered.
func (g *guard) shift(d time.Duration) {
	for _, r := range g.runs {
		r.since = r.since.Add(d)
	}
}

// goOn lets the runs that there are go on from now: nothing has ended them.
func (g *guard) goOn() {
	for _, r := range g.runs {
		r.since = time.Now()
	}
}
