package rules_test

import (
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
		"another currency":                        {limits, "BRL", 0, false, event.ParkWrongCurrency},
		"another currency, resent by an operator": {limits, "BRL", 0, true, event.ParkWrongCurrency},
		"another currency counts before the age":  {limits, "BRL", 48 * time.Hour, false, event.ParkWrongCurrency},
	} {
		t.Run(name, func(t *testing.T) {
			amount, err := money.Parse("10", c.currency)
			if err != nil {
				t.Fatal(err)
			}
			got := c.rules.Unfit(&event.ReadyToCapture{Time: now.Add(-c.age), Amount: amount}, c.resent, now)
			switch {
			case got == nil && c.want != "":
				t.Errorf("it may be charged, want %s", c.want)
			case got != nil && (got.Reason != c.want || got.Detail == ""):
				t.Errorf("parked as %s (%q), want %q", got.Reason, got.Detail, c.want)
			}
		})
	}
}
