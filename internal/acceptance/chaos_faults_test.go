//go:build integration && chaos

package acceptance

import (
	"syscall"
	"time"
)

// kill kills an instance, as the out-of-memory killer does, and starts another process
// with the same INSTANCE_ID later.
func (c *chaos) kill(f fault) {
	s := c.seats[f.seat]
	c.did("kill", "%s: killed, another is started in %.1fs", s.name, f.lasts.Seconds())
	s.down(syscall.SIGKILL)
	c.pass(f.lasts)
	s.up()
}

// restart stops an instance with SIGTERM and starts another process when it has ended,
// as an upgrade does.
func (c *chaos) restart(f fault) {
	s := c.seats[f.seat]
	c.did("restart", "%s: SIGTERM", s.name)
	began := time.Now()
	s.down(syscall.SIGTERM)
	c.did("restarted", "%s: stopped after %.1fs, another is started", s.name, time.Since(began).Seconds())
	s.up()
}

// stopAndWake suspends an instance until its session and transactions have timed out,
// and resumes it.
func (c *chaos) stopAndWake(f fault) {
	s := c.seats[f.seat]
	c.did("stop", "%s: suspended for %.1fs", s.name, f.lasts.Seconds())
	suspended := s.suspend()
	c.pass(f.lasts)
	c.did("woken", "%s: woken", s.name)
	wake(suspended)
}

// twin suspends an instance, starts another one with its identity, as an orchestrator
// does that takes it for dead, and resumes it. One of the two must end.
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
	c.links[f.seat].reconnect()
}

// toxicFault returns a kind of fault that adds toxics to a link.
func toxicFault(name string, least, most time.Duration, toxics ...toxic) faultKind {
	return faultKind{name, least, most, func(c *chaos, f fault) {
		c.did("cut", "%s: %s for %.1fs", c.seats[f.seat].name, f.kind.name, f.lasts.Seconds())
		c.links[f.seat].addToxics(toxics...)
		c.pass(f.lasts)
		c.links[f.seat].removeToxics(toxics...)
	}}
}

func (c *chaos) killBroker(fault) {
	c.did("broker", "the broker is killed and starts again")
	if err := c.broker.Kill(c.t.Context()); err != nil {
		c.t.Errorf("kill the broker: %v", err)
	}
}

// pass waits.
func (c *chaos) pass(d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.t.Context().Done():
	}
}
