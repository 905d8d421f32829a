//go:build synctests

package prove

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/kafka"
	"payment-capture/internal/secret"
)

// slot is where one process after another runs, as a supervisor starts them.
type slot struct {
	h       *history
	process *process
	disk    *vfs.MemFS // where the local store of the ledger lies; it outlives a process
	lives   int
	settled chan struct{} // closed when the last life has begun
	mu      sync.Mutex    // guards process in the last life, when it may be started anew
	done    bool
}

func (h *history) config(instance string) config.Config {
	p := h.plan
	replayed := config.ReplayedEmit
	if p.suppress {
		replayed = config.ReplayedSuppress
	}
	return config.Config{
		KafkaBrokers: h.cluster.ListenAddrs(), KafkaGroup: h.group, KafkaStartAt: "earliest", KafkaSessionTimeout: p.session,
		KafkaStaticMembership: p.static, InstanceID: instance,
		TopicInput: topicInput, TopicCaptured: topicCaptured, TopicRejected: topicRejected, TopicParked: topicParked,
		TopicLedger: topicLedger, CaptureOncePer: p.oncePer, ReplayedOutcomes: replayed,
		CloudEventsMode: "structured", MercadoPagoURL: "http://api.test", MercadoPagoAccessToken: secret.New(accessToken),
		MercadoPagoTimeout: p.timeout, Currency: "MXN", MercadoPagoAccount: "main",
		MaxInFlight: p.maxInFlight, CaptureDeadline: p.deadline, CaptureMaxTries: p.maxTries,
		InvalidEventRun: 2, InvalidEventHold: 5 * time.Second, // so that short runs are held, and kills come meanwhile
		CaptureMaxEventAge: p.maxEventAge, IdempotencyKeyHorizon: p.horizon,
		FlushInterval: 25 * time.Millisecond, ShutdownTimeout: 8 * time.Second, AdminAddr: config.AdminOff,
	}
}

// start starts a process of the service.
func (s *slot) start(instance string, number int) {
	h := s.h
	s.lives++
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{
		h: h, name: fmt.Sprintf("%c%d", 'a'+number, s.lives), instance: instance, cancel: cancel,
		killed: make(chan struct{}), ended: make(chan struct{}), counts: make(map[step]int), members: make(map[string]bool), under: make(map[string]int),
	}
	service, err := app.New(app.Options{
		Config: h.config(instance), Version: "prove", Log: h.logger(p), DialKafka: p.dialKafka, DialAPI: p.dialAPI, LedgerFS: s.disk,
	})
	if err != nil {
		panic(err)
	}
	h.mu.Lock()
	h.processes = append(h.processes, p)
	h.mu.Unlock()
	h.note(p, "starts as "+instance)
	s.process = p
	go func() {
		defer close(p.ended)
		p.err = service.Run(ctx)
		p.goes()
		cancel()
		h.note(p, fmt.Sprintf("has ended: %v", p.err))
	}()
}

// stop stops the process as SIGTERM does.
func (s *slot) stop(p *process) error {
	p.mu.Lock()
	p.stopped = true
	p.mu.Unlock()
	s.h.note(p, "is told to stop")
	p.cancel()
	select {
	case <-p.ended:
		return p.err
	case <-time.After(patience):
		return errors.New("no end")
	}
}

// supervise plays the lives of a slot, one after the other.
func (s *slot) supervise(lives []fate, number int) {
	s.mu.Lock()
	p := s.process // of the calm phase
	s.mu.Unlock()
	for _, f := range lives {
		if p == nil {
			time.Sleep(f.pause)
			if p = s.begin(f.instance, number); p == nil {
				return
			}
		}
		p.arm(f.orders)
		for _, o := range f.outages {
			sufferer := p
			s.h.background.Go(func() {
				time.Sleep(o.at)
				sufferer.suffer(o)
			})
		}
		if f.end == endLast {
			close(s.settled)
			s.keepUp(p, f, number)
			return
		}
		s.play(p, f, number)
		p = nil
	}
}

