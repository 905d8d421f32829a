//go:build integration && chaos

package acceptance

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Classes of events; the name stands before the number in the event's id, and
// is the payer's token where the payer is what makes the class.
const (
	classUsual     = "usual"
	classTwice     = "twice" // sent again, as an order service does that is not sure
	classPoor      = "poor"
	classDeclined  = "declined"
	classCancelled = "cancelled"
	classInvalid   = "invalid"
	classForeign   = "foreign" // in a currency that the account does not charge in
	classOther     = "other"   // of a type that is not ours
	classLasting   = "lasting" // the API refuses it for good, having charged
)

// verdictsOf says how the events of a class may end.
func verdictsOf(class string) []string {
	switch class {
	case classUsual, classTwice:
		return []string{"captured"}
	case classPoor:
		return []string{"rejected insufficient_money"}
	case classDeclined:
		return []string{"rejected cc_rejected_high_risk"}
	case classCancelled:
		// A call that was cut off by a suspension may have charged, for all that
		// the service knows.
		return []string{"rejected invalid_payer_token", "parked error_after_unknown"}
	case classInvalid:
		return []string{"parked invalid_event"}
	case classForeign:
		return []string{"parked wrong_currency"}
	case classLasting:
		// After a call that its next owner knows of, the payment is looked for.
		return []string{"parked idempotency_key_used", "captured"}
	}
	return nil
}

// loadInterval is the time between two events.
const loadInterval = 25 * time.Millisecond

// load makes events.
type load struct {
	t      *testing.T
	dice   *rand.Rand
	n      int
	recent []order // that may be sent again
}

func newLoad(t *testing.T, seed uint64) *load {
	return &load{t: t, dice: rand.New(rand.NewPCG(seed, 1))}
}

// next makes an event, one in a hundred of most classes.
func (l *load) next() order {
	l.n++
	percent := l.dice.IntN(100)
	if percent < 3 && len(l.recent) > 0 {
		return l.recent[l.dice.IntN(len(l.recent))]
	}
	class := classUsual
	switch percent {
	case 3, 4, 5, 6:
		class = classTwice
	case 7, 8:
		class = classPoor
	case 9, 10:
		class = classDeclined
	case 11:
		class = classCancelled
	case 12:
		class = classInvalid
	case 13:
		class = classForeign
	case 14:
		class = classOther
	case 15:
		class = classLasting
	}
	// Two or three events in a row may be of one order.
	o := order{id: fmt.Sprintf("%s-%d", class, l.n), order: fmt.Sprintf("%s-o%d", class, l.n*2/5), time: time.Now(), binary: l.n%3 == 0}
	switch class {
	case classTwice:
		l.recent = append(l.recent, o)
		l.recent = l.recent[max(0, len(l.recent)-20):]
	case classPoor, classDeclined, classCancelled:
		o.token = class
	case classInvalid:
		o.amount = "700.505"
	case classForeign:
		o.currency = "BRL"
	case classOther:
		o.kind, o.skipped = "order.shipped", true
	}
	return o
}

// check wants of every verdict that it is one that its class may have.
func (l *load) check(verdicts []verdict) {
	l.t.Helper()
	for _, v := range verdicts {
		class, _, _ := strings.Cut(v.event, "-")
		ok := false
		for _, may := range verdictsOf(class) {
			ok = ok || may == strings.TrimSpace(v.kind+" "+v.reason)
		}
		if !ok {
			l.t.Errorf("event %q may be %q, and is: %s", v.event, verdictsOf(class), summary([]verdict{v}))
		}
	}
}
