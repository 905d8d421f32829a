//go:build integration && chaos

package acceptance

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// Classes of events. An event id is the class and a number; the payer token is the class
// if the payer determines the decision.
const (
	classUsual     = "usual"
	classTwice     = "twice" // sent twice, as an order service does that is not sure
	classPoor      = "poor"
	classDeclined  = "declined"
	classCancelled = "cancelled"
	classInvalid   = "invalid"
	classForeign   = "foreign" // in another currency than the account's
	classOther     = "other"   // of another type
	classLasting   = "lasting" // the API charges and then always refuses
)

// decisionsOf returns the decisions that events of a class may get.
func decisionsOf(class string) []string {
	switch class {
	case classUsual, classTwice:
		return []string{"captured"}
	case classPoor:
		return []string{"rejected insufficient_money"}
	case classDeclined:
		return []string{"rejected cc_rejected_high_risk"}
	case classCancelled:
		// A call that a suspension interrupted may have charged as far as the service
		// knows.
		return []string{"rejected invalid_payer_token", "parked error_after_unknown"}
	case classInvalid:
		return []string{"parked invalid_event"}
	case classForeign:
		return []string{"parked wrong_currency"}
	case classLasting:
		// If the next owner knows of an attempt, it looks up the payment.
		return []string{"parked idempotency_key_used", "captured"}
	}
	return nil
}

// loadInterval is the time between two events.
const loadInterval = 25 * time.Millisecond

// load generates events.
type load struct {
	t      *testing.T
	dice   *rand.Rand
	n      int
	recent []order // candidates for copies
}

func newLoad(t *testing.T, seed uint64) *load {
	return &load{t: t, dice: rand.New(rand.NewPCG(seed, 1))}
}

// next returns an event; most classes have one in a hundred.
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
	// Two or three events in a row may be of one order, for other amounts: they are no duplicates.
	o := order{
		id: fmt.Sprintf("%s-%d", class, l.n), order: fmt.Sprintf("%s-o%d", class, l.n*2/5), amount: fmt.Sprintf("%d.50", 100+l.n%1000),
		time: time.Now(), binary: l.n%3 == 0,
	}
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

// check checks that the class of each event allows its decision.
func (l *load) check(decisions []decision) {
	l.t.Helper()
	for _, v := range decisions {
		class, _, _ := strings.Cut(v.event, "-")
		ok := false
		for _, may := range decisionsOf(class) {
			ok = ok || may == strings.TrimSpace(v.kind+" "+v.reason)
		}
		if !ok {
			l.t.Errorf("event %q may be %q and is %s", v.event, decisionsOf(class), summary([]decision{v}))
		}
	}
}
