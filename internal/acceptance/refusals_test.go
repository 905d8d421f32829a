//go:build synctests || integration

package acceptance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"payment-capture/internal/config"
	"payment-capture/internal/simulator"
)

// refusalScenarios are about answers that a misconfiguration or a single event may
// cause.
func refusalScenarios() []scenario {
	calm := simulator.Config{Latency: 20 * time.Millisecond}
	return []scenario{
		{"cancelled payers do not delay a good order behind them", 1, calm, cancelledPayersThenAGoodOrder},
		{"a declined payment ends a halt for cancelled payers", 1, calm, declinedAfterCancelledPayers},
		{"refused requests after cancelled payers halt once and are parked", 1, calm, refusedRequestsAfterCancelledPayers},
		{"more cancelled payers than CAPTURE_MAX_IN_FLIGHT do not delay a good order", 1, calm, manyCancelledPayers},
		{"two hundred cancelled payers do not delay a good order among them", 1, calm, manyCancelledPayersAtOnce},
		{"a good order behind cancelled payers with its record key ends the halt", 1, calm, behindCancelled(25, 1)},
		{"a good order behind cancelled payers of six record keys ends the halt", 1, calm, behindCancelled(60, 6)},
		{"a good order behind refused requests with its record key ends the halt", 1, calm, behindBadRequests},
		{"a good order behind a policy refusal with its record key ends the halt", 1, calm, behindPolicyRefusal},
		{"a single cancelled payer is rejected at once", 1, calm, oneCancelledPayer},
		{"a refused request is parked while payers are refused", 1, calm, refusedRequestWhileHalted},
		{"an instance that stops while halted leaves no attempts behind", 1, calm, stoppedWhileHalted},
		{"a firewall blocks one order in two hundred", 3, calm, firewallAmongMany},
		{"a firewall blocks the only order", 1, calm, firewallAlone},
		{"a firewall blocks the only order with problem details", 1, calm, onlyOrder(403, `{"title":"Access denied","status":403}`)},
		{"a firewall blocks the only order with an error of its own", 1, calm, onlyOrder(403, `{"code":"AccessDenied","message":"no"}`)},
		{"a gateway does not know the address of the only order", 1, calm, onlyOrder(404, `{"title":"Not Found","status":404}`)},
		{"a firewall blocks five orders without delaying the others", 1, calm, fiveBlockedOrders},
		{"one payer is answered 401 without a cause", 1, calm, onePayer(simulator.Rule{
			Action: simulator.ActionAnswer, Status: 401, Body: `{"message":"unauthorized"}`,
		})},
		{"one payer whom the API refuses for a policy halts once", 1, calm, onePayerHaltsOnce(simulator.Rule{Action: simulator.ActionForbidden})},
		{"one payer whom the API answers with a refused token halts once", 1, calm, onePayerHaltsOnce(simulator.Rule{
			Action: simulator.ActionError, Status: 401, Code: "401002", Message: "Invalid access token.",
		})},
		{"one payer is answered 405", 1, calm, onePayer(simulator.Rule{Action: simulator.ActionAnswer, Status: 405})},
		{"one payer is answered by a redirect", 1, calm, onePayer(simulator.Rule{
			Action: simulator.ActionAnswer, Status: 302, Headers: map[string]string{"Location": "https://firewall.example/blocked"},
		})},
		{"one payer is answered 404 by a proxy", 1, calm, onePayer(simulator.Rule{Action: simulator.ActionHTML, Status: 404})},
		{"a blocked account without a body halts after a few orders", 1, calm, blockedAccount},
		{"a policy refusal concerns one order once others succeed", 1, calm, policyOfOneOrder},
		{"a policy that refuses some orders halts once", 1, calm, policyOfSomeOrders},
		{"421 is retried", 1, calm, answeredOnce(421)},
		{"421 to every call opens the circuit breaker and parks nothing", 1, calm, misdirectedAlways},
		{"407 to a few calls parks nothing", 1, calm, proxyCredentialAtTimes},
		{"407 halts the service because of the proxy", 1, calm, proxyCredential},
		{"a duplicate error after a lost answer when only the decline is found", 1, calm, duplicateAfterALostAnswer},
	}
}

