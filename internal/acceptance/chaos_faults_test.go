//go:build integration && chaos

package acceptance

import (
	"syscall"
	"time"
)

// kill is what an out-of-memory killer does: SIGKILL, and another process under
// the same INSTANCE_ID some time later.
func (c *chaos) kill(f fault) {
	s := c.seats[f.seat]
	c.did("kill", "%s: killed, another is started in %.1fs", s.name, f.lasts.Seconds())
	s.down(syscall.SIGKILL)
	c.pass(f.lasts)
	s.up()
}

// restart is what an upgrade does: SIGTERM, and another process when that has
// ended.
func (c *chaos) restart(f fault) {
	s := c.seats[f.seat]
	c.did("restart", "%s: told to stop", s.name)
	began := time.Now()
	s.down(syscall.SIGTERM)
	c.did("restarted", "%s: stopped after %.1fs, another is started", s.name, time.Since(began).Seconds())
	s.up()
}

// stopAndWake suspends an instance until the group and the broker have given
// it up, and wakes it: a zombie.
func (c *chaos) stopAndWake(f fault) {
	s := c.seats[f.seat]
	c.did("stop", "%s: suspended for %.1fs", s.name, f.lasts.Seconds())
	suspended := s.suspend()
	c.pass(f.lasts)
	c.did("woken", "%s: woken", s.name)
	wake(suspended)
}

// twin suspends an instance, starts another under its identity as an
// orchestrator does that believes it dead, and wakes it: one of the two has to
// go.
func (c *chaos) twin(f fault) {
	s := c.seats[f.seat]
	c.did("twin", "%s: suspended for %.1fs, and another is started under its identity", s.name, f.lasts.Seconds())
	suspended := s.suspend()
	s.start()
	c.pass(f.lasts)
	c.did("woken", "%s: woken beside its twin", s.name)
	wake(suspended)
}

func (c *chaos) cutOff(f fault) {
	c.did("cut", "%s: %s for %.1fs", c.seats[f.seat].name, f.kind.name, f.lasts.Seconds())
	c.links[f.seat].cut()
	c.pass(f.lasts)
	c.links[f.seat].mend()
}

// poisoning makes a kind of fault of toxics.
func poisoning(name string, least, most time.Duration, toxics ...toxic) faultKind {
	return faultKind{name, least, most, func(c *chaos, f fault) {
		c.did("cut", "%s: %s for %.1fs", c.seats[f.seat].name, f.kind.name, f.lasts.Seconds())
		c.links[f.seat].poison(toxics...)
		c.pass(f.lasts)
		c.links[f.seat].heal(toxics...)
	}}
}

func (c *chaos) killBroker(fault) {
	c.did("broker", "the broker is killed and starts again")
	if err := c.broker.Kill(c.t.Context()); err != nil {
		c.t.Errorf("kill the broker: %v", err)
	}
}

// pass lets time go by.
func (c *chaos) pass(d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.t.Context().Done():
	}
}
