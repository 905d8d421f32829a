package simulator

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/shopspring/decimal"
)

// scriptedRule is a Rule in force.
type scriptedRule struct {
	Rule
	place  int              // among all rules; keeps the dice of two rules apart
	taken  int              // how often it was the one
	amount *decimal.Decimal // Match.Amount
}

func newScriptedRule(r Rule, place int) *scriptedRule {
	scripted := &scriptedRule{Rule: r, place: place}
	if r.Match.Amount != "" {
		if amount, err := parseAmount(r.Match.Amount); err == nil { // validate has seen it
			scripted.amount = &amount
		}
	}
	if scripted.Match.On == "" {
		scripted.Match.On = OnCapture
	}
	return scripted
}

// subject is what a rule is matched against.
type subject struct {
	on        Operation
	reference string
	// dice is what a probability depends on: the key of a capture, or kind and reference
	// of a read; try is its number.
	dice string
	try  int
	// capture is set for captures only.
	capture *post
}

// match returns the first rule for the subject whose kind is wanted and counts it
// as taken, or nil. The caller holds the lock.
func (s *Simulator) match(about subject, wanted func(kind) bool) *scriptedRule {
	for _, r := range s.rules {
		if !wanted(r.Action.kind()) || (r.Times > 0 && r.taken >= r.Times) {
			continue
		}
		if r.fits(about) && s.diceHit(r, about) {
			r.taken++
			return r
		}
	}
	return nil
}

func anyKind(kind) bool     { return true }
func onlyFault(k kind) bool { return k != outcome }
func outcomes(k kind) bool  { return k == outcome }

func (r *scriptedRule) fits(about subject) bool {
	m := r.Match
	if m.On != about.on ||
		(m.ExternalReference != "" && m.ExternalReference != about.reference) ||
		!strings.HasPrefix(about.reference, m.ExternalReferencePrefix) {
		return false
	}
	p := about.capture
	if p == nil {
		return true
	}
	return (m.PayerToken == "" || m.PayerToken == p.request.payerToken) &&
		(r.amount == nil || (p.request.amountText != "" && r.amount.Equal(p.request.amount))) &&
		(m.Key == "" || m.Key == p.key) &&
		(m.Description == "" || m.Description == p.request.description) &&
		about.try >= m.FromTry && (m.ToTry == 0 || about.try <= m.ToTry)
}

// diceHit decides a probability by a hash alone, so that a run is repeatable
// however its goroutines are scheduled.
func (s *Simulator) diceHit(r *scriptedRule, about subject) bool {
	if r.Match.Probability == nil {
		return true
	}
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %d %d %s", s.cfg.Seed, r.place, about.try, about.dice) // a hash takes all
	// FNV leaves the high bits of similar inputs alike; the finaliser of MurmurHash3
	// spreads them. The upper 53 bits make an evenly spaced number in [0, 1).
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return float64(x>>11)/(1<<53) < *r.Match.Probability
}

// readPlan applies the rules for reads to honest, the true answer. The caller holds the
// lock.
func (s *Simulator) readPlan(on Operation, reference string, honest reply) plan {
	about := subject{on: on, reference: reference, dice: string(on) + " " + reference}
	if s.anyRuleOn(on) {
		s.reads[about.dice]++
		about.try = s.reads[about.dice]
	}
	rule := s.match(about, anyKind)
	if rule == nil {
		return plan{reply: honest}
	}
	if rule.Action == ActionUsual {
		return plan{reply: honest, wait: rule.wait()}
	}
	return s.faultPlan(rule, honest)
}

// anyRuleOn reports whether reads need to be counted for a rule.
func (s *Simulator) anyRuleOn(on Operation) bool {
	for _, r := range s.rules {
		if r.Match.On == on {
			return true
		}
	}
	return false
}
