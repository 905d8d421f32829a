package rules_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
	"payment-capture/internal/rules"
)

func TestUnfit(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	limits := rules.Rules{Currency: "MXN", MaxEventAge: 24 * time.Hour}
	ageless := rules.Rules{Currency: "MXN"}
	patient := rules.Rules{Currency: "MXN", MaxEventAge: 24 * time.Hour, MaxEventLead: time.Hour}
	for name, c := range map[string]struct {
		rules    rules.Rules
		currency money.Currency
		age      time.Duration
		resent   bool
		want     event.ParkReason // "": it may be charged
	}{
		"now":                                     {limits, "MXN", 0, false, ""},
		"as old as allowed":                       {limits, "MXN", 24 * time.Hour, false, ""},
		"older":                                   {limits, "MXN", 24*time.Hour + 1, false, event.ParkTooOld},
		"older, resent by an operator":            {limits, "MXN", 48 * time.Hour, true, ""},
		"older, without a maximum":                {ageless, "MXN", 9000 * time.Hour, false, ""},
		"ahead within the clock tolerance":        {limits, "MXN", -event.ClockTolerance, false, ""},
		"further ahead":                           {limits, "MXN", -event.ClockTolerance - 1, false, event.ParkTimeInFuture},
		"further ahead, without a maximum age":    {ageless, "MXN", -event.ClockTolerance - 1, false, event.ParkTimeInFuture},
		"further ahead, resent by an operator":    {limits, "MXN", -time.Hour, true, ""},
		"ahead by as much as may wait":            {patient, "MXN", -time.Hour, false, ""},
		"further ahead than may wait":             {patient, "MXN", -time.Hour - 1, false, event.ParkTimeInFuture},
		"ahead by more than can be measured":      {patient, "MXN", time.Duration(math.MinInt64), false, event.ParkTimeInFuture},
		"ahead, in another currency":              {patient, "BRL", -time.Hour, false, event.ParkWrongCurrency},
		"another currency":                        {limits, "BRL", 0, false, event.ParkWrongCurrency},
		"another currency, resent by an operator": {limits, "BRL", 0, true, event.ParkWrongCurrency},
		"another currency counts before the age":  {limits, "BRL", 48 * time.Hour, false, event.ParkWrongCurrency},
	} {
		t.Run(name, func(t *testing.T) {
			amount, err := money.Parse("10", c.currency)
			if err != nil {
				t.Fatal(err)
			}
			e := &event.ReadyToCapture{Time: now.Add(-c.age), Amount: amount}
			if c.age == math.MinInt64 {
				e.Time = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
			}
			got := c.rules.Unfit(e, c.resent, now)
			switch {
			case got == nil && c.want != "":
				t.Errorf("it may be charged, want %s", c.want)
			case got != nil && (got.Reason != c.want || got.Detail == ""):
				t.Errorf("parked as %s (%q), want %q", got.Reason, got.Detail, c.want)
			}
		})
	}
}