func (w *world) apply(script simulator.Script) {
	w.t.Helper()
	if err := w.sim.Apply(script); err != nil {
		w.t.Fatal(err)
	}
}

// cancelled cancels the agreements of n payers and returns an order of each.
func (w *world) cancelled(n int) []order {
	w.t.Helper()
	var script simulator.Script
	orders := numbered(n, func(i int, o *order) {
		o.id, o.order, o.token = fmt.Sprintf("gone%d", i), fmt.Sprintf("o-gone%d", i), fmt.Sprintf("payer-gone%d", i)
		script.Payers = append(script.Payers, simulator.Payer{Token: o.token, State: "cancelled"})
	})
	w.apply(script)
	return orders
}

// badRequests makes the API refuse the requests of n orders, and returns the orders.
func (w *world) badRequests(name string, n int) []order {
	w.t.Helper()
	w.apply(simulator.Script{Rules: []simulator.Rule{{
		Match: simulator.Match{ExternalReferencePrefix: "o-" + name}, Action: simulator.ActionError, Status: 400, Code: "400017",
		Message: "Invalid amount.",
	}}})
	return numbered(n, func(i int, o *order) { o.id, o.order = fmt.Sprintf("%s%d", name, i), fmt.Sprintf("o-%s%d", name, i) })
}

// long returns a time in which probes become rare: minutes of virtual time or a few real
// seconds.
func (w *world) long() time.Duration {
	if w.broker.Dial != nil {
		return 5 * time.Minute
	}
	return 4 * time.Second
}

// within waits until the events are decided and checks how long it took. With a real
// broker, which many tests share, a multiple of the limit is allowed.
func (w *world) within(limit time.Duration, ids ...string) {
	w.t.Helper()
	if w.broker.Dial == nil {
		limit *= 3
	}
	began := time.Now()
	w.eventually(fmt.Sprintf("%q are decided", ids), func() bool { return w.decided(ids...) })
	if took := time.Since(began); took > limit {
		w.t.Errorf("%q are decided after %s, want %s", ids, took, limit)
	}
}

// decided reports whether all of the events are decided.
func (w *world) decided(ids ...string) bool {
	decided := make(map[string]bool)
	for _, v := range w.decisions() {
		decided[v.event] = true
	}
	return !slices.ContainsFunc(ids, func(id string) bool { return !decided[id] })
}

func (in *instance) halted(cause string) func() bool {
	return func() bool {
		api := in.service.Status(in.w.t.Context()).API
		return api.State == "halted" && api.Cause == cause
	}
}

