//go:build synctests

package simtest

import (
	"fmt"
	"runtime"
	"strings"
	"time"
)

// result is what one run adds to the totals.
type result struct {
	stuck, kills, idleKills, faults, calls, charges, exits int
	virtual                                                time.Duration
	violations                                             []string
	report                                                 string // of a failed run
}

// stacks returns the stacks of the goroutines in bubbles.
func stacks() string {
	all := make([]byte, 4<<20)
	var b strings.Builder
	for g := range strings.SplitSeq(string(all[:runtime.Stack(all, true)]), "\n\n") {
		if head, _, _ := strings.Cut(g, "\n"); strings.Contains(head, "synctest bubble") {
			fmt.Fprintf(&b, "%s\n\n", g)
		}
	}
	return b.String()
}

func (h *harness) result() result {
	r := result{
		kills: h.kills, idleKills: h.idleKills, violations: h.violations, exits: len(h.exits),
		faults: h.losses + h.plan.apiFaults + len(h.plan.broker) + len(h.plan.fences), virtual: h.lasted,
	}
	if h.groupStuck.Load() {
		r.stuck = 1
	}
	if h.sim != nil {
		charges := h.sim.Charges()
		r.calls, r.charges = charges.Calls, len(charges.List)
	}
	if len(h.violations) > 0 {
		r.report = h.String()
	}
	return r
}

// String returns everything that is known of a run.
func (h *harness) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "violations:\n  %s\n\nPLAN\n%s", strings.Join(h.violations, "\n  "), h.plan)
	fmt.Fprintf(&b, "\nTRACE (requests, in virtual time since the beginning)\n%s", h.trace.String())
	if h.stacks != "" {
		fmt.Fprintf(&b, "\nGOROUTINES\n%s", h.stacks)
	}
	b.WriteString("\nDECISIONS\n")
	for _, v := range h.decisions {
		fmt.Fprintf(&b, "  %s\n", v)
	}
	if h.sim != nil {
		b.WriteString("\nLEDGER TOPIC\n")
		for _, e := range h.entries {
			fmt.Fprintf(&b, "  %8.3fs %s\n", e.written.Sub(h.began).Seconds(), e)
		}
		b.WriteString("\nCHARGES\n")
		for _, c := range h.sim.Charges().List {
			fmt.Fprintf(&b, "  %8.3fs key %s reference %s amount %s payment %d\n",
				c.Time.Sub(h.began).Seconds(), c.Key, c.ExternalReference, c.Amount, c.PaymentID)
		}
	}
	fmt.Fprintf(&b, "\nUNEXPECTED EXITS\n  %s\n\nLOG\n%s", strings.Join(h.exits, "\n  "), h.log.String())
	return b.String()
}