// begin starts a process, unless the slot is to be empty now.
func (s *slot) begin(instance string, number int) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return nil
	}
	s.start(instance, number)
	return s.process
}

// crash leaves of the disk what a machine that loses its power leaves, or part
// of what it would have written.
func (s *slot) crash(unsynced int) {
	p := s.h.plan
	s.disk = s.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rand.New(rand.NewPCG(p.seed, uint64(s.lives)))})
}

// die kills what runs; nothing takes its place.
func (s *slot) die() {
	s.mu.Lock()
	s.done = true
	p := s.process
	s.mu.Unlock()
	if p != nil {
		p.kill()
	}
}

// reset makes the slot ready for other lives.
func (s *slot) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process, s.done, s.settled = nil, false, make(chan struct{})
}

// sleep takes the process its voice, until it is woken.
func (s *slot) sleep() {
	s.mu.Lock()
	p := s.process
	s.mu.Unlock()
	if p != nil {
		p.sleep()
		s.h.note(p, "falls asleep")
	}
}

// wake lets the process speak again that sleeps, if one does; else the slot is
// made ready for other lives.
func (s *slot) wake() bool {
	s.mu.Lock()
	p := s.process
	sleeps := p != nil && !s.done
	s.mu.Unlock()
	if !sleeps {
		s.reset()
		return false
	}
	p.wake()
	return true
}

// play lives one life to its end.
func (s *slot) play(p *process, f fate, number int) {
	var stop <-chan time.Time
	if f.end == endStopped {
		stop = time.After(f.endAt)
	}
	for {
		select {
		case <-p.killed:
			s.crash(f.unsynced)
			return
		case <-p.ended:
			if p.isDead() {
				s.crash(f.unsynced)
				return
			}
			s.exited(p)
			time.Sleep(restartPause)
			pending := p.pending() // what made it end shall not do so for ever
			if p = s.begin(f.instance, number); p == nil {
				return
			}
			p.arm(pending)
		case <-stop:
			s.stopInPeace(p)
			return
		case <-s.h.force:
			if f.end == endStopped {
				s.stopInPeace(p)
				return
			}
			s.h.mu.Lock()
			s.h.idleKills++
			s.h.mu.Unlock()
			p.kill()
			s.crash(f.unsynced)
			return
		}
	}
}

// restartPause is how long the platform waits before it starts a process again
// that ended by itself.
const restartPause = 300 * time.Millisecond

// stopInPeace stops the process, which may be killed at it.
func (s *slot) stopInPeace(p *process) {
	if err := s.stop(p); err != nil && !p.isDead() {
		s.exited(p)
	}
}

// keepUp keeps the last life going until all are to end.
func (s *slot) keepUp(p *process, f fate, number int) {
	for {
		<-p.ended
		s.mu.Lock()
		done := s.done
		s.mu.Unlock()
		if done {
			return
		}
		s.exited(p)
		time.Sleep(restartPause)
		if p = s.begin(f.instance, number); p == nil {
			return
		}
	}
}

// finish stops the last process at the end of the history.
func (s *slot) finish() {
	s.mu.Lock()
	s.done = true
	p := s.process
	s.mu.Unlock()
	if p == nil {
		return
	}
	p.cancel()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.process = nil
	}()
	select {
	case <-p.ended:
	case <-time.After(patience):
		s.h.violate("%s does not stop", p.name)
		p.kill()
		return
	}
	if p.err != nil && !p.isDead() {
		s.exited(p)
	}
}

// exited notes a process that ended by itself. Some ends are right.
func (s *slot) exited(p *process) {
	s.h.mu.Lock()
	s.h.exits = append(s.h.exits, fmt.Sprintf("%s: %v", p.name, p.err))
	s.h.mu.Unlock()
	if errors.Is(p.err, kafka.ErrFenced) || s.h.plan.expiry != nil {
		return
	}
	p.mu.Lock()
	touched := p.touched
	p.mu.Unlock()
	if !touched && len(s.h.plan.broker) == 0 {
		s.h.violate("%s, which nothing had happened to, ended with: %v", p.name, p.err)
	}
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}
