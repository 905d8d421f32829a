//go:build synctests

package prove

import (
	"context"
	"errors"
	"fmt"
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
	disk    vfs.FS // where the local store of the ledger lies; it outlives a process
	lives   int
	settled chan struct{} // closed when the last life has begun
	mu      sync.Mutex    // guards process in the last life, when it may be started anew
	done    bool
}

func (h *history) config(instance string) config.Config {
	p := h.plan
	return config.Config{
		KafkaBrokers: h.cluster.ListenAddrs(), KafkaGroup: group, KafkaStartAt: "earliest", KafkaSessionTimeout: p.session,
		KafkaStaticMembership: p.static, InstanceID: instance,
		TopicInput: topicInput, TopicCaptured: topicCaptured, TopicRejected: topicRejected, TopicParked: topicParked,
		TopicLedger: topicLedger, CaptureOncePer: config.OncePerEvent, ReplayedOutcomes: config.ReplayedEmit,
		CloudEventsMode: "structured", MercadoPagoURL: "http://api.test", MercadoPagoAccessToken: secret.New(accessToken),
		MercadoPagoTimeout: p.timeout, Currency: "MXN", MercadoPagoAccount: "main",
		MaxInFlight: p.maxInFlight, CaptureDeadline: p.deadline, CaptureMaxTries: p.maxTries,
		CaptureMaxEventAge: 24 * time.Hour, IdempotencyKeyHorizon: 24 * time.Hour,
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
func (s *slot) stop() error {
	p := s.process
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
	for _, f := range lives {
		if s.process == nil {
			time.Sleep(f.pause)
			s.mu.Lock()
			s.start(f.instance, number)
			s.mu.Unlock()
		}
		s.process.arm(f.orders)
		for _, o := range f.outages {
			p := s.process
			s.h.background.Go(func() {
				time.Sleep(o.at)
				p.suffer(o)
			})
		}
		if f.end == endLast {
			close(s.settled)
			s.keepUp(f, number)
			return
		}
		s.play(f, number)
		s.process = nil
	}
}

// play lives one life to its end.
func (s *slot) play(f fate, number int) {
	var stop <-chan time.Time
	if f.end == endStopped {
		stop = time.After(f.endAt)
	}
	for {
		p := s.process
		select {
		case <-p.killed:
			return
		case <-p.ended:
			if p.isDead() {
				return
			}
			s.exited(p)
			time.Sleep(restartPause)
			s.start(f.instance, number)
			s.process.arm(p.pending()) // what made it end shall not do so for ever
		case <-stop:
			s.stopInPeace()
			return
		case <-s.h.force:
			if f.end == endStopped {
				s.stopInPeace()
				return
			}
			s.h.mu.Lock()
			s.h.idleKills++
			s.h.mu.Unlock()
			p.kill()
			return
		}
	}
}

// restartPause is how long the platform waits before it starts a process again
// that ended by itself.
const restartPause = 300 * time.Millisecond

// stopInPeace stops the process, which may be killed at it.
func (s *slot) stopInPeace() {
	if err := s.stop(); err != nil && !s.process.isDead() {
		s.exited(s.process)
	}
}

// keepUp keeps the last life going until the history ends.
func (s *slot) keepUp(f fate, number int) {
	for {
		p := s.process
		<-p.ended
		s.mu.Lock()
		done := s.done
		s.mu.Unlock()
		if done {
			return
		}
		s.exited(p)
		time.Sleep(restartPause)
		s.mu.Lock()
		if s.done {
			s.mu.Unlock()
			return
		}
		s.start(f.instance, number)
		s.mu.Unlock()
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
	select {
	case <-p.ended:
	case <-time.After(patience):
		s.h.violate("%s does not stop", p.name)
		p.kill()
		return
	}
	if p.err != nil {
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
