//go:build synctests

package prove

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// again is what is done to a history whose instances are all down, and their
// lives after it.
type again struct {
	cut      bool          // the instances died while there was something to do
	sleeper  bool          // slot 0 is not down but cannot speak, and wakes up into the second part
	after    time.Duration // from the last wave of the first part until that
	gap      time.Duration // how long they are down
	forget   bool          // the API has forgotten all keys
	zero     bool          // the committed offsets are set to zero
	newGroup bool          // the group is another one, that begins at the start
	stores   string        // what becomes of the local stores: kept, removed, or crashed
	gone     bool          // the ledger's topic is deleted and made anew
	resend   bool          // parked records are sent again, by a person
	// more is how many partitions the input and the ledger have then.
	more, moreLedger int32
	records          []*sent // that come while all are down
	slots            [][]fate
	last             wave
}

func (a *again) String() string {
	var parts []string
	for what, is := range map[string]bool{
		"all die": a.cut, "slot 0 cannot speak meanwhile": a.sleeper, "the keys are forgotten": a.forget, "offsets at zero": a.zero, "another group": a.newGroup, "the ledger is gone": a.gone,
		"parked records are sent again": a.resend,
	} {
		if is {
			parts = append(parts, what)
		}
	}
	slices.Sort(parts)
	return fmt.Sprintf("%s; down for %s; stores %s; then %d partitions, %d of the ledger", strings.Join(parts, ", "), a.gap, a.stores, a.more, a.moreLedger)
}

// again draws what comes after all are down.
func (d *draw) again() *again {
	p := d.p
	a := &again{
		gap:  []time.Duration{0, 2 * time.Second, 2 * time.Hour, 25 * time.Hour, 50 * time.Hour}[d.weighted(20, 20, 15, 30, 15)],
		more: p.partitions, moreLedger: p.ledgerPartitions,
		stores: []string{"kept", "removed", "crashed"}[d.weighted(40, 30, 30)],
	}
	switch d.weighted(40, 30, 10, 10, 10) {
	case 0:
		a.cut = true
	case 1:
		a.zero = true
	case 2:
		a.newGroup = true
	case 3:
		a.gone = true
	case 4:
		if len(p.slots) < 2 {
			a.zero = true
			break
		}
		// It counts the time, so that must not be days.
		a.sleeper, a.gap = true, 65*time.Second
		p.horizon, p.maxEventAge = time.Minute, 0
	}
	if a.cut {
		a.after = d.duration(0, 2*time.Second)
	} else if a.sleeper {
		a.after = d.duration(0, 4*p.latency)
	}
	a.forget = a.gap > p.horizon || (!a.cut && d.chance(50))
	a.resend = !a.gone && (!a.forget || a.gap > p.horizon) && d.chance(50)
	// A group of static members that all come back in time is not balanced
	// anew: nobody has the new partitions then.
	if d.chance(25) && !a.gone && !a.sleeper && (!p.static || a.gap >= time.Minute) {
		a.more += int32(d.between(1, 2))
	}
	if d.chance(25) && !a.gone && !a.sleeper {
		a.moreLedger += int32(d.between(1, 2))
	}
	d.comesAgain(a)
	for i := range p.slots {
		a.slots = append(a.slots, d.laterLives(i))
	}
	for range d.between(2, 5) {
		a.last.records = append(a.last.records, d.later(a))
	}
	return a
}

// laterLives draws the lives of a slot in the second part.
func (d *draw) laterLives(i int) []fate {
	instance := fmt.Sprintf("i%d", i)
	var fates []fate
	if d.chance(35) {
		fates = append(fates, d.fate(instance))
	}
	return append(fates, fate{instance: instance, pause: d.pause(), end: endLast, orders: d.losses()})
}

// later draws an event of the second part. With more partitions, an order may
// be in another one than before.
func (d *draw) later(a *again) *sent {
	e := d.event(d.kindOf(plainKind, declinedKind, faultyKind))
	n := 0
	_, _ = fmt.Sscanf(e.order, "o%d", &n) // as orderOf
	e.home, e.unordered, e.second = int32(n)%a.more, true, true
	return &sent{event: e, partition: e.home}
}

// comesAgain draws records that lie in the input already, for the same
// partition or another one, under the same key or another one.
func (d *draw) comesAgain(a *again) {
	p := d.p
	var before []*sent
	for _, w := range slices.Concat(p.calm, p.waves, []wave{p.last}) {
		before = append(before, w.records...)
	}
	for range d.between(2, 8) {
		s := &sent{event: before[d.IntN(len(before))].event}
		s.partition = s.event.home
		// What is not decided yet may be at two instances at once, if it is
		// in two partitions.
		if d.chance(60) && (s.event.movable() || !a.cut && !a.sleeper) {
			s.partition = int32(d.IntN(int(a.more)))
		}
		if d.chance(40) {
			s.key = fmt.Sprintf("moved-%d", d.IntN(3))
		}
		if s.partition != s.event.home || s.key != "" {
			s.event.unordered = s.event.unordered || a.cut || a.sleeper
		}
		a.records = append(a.records, s)
	}
	for range d.between(1, 3) {
		a.records = append(a.records, d.later(a))
	}
	d.Shuffle(len(a.records), func(i, j int) { a.records[i], a.records[j] = a.records[j], a.records[i] })
}
