package replay

import (
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
	"payment-capture/internal/rules"
)

func rulesForTest() Rules {
	return Rules{Rules: rules.Rules{Currency: "MXN", MaxEventAge: 7 * 24 * time.Hour}, Account: "main", KeyHorizon: 24 * time.Hour}
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
	once.OncePerReference = true
	noAge := rulesForTest()
	noAge.MaxEventAge = 0
	forEver := rulesForTest()
	forEver.KeyHorizon = 0
	patient := rulesForTest()
	patient.MaxEventLead = time.Hour
	var none time.Time

	for name, test := range map[string]struct {
		c     Case
		rules Rules // zero: the usual ones
		want  Class
	}{
		"captured":                         {c: Case{Event: e, History: ended(event.TypeCaptured)}, want: AnsweredCaptured},
		"captured, old":                    {c: Case{Event: aged(400 * day), History: event.History{Decision: &event.Decision{Result: event.Result{Outcome: &event.Outcome{Type: event.TypeCaptured}}}}}, want: AnsweredCaptured},
		"captured, and marked":             {c: Case{Event: e, History: ended(event.TypeCaptured), Resend: mark(now().Add(-day), none)}, want: AnsweredCaptured},
		"rejected":                         {c: Case{Event: e, History: ended(event.TypeRejected)}, want: AnsweredRejected},
		"parked":                           {c: Case{Event: e, History: parked(none)}, want: StaysParked},
		"parked, another mark":             {c: Case{Event: e, History: parked(none), Resend: mark(at.Add(-time.Millisecond), none)}, want: StaysParked},
		"parked, marked":                   {c: Case{Event: e, History: parked(none), Resend: mark(at, none)}, want: First},
		"parked as too old, marked":        {c: Case{Event: aged(8 * day), History: event.History{Decision: onRecord}, Resend: mark(at, none)}, want: First},
		"parked, marked, tried":            {c: Case{Event: e, Body: body, History: parked(now().Add(-time.Hour)), Resend: mark(at, none)}, want: Again},
		"parked, marked, tried long ago":   {c: Case{Event: e, Body: body, History: parked(now().Add(-25 * time.Hour)), Resend: mark(at, none)}, want: LookUpThenPark},
		"the mark's first attempt counts":  {c: Case{Event: e, History: parked(none), Resend: mark(at, now().Add(-25*time.Hour))}, want: LookUpThenPark},
		"parked before the ledger":         {c: Case{Event: e, Resend: mark(at, none)}, want: First},
		"parked before the ledger, old":    {c: Case{Event: aged(8 * day), Resend: mark(at, none)}, want: ParkTooOld},
		"parked before the ledger, ahead":  {c: Case{Event: aged(-day), Resend: mark(at, none)}, want: ParkInFuture},
		"parked in the future, marked":     {c: Case{Event: aged(-day), History: event.History{Decision: onRecord}, Resend: mark(at, none)}, want: First},
		"parked before the ledger, tried":  {c: Case{Event: e, Resend: mark(at, now().Add(-2*time.Hour))}, want: LookUpFirst},
		"tried, and the mark says later":   {c: Case{Event: e, History: event.History{Attempt: &event.Attempt{First: now().Add(-2 * time.Hour)}}, Resend: mark(at, now().Add(-time.Minute))}, want: LookUpFirst},
		"tried, and the mark says earlier": {c: Case{Event: e, History: event.History{Attempt: &event.Attempt{First: now().Add(-time.Minute)}}, Resend: mark(at, now().Add(-2*time.Hour))}, want: LookUpFirst},
		"parked in a wrong currency still": {c: Case{Event: fresh(func(o *order) { o.currency = "BRL" }), Resend: mark(at, none)}, want: ParkWrongCurrency},

		"never tried":           {c: Case{Event: e}, want: First},
		"as old as may be":      {c: Case{Event: aged(7 * day)}, want: First},
		"too old":               {c: Case{Event: aged(7*day + time.Second)}, want: ParkTooOld},
		"none is too old":       {c: Case{Event: aged(400 * day)}, rules: noAge, want: First},
		"a little ahead":        {c: Case{Event: aged(-5 * time.Minute)}, want: First},
		"in the future":         {c: Case{Event: aged(-5*time.Minute - time.Second)}, want: ParkInFuture},
		"waits for its time":    {c: Case{Event: aged(-time.Hour)}, rules: patient, want: Waits},
		"too far ahead to wait": {c: Case{Event: aged(-time.Hour - time.Second)}, rules: patient, want: ParkInFuture},
		"waits, and a rival":    {c: Case{Event: aged(-time.Hour), Rival: true}, rules: func() Rules { r := patient; r.OncePerReference = true; return r }(), want: ParkReference},
		"ahead, and tried":      {c: Case{Event: aged(-time.Hour), Body: body, History: event.History{Attempt: &event.Attempt{First: now()}}}, rules: patient, want: Again},

		"parked without a call":                {c: Case{Event: e, History: uncalled(e)}, want: StaysParked},
		"its time corrected":                   {c: Case{Event: aged(time.Minute), History: uncalled(e)}, want: First},
		"its amount corrected":                 {c: Case{Event: otherAmount, History: uncalled(e)}, want: First},
		"corrected, and too old":               {c: Case{Event: aged(8 * day), History: uncalled(e)}, want: ParkTooOld},
		"corrected, and that is parked":        {c: Case{Event: e, History: uncalled(otherAmount, e.Content())}, want: Corrected},
		"corrected, and that is parked, mark":  {c: Case{Event: e, History: uncalled(otherAmount, e.Content()), Resend: mark(at, none)}, want: Corrected},
		"corrected after another one called":   {c: Case{Event: otherAmount, History: uncalled(e), Second: true}, want: ParkConflicting},
		"corrected after one called, parked":   {c: Case{Event: otherAmount, History: uncalled(e), Second: true, Record: onRecord}, want: StaysParked},
		"tried, and another one called before": {c: Case{Event: e, Body: body, History: event.History{Attempt: tried(time.Minute)}, Second: true}, want: Again},
		"another currency":                     {c: Case{Event: fresh(func(o *order) { o.currency = "BRL" })}, want: ParkWrongCurrency},
		"another currency, and too old":        {c: Case{Event: fresh(func(o *order) { o.currency, o.time = "BRL", "2020-01-01T00:00:00Z" })}, want: ParkWrongCurrency},
		"a rival":                              {c: Case{Event: e, Rival: true}, rules: once, want: ParkReference},
		"a rival that does not matter":         {c: Case{Event: e, Rival: true}, want: First},
		"a rival of one that was tried":        {c: Case{Event: e, Body: body, History: event.History{Attempt: tried(time.Minute)}, Rival: true}, rules: once, want: LookUpThenPark},
		"a rival of one that is too old":       {c: Case{Event: aged(8 * day), Rival: true}, rules: once, want: ParkTooOld},

		"tried":                     {c: Case{Event: e, Body: body, History: event.History{Attempt: tried(time.Hour)}}, want: Again},
		"tried, too old by its age": {c: Case{Event: aged(8 * day), Body: body, History: event.History{Attempt: &event.Attempt{First: now().Add(-time.Minute)}}}, want: Again},
		"tried over an hour ago":    {c: Case{Event: e, Body: body, History: event.History{Attempt: tried(time.Hour + time.Millisecond)}}, want: LookUpFirst},
		"tried at the horizon":      {c: Case{Event: e, Body: body, History: event.History{Attempt: tried(day)}}, want: LookUpFirst},
		"tried past the horizon":    {c: Case{Event: e, Body: body, History: event.History{Attempt: tried(day + time.Millisecond)}}, want: LookUpThenPark},
		"no horizon":                {c: Case{Event: e, Body: body, History: event.History{Attempt: tried(400 * day)}}, rules: forEver, want: LookUpFirst},
		"tried a little ahead":      {c: Case{Event: e, Body: body, History: event.History{Attempt: tried(-5 * time.Minute)}}, want: Again},
		"tried in the future":       {c: Case{Event: e, Body: body, History: event.History{Attempt: tried(-5*time.Minute - time.Second)}}, want: LookUpThenPark},
		"tried, currency changed":   {c: Case{Event: fresh(func(o *order) { o.currency = "BRL" }), History: event.History{Attempt: &event.Attempt{First: now()}}}, want: LookUpThenPark},
		"tried for another account": {c: Case{Event: e, Body: body, History: triedOtherwise(func(a *event.Attempt) { a.Account = "other" })}, want: LookUpThenPark},
		"tried in another layout":   {c: Case{Event: e, Body: body, History: triedOtherwise(func(a *event.Attempt) { a.Encoding++ })}, want: LookUpThenPark},
		"tried with another body":   {c: Case{Event: e, Body: event.FingerprintOf(nil), History: event.History{Attempt: tried(time.Minute)}}, want: LookUpThenPark},
		"tried, nobody knows how":   {c: Case{Event: e, Body: body, History: triedOtherwise(func(a *event.Attempt) { a.Body = event.Fingerprint{} })}, want: Again},

		"another amount than decided":         {c: Case{Event: fresh(func(o *order) { o.amount = "11.00" }), History: ended(event.TypeCaptured)}, want: ParkConflicting},
		"another amount than tried":           {c: Case{Event: fresh(func(o *order) { o.amount = "11.00" }), History: event.History{Attempt: tried(time.Minute)}}, want: ParkConflicting},
		"another amount than one before it":   {c: Case{Event: e, Second: true}, want: ParkConflicting},
		"a content before it, but not first":  {c: Case{Event: e, Second: true, History: ended(event.TypeCaptured)}, want: AnsweredCaptured},
		"conflicting, parked":                 {c: Case{Event: fresh(func(o *order) { o.amount = "11.00" }), History: ended(event.TypeCaptured), Record: onRecord}, want: StaysParked},
		"conflicting, parked, marked":         {c: Case{Event: fresh(func(o *order) { o.amount = "11.00" }), History: ended(event.TypeCaptured), Record: onRecord, Resend: mark(at, none)}, want: ParkConflicting},
		"invalid":                             {c: Case{}, want: ParkInvalid},
		"invalid, parked":                     {c: Case{Record: onRecord}, want: StaysParked},
		"invalid, parked, marked":             {c: Case{Record: onRecord, Resend: mark(at, none)}, want: ParkInvalid},
		"invalid, parked, marked for another": {c: Case{Record: onRecord, Resend: mark(at.Add(time.Second), none)}, want: StaysParked},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rules := test.rules
			if rules == (Rules{}) {
				rules = rulesForTest()
			}
			if got := rules.Classify(test.c, now()); got != test.want {
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
		if c.Calls() && c.hopeless() {
			t.Errorf("%s calls and is hopeless", string(c))
		}
	}
	if len(texts) != 24 {
		t.Errorf("%d classes", len(texts))
	}
}
