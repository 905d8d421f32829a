//go:build synctests

package simtest

import (
	"slices"
	"strconv"
	"time"

	"payment-capture/internal/config"
	"payment-capture/internal/ledger"
)

// retention gives some runs a ledger that forgets, if the service accepts their other
// settings. In some of them it forgets all of the first phase before the second one.
func (g *generator) retention() {
	p, a := g.p, g.p.second
	if p.oncePer == config.OncePerReference || p.maxEventAge == 0 || !g.chance(40) {
		return
	}
	p.duplicateWindow = 60 * time.Hour // longer than any other time in which all instances are down
	p.retention = p.maxEventAge + p.horizon + p.duplicateWindow + time.Hour
	if a == nil || a.recreateLedger || a.suspendFirst || g.conflicting() || g.chance(20) {
		return
	}
	a.forgets, a.forgetKeys, a.down = true, true, p.retention+time.Hour
	if a.deletes = g.chance(50); a.deletes {
		a.down += ledger.SweepEvery
	}
}

// conflicting reports whether two events have one id. Once the first one is forgotten the
// second is an event like any other, which the checks do not expect.
func (g *generator) conflicting() bool {
	return slices.ContainsFunc(g.p.waves, func(w wave) bool {
		return slices.ContainsFunc(w.records, func(s *sentRecord) bool { return s.event.conflicts })
	})
}

// ledgerConfig returns the configuration of the ledger's topic.
func (p *plan) ledgerConfig() map[string]*string {
	if p.retention == 0 {
		return map[string]*string{"cleanup.policy": new("compact")}
	}
	return map[string]*string{
		"cleanup.policy": new("compact,delete"),
		"retention.ms":   new(strconv.FormatInt((p.retention + ledger.SweepEvery).Milliseconds(), 10)),
	}
}

// forgotten reports whether the ledger may have forgotten an event in the second phase.
func (h *harness) forgotten(e *plannedEvent) bool {
	return h.plan.second != nil && h.plan.second.forgets && e != nil && !e.at.IsZero() && e.at.Before(h.secondBegan)
}

// checkForgotten checks the decisions on an event that the ledger may have forgotten. An
// instance that has forgotten it parks it again, and another one answers as before; none
// decides it.
func (h *harness) checkForgotten(j *eventDecisions) {
	first, parked, limit := 0, 0, 2*len(j.partitions)+j.resent
	for _, v := range j.got {
		switch {
		case v.kind == topicParked:
			parked++
		case !v.replayed:
			if first++; !v.written.Before(h.secondBegan) {
				h.violate("decision: event %s (%s) was forgotten, and is %s", j.id, j.event.kind, v.word())
			}
		}
	}
	skipped := j.event.allowed[0] == isSkipped
	if first > 1 || parked > limit || len(j.got) > j.copies || (len(j.got) == 0) != skipped {
		h.violate("decision: event %s (%s) was sent %d times, and forgotten, and has %v", j.id, j.event.kind, j.copies, j.got)
	}
}
