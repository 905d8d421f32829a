//go:build synctests

package simtest

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

// slot runs one process after another, as a supervisor does.
type slot struct {
	h         *harness
	process   *process
	disk      *vfs.MemFS // has the local store of the ledger, which outlives a process
	lifetimes int
	lastBegan chan struct{} // closed when the last lifetime has begun
	mu        sync.Mutex    // guards process and done in the last lifetime, when the process may be restarted
	done      bool
}

func (h *harness) config(instance string) config.Config {
	p := h.plan
	replayed := config.ReplayedEmit
	if p.suppress {
		replayed = config.ReplayedSuppress
	}
	return config.Config{
		KafkaBrokers: h.cluster.ListenAddrs(), KafkaGroup: h.group, KafkaStartAt: "earliest", KafkaSessionTimeout: p.session,
		KafkaStaticMembership: p.static, InstanceID: instance,
		TopicInput: topicInput, TopicCaptured: topicCaptured, TopicRejected: topicRejected, TopicParked: topicParked,
		TopicLedger: topicLedger, CaptureOncePer: p.oncePer, DuplicateWindow: p.duplicateWindow, ReplayedOutcomes: replayed,
		LedgerRetention: p.retention, EventTimeRequired: p.retention > 0,
		CloudEventsMode: "structured", MercadoPagoURL: "http://api.test", MercadoPagoAccessToken: secret.New(accessToken),
		MercadoPagoTimeout: p.timeout, Currency: "MXN", MercadoPagoAccount: "main",
		MaxInFlight: p.maxInFlight, CaptureDeadline: p.deadline, CaptureMaxTries: p.maxTries,
		InvalidEventRun: 2, InvalidEventHold: 5 * time.Second, // so that few invalid events are held, and kills hit while they are
		CaptureMaxEventAge: p.maxEventAge, IdempotencyKeyHorizon: p.horizon,
		FlushInterval: 25 * time.Millisecond, ShutdownTimeout: 8 * time.Second, AdminAddr: config.AdminOff,
	}
}

// start starts a process of the service.
func (s *slot) start(instance string, number int) {
	h := s.h
	s.lifetimes++
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{
		h: h, name: fmt.Sprintf("%c%d", 'a'+number, s.lifetimes), instance: instance, slot: number, cancel: cancel,
		killed: make(chan struct{}), ended: make(chan struct{}),
		counts: make(map[step]int), members: make(map[string]bool), inFlight: make(map[string]int),
	}
	service, err := app.New(app.Options{
		Config: h.config(instance), Version: "simulation", Log: h.logger(p), DialKafka: p.dialKafka, DialAPI: p.dialAPI, LedgerFS: s.disk,
	})
	if err != nil {
		panic(err)
	}
	h.mu.Lock()
	h.processes = append(h.processes, p)
	h.mu.Unlock()
	h.annotate(p, "starts as "+instance)
	s.process = p
	go func() {
		defer close(p.ended)
		p.err = service.Run(ctx)
		p.closeConnections()
		cancel()
		h.annotate(p, fmt.Sprintf("ended: %v", p.err))
	}()
}

// stop stops the process as SIGTERM does.
func (s *slot) stop(p *process) error {
	s.h.annotate(p, "stopping")
	p.cancel()
	select {
	case <-p.ended:
		return p.err
	case <-time.After(patience):
		return errors.New("the process does not end")
	}
}

// supervise runs the lifetimes of a slot, one after the other.
func (s *slot) supervise(lifetimes []lifetime, number int) {
	s.mu.Lock()
	p := s.process // of the calm phase
	s.mu.Unlock()
	for _, f := range lifetimes {
		if p == nil {
			time.Sleep(f.pause)
			if p = s.begin(f.instance, number); p == nil {
				return
			}
		}
		p.arm(f.faults)
		p.setLag(f.lag)
		for _, o := range f.outages {
			target := p
			s.h.background.Go(func() {
				time.Sleep(o.at)
				target.cutOff(o)
			})
		}
		if f.end == endLast {
			close(s.lastBegan)
			s.keepRunning(p, f, number)
			return
		}
		s.runLifetime(p, f, number)
		p = nil
	}
}

// begin starts a process, unless the slot must stay empty.
func (s *slot) begin(instance string, number int) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return nil
	}
	s.start(instance, number)
	return s.process
}

// crash removes unsynced writes from the disk, as a power failure does; the given
// percentage of them survives.
func (s *slot) crash(unsynced int) {
	p := s.h.plan
	s.disk = s.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rand.New(rand.NewPCG(p.seed, uint64(s.lifetimes)))})
}

// killProcess kills the process and starts no other one.
func (s *slot) killProcess() {
	s.mu.Lock()
	s.done = true
	p := s.process
	s.mu.Unlock()
	if p != nil {
		p.kill()
	}
}

// reset prepares the slot for other lifetimes.
func (s *slot) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process, s.done, s.lastBegan = nil, false, make(chan struct{})
}

// suspend suspends the process until it is resumed.
func (s *slot) suspend() {
	s.mu.Lock()
	p := s.process
	s.mu.Unlock()
	if p != nil {
		p.suspend()
		s.h.annotate(p, "suspended")
	}
}

// resume resumes a suspended process and reports whether there is one; if not, it
// prepares the slot for other lifetimes.
func (s *slot) resume() bool {
	s.mu.Lock()
	p := s.process
	suspended := p != nil && !s.done
	s.mu.Unlock()
	if !suspended {
		s.reset()
		return false
	}
	p.resume()
	return true
}

// runLifetime waits until the lifetime ends, and ends it as planned.
func (s *slot) runLifetime(p *process, f lifetime, number int) {
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
			pending := p.pending() // without the faults that it has met, which may have ended it
			if p = s.begin(f.instance, number); p == nil {
				return
			}
			p.arm(pending)
		case <-stop:
			s.stopGracefully(p)
			return
		case <-s.h.force:
			if f.end == endStopped {
				s.stopGracefully(p)
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

// restartPause is how long the supervisor waits before it restarts a process that
// ended by itself.
const restartPause = 300 * time.Millisecond

// stopGracefully stops the process; a fault may kill it meanwhile.
func (s *slot) stopGracefully(p *process) {
	if err := s.stop(p); err != nil && !p.isDead() {
		s.exited(p)
	}
}

// keepRunning restarts the last process until the slot is done.
func (s *slot) keepRunning(p *process, f lifetime, number int) {
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

// finish stops the last process at the end of a phase.
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

// exited records that a process ended by itself, which is a violation unless a fault
// may have caused it.
func (s *slot) exited(p *process) {
	s.h.mu.Lock()
	s.h.exits = append(s.h.exits, fmt.Sprintf("%s: %v", p.name, p.err))
	s.h.mu.Unlock()
	if errors.Is(p.err, kafka.ErrFenced) || s.h.plan.expiry != nil {
		return
	}
	p.mu.Lock()
	disturbed := p.disturbed
	p.mu.Unlock()
	if !disturbed && len(s.h.plan.broker) == 0 {
		s.h.violate("%s ended without a fault: %v", p.name, p.err)
	}
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}