// What the ledger may have forgotten is not charged: neither now, nor when it is forgotten.
func TestUnfitWithARetention(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	book := rules.Rules{Currency: "MXN", MaxEventAge: 7 * day, KeyRetention: day, LedgerRetention: 30 * day}
	const remembered = 30*day - event.ClockTolerance
	amount, err := money.Parse("10", "MXN")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		age    time.Duration
		record time.Time
		resent bool
		want   event.ParkReason // "": it may be charged
	}{
		"young":                            {record: now},
		"young, the record without a time": {},
		"young, the record remembered":     {record: now.Add(-remembered)},
		"young, the record forgotten":      {record: now.Add(-remembered - 1), want: event.ParkTooOld},
		"old":                              {age: 7*day + 1, record: now, want: event.ParkTooOld},
		"forgotten":                        {age: remembered + 1, record: now, want: event.ParkTooOld},

		"resent, remembered":             {age: remembered, record: now, resent: true},
		"resent, forgotten":              {age: remembered + 1, record: now, resent: true, want: event.ParkTooOld},
		"resent, the record forgotten":   {record: now.Add(-remembered - 1), resent: true, want: event.ParkTooOld},
		"resent, too old once forgotten": {age: 7*day - remembered, record: now, resent: true},
		"resent, young once forgotten":   {age: 7*day - remembered - 1, record: now, resent: true, want: event.ParkTimeInFuture},
	} {
		e := &event.ReadyToCapture{Time: now.Add(-c.age), RecordTime: c.record, Amount: amount}
		why := book.Unfit(e, c.resent, now)
		switch {
		case why == nil && c.want != "", why != nil && why.Reason != c.want:
			t.Errorf("%s: got %+v, want %q", name, why, c.want)
		case why != nil && name != "old" && !strings.Contains(why.Detail, "LEDGER_RETENTION is 720h"):
			t.Errorf("%s: the detail is %q", name, why.Detail)
		}
	}
}

func TestWaitUntil(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	patient := rules.Rules{Currency: "MXN", MaxEventLead: time.Hour}
	for name, c := range map[string]struct {
		rules    rules.Rules
		currency money.Currency
		ahead    time.Duration
		resent   bool
		want     bool // it waits until its time
	}{
		"now":                                   {patient, "MXN", 0, false, false},
		"in the past":                           {patient, "MXN", -time.Hour, false, false},
		"ahead within the clock tolerance":      {patient, "MXN", event.ClockTolerance, false, false},
		"further ahead":                         {patient, "MXN", event.ClockTolerance + 1, false, true},
		"as far ahead as may be":                {patient, "MXN", time.Hour, false, true},
		"too far ahead":                         {patient, "MXN", time.Hour + 1, false, false},
		"further ahead, and none waits":         {rules.Rules{Currency: "MXN"}, "MXN", event.ClockTolerance + 1, false, false},
		"further ahead, resent by an operator":  {patient, "MXN", time.Hour, true, false},
		"further ahead, but of another account": {patient, "BRL", time.Hour, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := &event.ReadyToCapture{Time: now.Add(c.ahead), Amount: amount(t, "10", c.currency)}
			until := func(at time.Time) time.Time {
				var d rules.Disposition
				if c.resent {
					d.Resent = &event.ParkInfo{Reason: event.ParkTimeInFuture}
				}
				return c.rules.Evaluate(rules.Case{Event: e}, d, at).Until
			}
			got := until(now)
			if want := e.Time; c.want != got.Equal(want) || c.want == got.IsZero() {
				t.Errorf("it waits until %s, its time is %s; want it to wait: %t", got, want, c.want)
			}
			if at := until(e.Time); !at.IsZero() {
				t.Errorf("at its time it waits until %s", at)
			}
		})
	}
}

func TestTimesAheadNameTheDistanceAndTheClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	mxn, err := money.Parse("1", "MXN")
	if err != nil {
		t.Fatal(err)
	}
	e := &event.ReadyToCapture{Time: now.Add(3 * time.Hour), Amount: mxn}
	const want = "time is 2026-11-23T13:00:00Z, still to come: 3h0m0s ahead of the service's clock (2026-11-23T10:00:00Z)"
	unfit := rules.Rules{Currency: "MXN", MaxEventLead: time.Hour}.Unfit(e, false, now)
	for _, info := range []*event.ParkInfo{unfit, rules.Crowded(e, 7, now)} {
		if info == nil || info.Reason != event.ParkTimeInFuture || !strings.HasPrefix(info.Detail, want) {
			t.Errorf("%+v; want a detail that begins with %q", info, want)
		}
	}
	e.Time = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	if detail := rules.Crowded(e, 7, now).Detail; !strings.Contains(detail, "still to come: more than 2562047h0m0s ahead") {
		t.Error(detail)
	}
}