// watch fails the test if calls are halted or stopped at any time before stop is called.
func (in *instance) watch() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			if api := in.service.Status(in.w.t.Context()).API; api.State != "passing" {
				in.w.t.Errorf("calls are %s: %s", api.State, api.Reason)
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// checkBlocked checks that records parked as blocked name the last answer.
func (w *world) checkBlocked(vs []decision, answer string) {
	w.t.Helper()
	for _, v := range vs {
		if v.reason == "blocked" && (!strings.Contains(headerOf(v.record, "parked_detail"), answer) ||
			headerOf(v.record, "parked_http_status") == "") {
			w.t.Errorf("parked: %q, HTTP %s", headerOf(v.record, "parked_detail"), headerOf(v.record, "parked_http_status"))
		}
	}
}

// blocked sets a deadline so short that the test sees blocked orders being parked.
func blocked(c *config.Config) { c.CaptureDeadline = 10 * time.Second }

func cancelledPayersThenAGoodOrder(w *world) {
	in := w.start("a")
	w.send(w.cancelled(25)...)
	w.eventually("the service is halted", in.halted("payers_refused"))
	<-time.After(w.long())
	if next := in.service.Status(w.t.Context()).API.NextProbe; next.Before(time.Now().Add(-time.Second)) ||
		next.After(time.Now().Add(31*time.Second)) {
		w.t.Errorf("the next probe is at %s, the time is %s", next, time.Now())
	}
	if vs := w.decisions(); len(vs) != 0 {
		w.t.Errorf("decided while halted: %s", summary(vs))
	}
	w.send(order{id: "good"})
	w.within(10*time.Second, "good")
	w.want(w.awaitDecisions(), map[string]int{"captured": 1, "rejected invalid_payer_token": 25})
	if api := in.service.Status(w.t.Context()).API; api.State != "passing" {
		w.t.Errorf("afterwards: %+v", api)
	}
}

func declinedAfterCancelledPayers(w *world) {
	in := w.start("a")
	orders := w.cancelled(25)
	w.apply(simulator.Script{Payers: []simulator.Payer{{Token: "declined", Decline: "cc_rejected_high_risk"}}})
	w.send(orders...)
	w.eventually("the service is halted", in.halted("payers_refused"))
	<-time.After(w.long())
	w.send(order{id: "declined", token: "declined"})
	w.within(10*time.Second, "declined", "gone0", "gone24")
	w.want(w.awaitDecisions(), map[string]int{"rejected cc_rejected_high_risk": 1, "rejected invalid_payer_token": 25})
	if api := in.service.Status(w.t.Context()).API; api.State != "passing" {
		w.t.Errorf("afterwards: %+v", api)
	}
}

func refusedRequestsAfterCancelledPayers(w *world) {
	in := w.start("a")
	// Nine at a time with a good one, so that there are payments between the refusals
	// whatever the order of the answers.
	sent := 0
	for i, nine := range slices.Collect(slices.Chunk(w.cancelled(27), 9)) {
		w.send(append(nine, order{id: fmt.Sprintf("good%d", i), token: fmt.Sprintf("good-payer%d", i)})...)
		sent += len(nine) + 1
		w.eventually("all orders are decided", func() bool { return len(w.decisions()) == sent })
	}
	w.send(w.badRequests("bad", 25)...)
	w.eventually("the service is halted", in.halted("requests_refused"))
	<-time.After(w.long())
	w.send(order{id: "last"})
	w.within(60*time.Second, "last")
	stop := in.watch() // the same refusals must not halt twice
	vs := w.awaitDecisions()
	w.want(vs, map[string]int{"captured": 4, "rejected invalid_payer_token": 27, "parked refused_request": 25})
	<-time.After(w.long())
	stop()
}

// manyCancelledPayers has more refused events than calls may be in flight.
func manyCancelledPayers(w *world) {
	in := w.start("a", func(c *config.Config) { c.MaxInFlight = 2 })
	w.send(w.cancelled(40)...)
	w.eventually("the service is halted", in.halted("payers_refused"))
	<-time.After(w.long())
	w.send(order{id: "good"})
	w.within(10*time.Second, "good")
	w.want(w.awaitDecisions(), map[string]int{"captured": 1, "rejected invalid_payer_token": 40})
}

// manyCancelledPayersAtOnce has so many that most of them wait when the halt begins. With
// a real broker, which does not speed up the time, there are fewer of them.
func manyCancelledPayersAtOnce(w *world) {
	n := 200
	if w.broker.Dial == nil {
		n = 60
	}
	w.start("a")
	w.send(append(w.cancelled(n), order{id: "good"})...)
	w.within(time.Duration(n)*time.Second, "good")
	<-time.After(w.long())
	w.send(order{id: "last"})
	w.within(10*time.Second, "last")
	w.want(w.awaitDecisions(), map[string]int{"captured": 2, "rejected invalid_payer_token": n})
}

func behindCancelled(n, keys int) func(w *world) {
	return func(w *world) {
		vs := w.behindRefused(w.cancelled(n), keys)
		w.want(vs, map[string]int{"captured": keys, "rejected invalid_payer_token": n})
	}
}

func behindBadRequests(w *world) {
	w.want(w.behindRefused(w.badRequests("bad", 25), 1), map[string]int{"captured": 1, "parked refused_request": 25})
}

// behindRefused sends refused orders that share a few record keys, and a good order behind
// those of each key. The first is followed by another event of its order, which waits for
// it. It returns the decisions.
func (w *world) behindRefused(orders []order, keys int) []decision {
	w.start("a", func(c *config.Config) { c.CaptureRefusalRun = 3 })
	orders[1].order = orders[0].order
	orders = append(orders, numbered(keys, nil)...)
	for i := range orders {
		orders[i].key = fmt.Sprintf("store-%d", i%keys)
	}
	w.send(orders...)
	return w.awaitDecisions()
}

func behindPolicyRefusal(w *world) {
	w.apply(simulator.Script{Rules: []simulator.Rule{{Match: simulator.Match{Key: "odd"}, Action: simulator.ActionForbidden}}})
	w.start("a", blocked)
	w.send(order{id: "odd", key: "store"}, order{id: "good", key: "store"})
	w.within(5*time.Second, "good")
	w.want(w.awaitDecisions(), map[string]int{"captured": 1, "parked blocked": 1})
}

func oneCancelledPayer(w *world) {
	w.start("a")
	w.send(w.cancelled(1)...)
	w.within(10*time.Second, "gone0")
	w.want(w.awaitDecisions(), map[string]int{"rejected invalid_payer_token": 1})
	if calls := w.sim.Charges().Calls; calls != 1 {
		w.t.Errorf("%d calls, want 1", calls)
	}
}

func refusedRequestWhileHalted(w *world) {
	in := w.start("a")
	w.send(w.cancelled(25)...)
	w.eventually("the service is halted", in.halted("payers_refused"))
	w.send(w.badRequests("bad", 1)...)
	w.within(15*time.Second, "bad0")
	if vs := w.decisions(); len(vs) != 1 || !in.halted("payers_refused")() {
		w.t.Errorf("decided while halted: %s", summary(vs))
	}
	w.send(order{id: "good"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1, "rejected invalid_payer_token": 25, "parked refused_request": 1})
}

// stoppedWhileHalted stops an instance while it is halted. Its attempts had no effect
// and are withdrawn, so the next owner rejects or captures as if there had been none.
func stoppedWhileHalted(w *world) {
	in := w.start("a")
	w.apply(simulator.Script{Switches: simulator.Switches{UnknownPayers: "refuse"}})
	w.send(numbered(30, func(i int, o *order) { o.token = fmt.Sprintf("payer-%d", i) })...)
	w.eventually("the service is halted", in.halted("payers_refused"))
	<-time.After(time.Second)
	in.stop()
	if vs := w.decisions(); len(vs) != 0 {
		w.t.Errorf("decided because of the wrong token: %s", summary(vs))
	}
	w.apply(simulator.Script{Switches: simulator.Switches{UnknownPayers: "accept"}})
	w.send(w.cancelled(1)...)
	w.start("b")
	w.want(w.awaitDecisions(), map[string]int{"captured": 30, "rejected invalid_payer_token": 1})
}

func firewallAmongMany(w *world) {
	w.apply(simulator.Script{Rules: []simulator.Rule{{Match: simulator.Match{Key: "e77"}, Action: simulator.ActionHTML, Status: 403}}})
	in := w.start("a", blocked)
	stop := in.watch()
	w.send(numbered(200, nil)...)
	vs := w.awaitDecisions()
	stop()
	w.want(vs, map[string]int{"captured": 199, "parked blocked": 1})
	w.checkBlocked(vs, "HTTP 403")
}

func firewallAlone(w *world) {
	blockedAlone(w, simulator.Rule{Action: simulator.ActionHTML, Status: 403})
}

// onlyOrder answers the only order in JSON that is not the API's.
func onlyOrder(status int, body string) func(w *world) {
	return func(w *world) {
		blockedAlone(w, simulator.Rule{Action: simulator.ActionAnswer, Status: status, Body: body})
	}
}

func blockedAlone(w *world, rule simulator.Rule) {
	rule.Match.Key = "blocked"
	w.apply(simulator.Script{Rules: []simulator.Rule{rule}})
	in := w.start("a", blocked)
	stop := in.watch()
	w.send(order{id: "blocked"})
	w.within(45*time.Second, "blocked")
	stop()
	w.send(order{id: "good"})
	w.within(5*time.Second, "good")
	vs := w.awaitDecisions()
	w.want(vs, map[string]int{"captured": 1, "parked blocked": 1})
	w.checkBlocked(vs, fmt.Sprintf("HTTP %d", rule.Status))
}

func fiveBlockedOrders(w *world) {
	w.apply(simulator.Script{Rules: []simulator.Rule{{
		Match: simulator.Match{ExternalReferencePrefix: "o-blocked"}, Action: simulator.ActionHTML, Status: 403,
	}}})
	in := w.start("a", blocked)
	stop := in.watch()
	w.send(order{id: "first"})
	w.eventually("the first events are decided", func() bool { return len(w.decisions()) == 1 })
	w.send(numbered(5, func(i int, o *order) { o.id, o.order = fmt.Sprintf("blocked%d", i), fmt.Sprintf("o-blocked%d", i) })...)
	for i := range 10 {
		id := fmt.Sprintf("good%d", i)
		w.send(order{id: id})
		w.within(2*time.Second, id)
		<-time.After(time.Second)
	}
	vs := w.awaitDecisions()
	stop()
	w.want(vs, map[string]int{"captured": 11, "parked blocked": 5})
	w.checkBlocked(vs, "HTTP 403")
}

// onePayer applies a rule to the orders of one payer, among those of others.
func onePayer(rule simulator.Rule) func(w *world) {
	rule.Match.PayerToken = "odd"
	return func(w *world) {
		w.apply(simulator.Script{Rules: []simulator.Rule{rule}})
		in := w.start("a", blocked)
		stop := in.watch()
		w.send(numbered(40, func(i int, o *order) {
			if i%20 == 7 {
				o.token = "odd"
			}
		})...)
		vs := w.awaitDecisions()
		stop()
		w.want(vs, map[string]int{"captured": 38, "parked blocked": 2})
		w.checkBlocked(vs, fmt.Sprintf("HTTP %d", rule.Status))
	}
}

// onePayerHaltsOnce has the API itself refuse every order of one payer, among those of
// others.
func onePayerHaltsOnce(rule simulator.Rule) func(w *world) {
	rule.Match.PayerToken = "odd"
	return func(w *world) {
		w.apply(simulator.Script{Rules: []simulator.Rule{rule}})
		in := w.start("a", blocked)
		orders := numbered(60, func(i int, o *order) {
			o.token = fmt.Sprintf("payer-%d", i)
			if i%10 == 5 {
				o.token = "odd"
			}
		})
		w.send(orders[:10]...)
		w.within(10*time.Second, "e0", "e9")
		w.send(order{id: "good"})
		w.within(10*time.Second, "good")
		stop := in.watch()
		for _, o := range orders[10:] {
			w.send(o)
			<-time.After(100 * time.Millisecond)
		}
		vs := w.awaitDecisions()
		stop()
		w.want(vs, map[string]int{"captured": 55, "parked blocked": 6})
		w.checkBlocked(vs, "HTTP 40")
	}
}

func blockedAccount(w *world) {
	rules := []simulator.Rule{{Action: simulator.ActionForbidden, Empty: true}}
	w.apply(simulator.Script{Rules: rules})
	in := w.start("a", blocked)
	w.send(numbered(20, nil)...)
	w.eventually("the service is halted", in.halted("account"))
	<-time.After(w.long())
	if vs := w.decisions(); len(vs) != 0 {
		w.t.Errorf("decided while halted: %s", summary(vs))
	}
	w.sim.ClearScript()
	w.want(w.awaitDecisions(), map[string]int{"captured": 20})
}

func policyOfOneOrder(w *world) {
	w.apply(simulator.Script{Rules: []simulator.Rule{{Match: simulator.Match{Key: "odd"}, Action: simulator.ActionForbidden}}})
	in := w.start("a", blocked)
	w.send(order{id: "odd"})
	w.eventually("the service is halted", in.halted("account"))
	<-time.After(w.long())
	if vs := w.decisions(); len(vs) != 0 {
		w.t.Errorf("decided while halted: %s", summary(vs))
	}
	w.send(numbered(10, nil)...)
	w.within(5*time.Second, "e0", "e9")
	stop := in.watch()
	vs := w.awaitDecisions()
	stop()
	w.want(vs, map[string]int{"captured": 10, "parked blocked": 1})
	w.checkBlocked(vs, "HTTP 403")
}

// policyOfSomeOrders has the API refuse some orders, of different payers, among others that
// succeed.
func policyOfSomeOrders(w *world) {
	w.apply(simulator.Script{Rules: []simulator.Rule{{
		Match: simulator.Match{ExternalReferencePrefix: "o-odd"}, Action: simulator.ActionForbidden,
	}}})
	in := w.start("a", blocked)
	odd := func(i int) order {
		return order{id: fmt.Sprintf("odd%d", i), order: fmt.Sprintf("o-odd%d", i), token: fmt.Sprintf("payer-odd%d", i)}
	}
	w.send(odd(0))
	w.eventually("the service is halted", in.halted("account"))
	w.send(order{id: "first"})
	w.within(5*time.Second, "first")
	stop := in.watch()
	for i := range 60 {
		w.send(order{id: fmt.Sprintf("good%d", i)})
		if i%5 == 4 {
			w.send(odd(i))
		}
		<-time.After(100 * time.Millisecond)
	}
	vs := w.awaitDecisions()
	stop()
	w.want(vs, map[string]int{"captured": 61, "parked blocked": 13})
}

// answeredOnce answers two calls in a hundred with a status.
func answeredOnce(status int) func(w *world) {
	return func(w *world) {
		w.apply(simulator.Script{Rules: []simulator.Rule{
			{Match: simulator.Match{Key: "e13", ToTry: 1}, Action: simulator.ActionHTML, Status: status},
			{Match: simulator.Match{Key: "e42", ToTry: 2}, Action: simulator.ActionAnswer, Status: status},
		}})
		in := w.start("a")
		stop := in.watch()
		w.send(numbered(100, nil)...)
		w.want(w.awaitDecisions(), map[string]int{"captured": 100})
		stop()
	}
}

func misdirectedAlways(w *world) {
	w.apply(simulator.Script{Rules: []simulator.Rule{{Action: simulator.ActionHTML, Status: 421}}})
	in := w.start("a")
	w.send(numbered(30, nil)...)
	w.eventually("the circuit breaker opens", func() bool {
		return strings.HasPrefix(in.service.Status(w.t.Context()).API.State, "circuit")
	})
	<-time.After(w.long())
	if vs := w.decisions(); len(vs) != 0 {
		w.t.Errorf("decided while every connection is misdirected: %s", summary(vs))
	}
	w.sim.ClearScript()
	w.want(w.awaitDecisions(), map[string]int{"captured": 30})
}

// proxyCredentialAtTimes has one of several proxies whose credential is wrong.
func proxyCredentialAtTimes(w *world) {
	w.apply(simulator.Script{Rules: []simulator.Rule{
		{Match: simulator.Match{Key: "e13", ToTry: 1}, Action: simulator.ActionHTML, Status: 407},
		{Match: simulator.Match{Key: "e42", ToTry: 2}, Action: simulator.ActionHTML, Status: 407},
	}})
	in := w.start("a", blocked)
	w.send(numbered(100, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 100})
	if api := in.service.Status(w.t.Context()).API; api.State != "passing" {
		w.t.Errorf("afterwards: %+v", api)
	}
}

func proxyCredential(w *world) {
	w.apply(simulator.Script{Rules: []simulator.Rule{{Action: simulator.ActionHTML, Status: 407}}})
	in := w.start("a", blocked)
	w.send(numbered(30, nil)...)
	w.eventually("the service is halted because of the proxy", func() bool {
		return in.halted("proxy")() && strings.Contains(in.service.Status(w.t.Context()).API.Reason, "HTTPS_PROXY")
	})
	<-time.After(w.long())
	if vs := w.decisions(); len(vs) != 0 {
		w.t.Errorf("decided while halted: %s", summary(vs))
	}
	w.sim.ClearScript()
	w.want(w.awaitDecisions(), map[string]int{"captured": 30})
}

// duplicateAfterALostAnswer has a first call that may have charged another payment than
// the one that the lookup finds.
func duplicateAfterALostAnswer(w *world) {
	w.apply(simulator.Script{Rules: []simulator.Rule{
		{Match: simulator.Match{Key: "e1", ToTry: 1}, Action: simulator.ActionDrop},
		{Match: simulator.Match{Key: "e1"}, Action: simulator.ActionDecline, StatusDetail: "cc_rejected_duplicated_payment"},
	}})
	w.start("a")
	w.send(order{id: "e1"}, order{id: "e2"})
	vs := w.awaitDecisions()
	w.want(vs, map[string]int{"captured": 1, "parked error_after_unknown": 1})
	for _, v := range vs {
		if v.kind == "parked" && !strings.Contains(headerOf(v.record, "parked_detail"), "duplicate") {
			w.t.Errorf("parked: %s", headerOf(v.record, "parked_detail"))
		}
	}
}
