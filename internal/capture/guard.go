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
// without a payment between, are not the buyers' fault.
type guard struct {
	limit   int // how long a run halts; 0: none does
	cause   string
	since   time.Time
	refused map[string]struct{} // the different ones of the run
}

// guardWindow is what "in a row" lasts at most: a refusal every few hours is
// no run.
const guardWindow = 10 * time.Minute

// judge counts an answer and gives a halt when it makes a run too long, or goes
// on with the run that halted.
func (g *guard) judge(about subject, a mercadopago.Answer, halted *halt) *halt {
	var cause, which string
	switch {
	case g.limit == 0 || a.Read:
		return nil
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
	if halted != nil && halted.cause == cause {
		return halted
	}
	if cause != g.cause || time.Since(g.since) > guardWindow {
		g.reset()
		g.cause, g.since, g.refused = cause, time.Now(), make(map[string]struct{})
	}
	if len(g.refused) < g.limit {
		g.refused[which] = struct{}{}
	}
	if len(g.refused) < g.limit {
		return nil
	}
	what, remedy := "payers", "look whether the access token is of the application that these payers agreed to"
	if cause == causeRequests {
		what, remedy = "requests", "look at what changed in the events, and at the application of the access token"
	}
	return &halt{cause: cause, requestID: a.RequestID, reason: fmt.Sprintf(
		"%d different %s in a row were refused, the last one so: %s; that is hardly the buyers' doing: %s; "+
			"if it is right, set CAPTURE_REFUSAL_RUN higher, or to 0, and start again", g.limit, what, a.Detail, remedy)}
}

func (g *guard) reset() { g.cause, g.refused = "", nil }
