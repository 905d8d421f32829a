//go:build integration && chaos

package acceptance

import (
	"math/rand/v2"
	"time"
)

// fault is a planned fault.
type fault struct {
	at, lasts time.Duration
	seat      int // which instance; chaosInstances: the broker
	kind      faultKind
}

// faultKind is a kind of fault of an instance, its link or the broker.
type faultKind struct {
	name        string
	least, most time.Duration // how long it lasts
	do          func(c *chaos, f fault)
}

// faultKinds lists the kinds, each as often as it occurs in a round.
func faultKinds() []faultKind {
	const s = time.Second
	kill := faultKind{"kill", 0, 10 * s, (*chaos).kill}
	// Longer than the session time-out of 6 s, and sometimes than the transaction
	// time-out.
	stop := faultKind{"stop", 7 * s, 20 * s, (*chaos).stopAndWake}
	return []faultKind{
		kill, kill, stop, stop,
		{"twin", 7 * s, 20 * s, (*chaos).twin},
		{"restart", 0, 0, (*chaos).restart},
		{"store", 0, 10 * s, (*chaos).loseStore},
		{"cut: refused", 2 * s, 20 * s, (*chaos).cutOff},
		toxicFault("cut: nothing gets through", 2*s, 20*s,
			toxic{"timeout", "upstream", `"timeout":0`}, toxic{"timeout", "downstream", `"timeout":0`}),
		toxicFault("cut: requests arrive, responses do not", 2*s, 20*s, toxic{"timeout", "downstream", `"timeout":0`}),
		toxicFault("cut: responses are late", 5*s, 15*s, toxic{"latency", "downstream", `"latency":2000,"jitter":1500`}),
		toxicFault("cut: connections are reset", 2*s, 10*s, toxic{"reset_peer", "downstream", `"timeout":300`}),
		{"broker", 15 * s, 15 * s, (*chaos).killBroker},
	}
}

// newPlan plans the kinds round by round, in a random order and at random times. Faults
// overlap, but each instance has one at a time.
func newPlan(dice *rand.Rand, duration time.Duration) []fault {
	var plan []fault
	var deck []faultKind
	var free [chaosInstances + 1]time.Duration // when each has nothing more to bear
	for at := 5 * time.Second; ; {
		if len(deck) == 0 {
			deck = faultKinds()
			dice.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		f := fault{kind: deck[0], seat: dice.IntN(chaosInstances)}
		deck = deck[1:]
		f.lasts = f.kind.least + time.Duration(dice.Int64N(int64(f.kind.most-f.kind.least)+1))
		if f.kind.name == "broker" {
			f.seat = chaosInstances
		}
		at += 500*time.Millisecond + time.Duration(dice.Int64N(int64(6*time.Second)))
		for i := range chaosInstances {
			if f.seat < chaosInstances && at < free[f.seat] && free[i] < free[f.seat] {
				f.seat = i
			}
		}
		at = max(at, free[f.seat])
		if at >= duration {
			return plan
		}
		f.at = at
		free[f.seat] = at + f.lasts + 3*time.Second
		plan = append(plan, f)
	}
}
