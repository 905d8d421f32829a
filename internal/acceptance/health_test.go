//go:build synctests || integration

package acceptance

import (
	"fmt"
	"strings"

	"payment-capture/internal/simulator"
)

// refusedPayers uses the token of another application, with which every payer is
// refused. The service halts and rejects no order; when the payers are accepted, it
// captures all.
func refusedPayers(w *world) {
	var payers []simulator.Payer
	for i := range 60 {
		payers = append(payers, simulator.Payer{Token: fmt.Sprintf("payer-%d", i), State: "cancelled"})
	}
	if err := w.sim.Apply(simulator.Script{Payers: payers}); err != nil {
		w.t.Fatal(err)
	}
	in := w.start("a")
	w.send(numbered(60, func(i int, o *order) { o.token = fmt.Sprintf("payer-%d", i) })...)
	w.eventually("the service is halted", func() bool {
		api := in.service.Status(w.t.Context()).API
		return api.State == "halted" && api.Cause == "payers_refused" && strings.Contains(api.Reason, "CAPTURE_REFUSAL_RUN")
	})
	for i := range payers {
		payers[i].State = "active"
	}
	if err := w.sim.Apply(simulator.Script{Payers: payers}); err != nil {
		w.t.Fatal(err)
	}
	w.want(w.awaitDecisions(), map[string]int{"captured": 60})
}

// stick lets the API answer six calls for the event "stuck" that it is busy.
func (w *world) stick() {
	w.t.Helper()
	if err := w.sim.Apply(simulator.Script{Rules: []simulator.Rule{
		{Match: simulator.Match{Key: "stuck", ToTry: 6}, Action: simulator.ActionBusy},
	}}); err != nil {
		w.t.Fatal(err)
	}
}

// longestWaiting checks that the status names the event that has waited longest, and
// what it waits for.
func longestWaiting(w *world) {
	w.stick()
	in := w.start("a", oncePerEvent)
	w.send(append([]order{{id: "stuck", order: "o-stuck"}, {id: "behind", order: "o-stuck"}}, numbered(50, nil)...)...)
	w.eventually("only the stuck order waits", func() bool {
		longest := in.service.Status(w.t.Context()).Pipeline.Longest
		return len(longest) == 1 && longest[0].Order == "o-stuck" && longest[0].Event == "stuck" && longest[0].Offset == 0 &&
			longest[0].Commit && longest[0].Calls > 0 && strings.Contains(longest[0].WaitsFor, "HTTP 409") && longest[0].Seconds > 0
	})
	w.want(w.awaitDecisions(), map[string]int{"captured": 52})
	if longest := in.service.Status(w.t.Context()).Pipeline.Longest; len(longest) != 0 {
		w.t.Errorf("afterwards: %+v", longest)
	}
}
