//go:build synctests

package acceptance

import (
	"testing"
	"time"

	"payment-capture/internal/config"
	"payment-capture/internal/simulator"
)

// TestInherited crashes an instance with a call in flight and starts another one after
// some time, which knows the attempt of the first.
func TestInherited(t *testing.T) {
	t.Parallel()
	charged := simulator.Rule{
		Match: simulator.Match{Key: "e1", ToTry: 1}, Action: simulator.ActionHang, Charge: true,
		Delay: simulator.Duration(time.Hour),
	}
	lost := charged
	lost.Charge = false
	for name, test := range map[string]struct {
		first simulator.Rule
		after time.Duration
		// forgets: the API has forgotten the key.
		forgets bool
		// loseStore: the second instance begins with an empty local store.
		loseStore bool
		change    func(*config.Config)
		want      string
		calls     int
	}{
		"at once and charged":             {charged, 0, false, false, nil, "captured", 2},
		"at once and not charged":         {lost, 0, false, false, nil, "captured", 2},
		"two hours later and charged":     {charged, 2 * time.Hour, false, false, nil, "captured", 1}, // the lookup finds the payment
		"two hours later and not charged": {lost, 2 * time.Hour, false, false, nil, "captured", 2},
		"two days later and found":        {charged, 48 * time.Hour, true, false, nil, "captured", 1},
		"two days later and not charged":  {lost, 48 * time.Hour, true, false, nil, "parked key_expired", 1},
		"at once for another account": {
			charged, 0, false, false,
			func(c *config.Config) { c.MercadoPagoAccount = "other" }, "captured", 1,
		}, // the lookup finds the payment
		"at once for another account and not charged": {
			lost, 0, false, false,
			func(c *config.Config) { c.MercadoPagoAccount = "other" }, "parked tried_otherwise", 1,
		},
		"two days later with an empty store": {lost, 48 * time.Hour, true, true, nil, "parked key_expired", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			virtually(t, 1, func(w *world) {
				if err := w.sim.Apply(simulator.Script{Rules: []simulator.Rule{test.first}}); err != nil {
					t.Fatal(err)
				}
				first := w.start("a", func(c *config.Config) { c.MercadoPagoTimeout = 10 * time.Minute })
				w.send(order{id: "e1", order: "o1"})
				w.eventually("the call is in flight", func() bool { return w.sim.Charges().Calls == 1 })
				first.crash()
				<-time.After(test.after)
				if test.forgets {
					w.sim.ForgetKeys()
				}
				if test.loseStore {
					if err := first.wait(); err != nil {
						t.Log(err)
					}
					w.loseStores()
				}
				w.start("b", func(c *config.Config) {
					if test.change != nil {
						test.change(c)
					}
				})
				w.want(w.awaitDecisions(), map[string]int{test.want: 1})
				if charges := w.sim.Charges(); charges.Calls != test.calls || len(charges.List) > 1 {
					t.Errorf("%d calls and %d charges, want %d calls", charges.Calls, len(charges.List), test.calls)
				}
			})
		})
	}
}
