package replay

import (
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/rules"
)

func rulesForTest() Rules {
	return Rules{Rules: rules.Rules{
		Currency: "MXN", MaxEventAge: 7 * 24 * time.Hour, KeyRetention: 24 * time.Hour, Account: "main", Encoding: mercadopago.EncodingVersion,
	}}
}

// TestLookRequiresATime decodes as a service with EVENT_TIME_REQUIRED does.
func TestLookRequiresATime(t *testing.T) {
	t.Parallel()
	timeless, timed := order{id: "e1"}, order{id: "e1", time: now().Format(time.RFC3339)}
	for _, required := range []bool{false, true} {
		r := rulesForTest()
		r.Decoder.TimeRequired = required
		for _, o := range []order{timeless, timed} {
			m := event.Message{Value: o.json(), Timestamp: now()}
			s := look(m, &r)
			valid := o.time != "" || !required
			if (s.event != nil) != valid || !s.ours() || (!valid && s.id != event.RecordID(m)) {
				t.Errorf("required %t, time %q: got %+v", required, o.time, s)
			}
			if s.ownTime() != (o.time != "") {
				t.Errorf("required %t, time %q: own time %t", required, o.time, s.ownTime())
			}
		}
	}
}

// TestClassify has a row for each thing that the service can do with a record,
// and for each bound between two of them.
func TestClassify(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	fresh := func(change func(*order)) *event.ReadyToCapture {
		o := order{id: "e1", time: now().Format(time.RFC3339)}
		if change != nil {
			change(&o)
		}
		return decoded(t, o)
	}
	aged := func(by time.Duration) *event.ReadyToCapture {
		return fresh(func(o *order) { o.time = now().Add(-by).Format(time.RFC3339) })
	}
	e := fresh(nil)
	body := event.FingerprintOf([]byte("body"))
	tried := func(ago time.Duration) *event.Attempt {
		return &event.Attempt{First: now().Add(-ago), Event: e.Fingerprint(), Body: body, Encoding: mercadopago.EncodingVersion, Account: "main"}
	}
	triedOtherwise := func(change func(*event.Attempt)) event.History {
		a := tried(time.Minute)
		change(a)
		return event.History{Attempt: a}
	}
	ended := func(outcome string) event.History {
		return event.History{Decision: &event.Decision{
			At: now().Add(-day), Attempt: *tried(day), Result: event.Result{Outcome: &event.Outcome{Type: outcome}},
		}}
	}
	at := now().Add(-time.Hour)
	parked := func(first time.Time) event.History {
		d := &event.Decision{At: at, Attempt: event.Attempt{Event: e.Fingerprint()}, Result: event.Result{ParkInfo: &event.ParkInfo{}}}
		if !first.IsZero() {
			d.Attempt = *tried(now().Sub(first))
		}
		return event.History{Decision: d}
	}
	otherAmount := fresh(func(o *order) { o.amount = "11.00" })
	uncalled := func(on *event.ReadyToCapture, superseded ...event.Fingerprint) event.History {
		return event.History{Decision: &event.Decision{
			At: at, Attempt: event.AttemptOf(on), Content: on.Content(), Superseded: superseded, Result: event.Result{ParkInfo: &event.ParkInfo{}},
		}}
	}
	mark := func(parkedAt, first time.Time) *event.Resend {
		return &event.Resend{ParkedAt: parkedAt, FirstAttempt: first}
	}
	onRecord := &event.Decision{At: at, Result: event.Result{ParkInfo: &event.ParkInfo{}}}
	once := rulesForTest()
	once.Guard = rules.GuardReference
	payment := rulesForTest()
	payment.Guard, payment.DuplicateWindow = rules.GuardPayment, 2*day
	noAge := rulesForTest()
	noAge.MaxEventAge = 0
	another := []event.Known{{EventID: "e0", History: event.History{Decision: &event.Decision{
		At: now().Add(-day), Result: event.Result{Outcome: &event.Outcome{Type: event.TypeCaptured, EventID: "e0"}},
	}}}}
	patient := rulesForTest()
	patient.MaxEventLead = time.Hour
	var none time.Time

	for name, test := range map[string]struct {
		c     rules.Case
		rules Rules // zero: the usual ones
		want  Class
	}{
		"captured": {c: rules.Case{Event: e, History: ended(event.TypeCaptured)}, want: AnsweredCaptured},
		"captured, old": {
			c: rules.Case{
				Event:   aged(400 * day),
				History: event.History{Decision: &event.Decision{Result: event.Result{Outcome: &event.Outcome{Type: event.TypeCaptured}}}},
			},
			want: AnsweredCaptured,
		},
		"captured, and marked": {
			c:    rules.Case{Event: e, History: ended(event.TypeCaptured), Resend: mark(now().Add(-day), none)},
			want: AnsweredCaptured,
		},
		"rejected": {c: rules.Case{Event: e, History: ended(event.TypeRejected)}, want: AnsweredRejected},
		"parked":   {c: rules.Case{Event: e, History: parked(none)}, want: StaysParked},
		"parked, another mark": {
			c:    rules.Case{Event: e, History: parked(none), Resend: mark(at.Add(-time.Millisecond), none)},
			want: StaysParked,
		},
		"parked, marked": {c: rules.Case{Event: e, History: parked(none), Resend: mark(at, none)}, want: First},
		"parked as too old, marked": {c: rules.Case{
			Event: aged(8 * day), History: event.History{Decision: onRecord},
			Resend: mark(at, none),
		}, want: First},
		"parked, marked, tried": {
			c:    rules.Case{Event: e, Body: body, History: parked(now().Add(-time.Hour)), Resend: mark(at, none)},
			want: Again,
		},
		"parked, marked, tried long ago": {c: rules.Case{
			Event: e, Body: body, History: parked(now().Add(-25 * time.Hour)),
			Resend: mark(at, none),
		}, want: LookUpThenPark},
		"the mark's first attempt counts": {
			c:    rules.Case{Event: e, History: parked(none), Resend: mark(at, now().Add(-25*time.Hour))},
			want: LookUpThenPark,
		},
		"parked before the ledger":        {c: rules.Case{Event: e, Resend: mark(at, none)}, want: First},
		"parked before the ledger, old":   {c: rules.Case{Event: aged(8 * day), Resend: mark(at, none)}, want: ParkTooOld},
		"parked before the ledger, ahead": {c: rules.Case{Event: aged(-day), Resend: mark(at, none)}, want: ParkInFuture},
		"parked in the future, marked": {c: rules.Case{
			Event: aged(-day), History: event.History{Decision: onRecord},
			Resend: mark(at, none),
		}, want: First},
		"parked before the ledger, tried": {c: rules.Case{Event: e, Resend: mark(at, now().Add(-2*time.Hour))}, want: LookUpFirst},
		"tried, and the mark says later": {
			c: rules.Case{
				Event:   e,
				History: event.History{Attempt: &event.Attempt{First: now().Add(-2 * time.Hour)}}, Resend: mark(at, now().Add(-time.Minute)),
			},
			want: LookUpFirst,
		},
		"tried, and the mark says earlier": {
			c: rules.Case{
				Event:   e,
				History: event.History{Attempt: &event.Attempt{First: now().Add(-time.Minute)}}, Resend: mark(at, now().Add(-2*time.Hour)),
			},
			want: LookUpFirst,
		},
		"parked in a wrong currency still": {
			c:    rules.Case{Event: fresh(func(o *order) { o.currency = "BRL" }), Resend: mark(at, none)},
			want: ParkWrongCurrency,
		},

		"never tried":           {c: rules.Case{Event: e}, want: First},
		"as old as may be":      {c: rules.Case{Event: aged(7 * day)}, want: First},
		"too old":               {c: rules.Case{Event: aged(7*day + time.Second)}, want: ParkTooOld},
		"none is too old":       {c: rules.Case{Event: aged(400 * day)}, rules: noAge, want: First},
		"a little ahead":        {c: rules.Case{Event: aged(-5 * time.Minute)}, want: First},
		"in the future":         {c: rules.Case{Event: aged(-5*time.Minute - time.Second)}, want: ParkInFuture},
		"waits for its time":    {c: rules.Case{Event: aged(-time.Hour)}, rules: patient, want: Waits},
		"too far ahead to wait": {c: rules.Case{Event: aged(-time.Hour - time.Second)}, rules: patient, want: ParkInFuture},
		"waits, and a rival": {
			c:     rules.Case{Event: aged(-time.Hour), Known: another},
			rules: func() Rules { r := patient; r.Guard = rules.GuardReference; return r }(), want: ParkReference,
		},
		"ahead, and tried": {
			c:     rules.Case{Event: aged(-time.Hour), Body: body, History: event.History{Attempt: &event.Attempt{First: now()}}},
			rules: patient, want: Again,
		},

		"parked without a call":         {c: rules.Case{Event: e, History: uncalled(e)}, want: StaysParked},
		"its time corrected":            {c: rules.Case{Event: aged(time.Minute), History: uncalled(e)}, want: First},
		"its amount corrected":          {c: rules.Case{Event: otherAmount, History: uncalled(e)}, want: First},
		"corrected, and too old":        {c: rules.Case{Event: aged(8 * day), History: uncalled(e)}, want: ParkTooOld},
		"corrected, and that is parked": {c: rules.Case{Event: e, History: uncalled(otherAmount, e.Content())}, want: Corrected},
		"corrected, and that is parked, mark": {
			c:    rules.Case{Event: e, History: uncalled(otherAmount, e.Content()), Resend: mark(at, none)},
			want: Corrected,
		},
		"another currency": {c: rules.Case{Event: fresh(func(o *order) { o.currency = "BRL" })}, want: ParkWrongCurrency},
		"another currency, and too old": {
			c:    rules.Case{Event: fresh(func(o *order) { o.currency, o.time = "BRL", "2020-01-01T00:00:00Z" })},
			want: ParkWrongCurrency,
		},
		"a rival":                       {c: rules.Case{Event: e, Known: another}, rules: once, want: ParkReference},
		"a rival, for the same payment": {c: rules.Case{Event: e, Known: another}, rules: payment, want: ParkDuplicate},
		"a rival that does not matter":  {c: rules.Case{Event: e, Known: another}, want: First},
		"a rival of one that was tried": {c: rules.Case{
			Event: e, Body: body, History: event.History{Attempt: tried(time.Minute)},
			Known: another,
		}, rules: once, want: LookUpThenPark},
		"a rival of one that is too old": {c: rules.Case{Event: aged(8 * day), Known: another}, rules: once, want: ParkTooOld},

		"tried": {c: rules.Case{Event: e, Body: body, History: event.History{Attempt: tried(time.Hour)}}, want: Again},
		"tried, too old by its age": {c: rules.Case{
			Event: aged(8 * day), Body: body,
			History: event.History{Attempt: &event.Attempt{First: now().Add(-time.Minute)}},
		}, want: Again},
		"tried over an hour ago": {
			c:    rules.Case{Event: e, Body: body, History: event.History{Attempt: tried(time.Hour + time.Millisecond)}},
			want: LookUpFirst,
		},
		"tried at the horizon": {c: rules.Case{Event: e, Body: body, History: event.History{Attempt: tried(day)}}, want: LookUpFirst},
		"tried past the horizon": {
			c:    rules.Case{Event: e, Body: body, History: event.History{Attempt: tried(day + time.Millisecond)}},
			want: LookUpThenPark,
		},
		"tried a little ahead": {c: rules.Case{Event: e, Body: body, History: event.History{Attempt: tried(-5 * time.Minute)}}, want: Again},
		"tried in the future": {
			c:    rules.Case{Event: e, Body: body, History: event.History{Attempt: tried(-5*time.Minute - time.Second)}},
			want: LookUpThenPark,
		},
		"tried, currency changed": {c: rules.Case{
			Event:   fresh(func(o *order) { o.currency = "BRL" }),
			History: event.History{Attempt: &event.Attempt{First: now()}},
		}, want: LookUpThenPark},
		"tried for another account": {c: rules.Case{
			Event: e, Body: body,
			History: triedOtherwise(func(a *event.Attempt) { a.Account = "other" }),
		}, want: LookUpThenPark},
		"tried in another layout": {
			c:    rules.Case{Event: e, Body: body, History: triedOtherwise(func(a *event.Attempt) { a.Encoding++ })},
			want: LookUpThenPark,
		},
		"tried with another body": {
			c:    rules.Case{Event: e, Body: event.FingerprintOf(nil), History: event.History{Attempt: tried(time.Minute)}},
			want: LookUpThenPark,
		},
		"tried, nobody knows how": {c: rules.Case{
			Event: e, Body: body,
			History: triedOtherwise(func(a *event.Attempt) { a.Body = event.Fingerprint{} }),
		}, want: Again},

		"another amount than decided": {c: rules.Case{
			Event:   fresh(func(o *order) { o.amount = "11.00" }),
			History: ended(event.TypeCaptured),
		}, want: ParkConflicting},
		"another amount than tried": {c: rules.Case{
			Event:   fresh(func(o *order) { o.amount = "11.00" }),
			History: event.History{Attempt: tried(time.Minute)},
		}, want: ParkConflicting},
		"conflicting, parked": {c: rules.Case{
			Event:   fresh(func(o *order) { o.amount = "11.00" }),
			History: ended(event.TypeCaptured), Record: onRecord,
		}, want: StaysParked},
		"conflicting, parked, marked": {c: rules.Case{
			Event:   fresh(func(o *order) { o.amount = "11.00" }),
			History: ended(event.TypeCaptured), Record: onRecord, Resend: mark(at, none),
		}, want: ParkConflicting},
		"invalid":                             {c: rules.Case{}, want: ParkInvalid},
		"invalid, parked":                     {c: rules.Case{Record: onRecord}, want: StaysParked},
		"invalid, parked, marked":             {c: rules.Case{Record: onRecord, Resend: mark(at, none)}, want: ParkInvalid},
		"invalid, parked, marked for another": {c: rules.Case{Record: onRecord, Resend: mark(at.Add(time.Second), none)}, want: StaysParked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			book := test.rules
			if book == (Rules{}) {
				book = rulesForTest()
			}
			if got := book.Classify(test.c, now()); got != test.want {
				t.Errorf("got %s, want %s", string(got), string(test.want))
			}
		})
	}
}

// TestClassesAreListed holds the list, the texts and the kinds of class to each
// other.
func TestClassesAreListed(t *testing.T) {
	t.Parallel()
	texts := make(map[string]Class)
	for _, c := range Classes() {
		text := c.String()
		if other, twice := texts[text]; twice || text == string(c) {
			t.Errorf("%s has the text %q, as has %s", string(c), text, string(other))
		}
		texts[text] = c
		if c.Calls() && c.parkedAtOnce() {
			t.Errorf("%s calls and is parked at once", string(c))
		}
	}
	if len(texts) != 26 {
		t.Errorf("%d classes", len(texts))
	}
}
