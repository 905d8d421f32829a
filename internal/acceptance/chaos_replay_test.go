//go:build integration && chaos

package acceptance

import (
	"os"
	"path/filepath"
	"syscall"

	"payment-capture/internal/app"
)

// loseStore kills an instance together with its disk: the next process reads the ledger
// from its start.
func (c *chaos) loseStore(f fault) {
	s := c.seats[f.seat]
	c.did("store", "%s: killed, and the next one has an empty LEDGER_DIR, in %.1fs", s.name, f.lasts.Seconds())
	s.down(syscall.SIGKILL)
	dir := app.LedgerDir(c.config(s.name))
	if stores, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(stores) == 0 {
		c.t.Errorf("instance %s has no local store in %s: %v", s.name, dir, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		c.t.Errorf("remove the store of %s: %v", s.name, err)
	}
	c.pass(f.lasts)
	s.up()
}

// fullReplay publishes the whole input topic again after the API has forgotten every
// key: no call is made, and every outcome is published again.
func (c *chaos) fullReplay() []decision {
	c.t.Helper()
	before := c.sim.Charges()
	c.sim.ForgetKeys()
	records := c.readAll(c.topics.input)
	c.did("replay", "the API has forgotten all keys, and %d records are published again", len(records))
	c.seats[0].down(syscall.SIGKILL)
	if err := os.RemoveAll(app.LedgerDir(c.config(c.seats[0].name))); err != nil {
		c.t.Errorf("remove the store of %s: %v", c.seats[0].name, err)
	}
	c.sent = append(c.sent, c.sent...)
	c.produce(copies(records, nil)...)
	c.seats[0].up()
	decisions := c.awaitDecisions()
	if after := c.sim.Charges(); after.Calls != before.Calls || len(after.List) != len(before.List) {
		c.t.Errorf("the replay made %d calls and %d charges", after.Calls-before.Calls, len(after.List)-len(before.List))
	}
	return decisions
}
