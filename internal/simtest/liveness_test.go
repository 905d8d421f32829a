//go:build synctests

package simtest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/config"
)

// Liveness: in these runs one instance gets no answers of one kind any more, for ever,
// and nothing else fails. Every event must be committed within livenessBound, because
// the other instances can work its partition.

const (
	// livenessBound is how long an event may take: an instance notices the silence (two
	// minutes, after its requests have timed out), hands over, and the next owner works.
	livenessBound = 4 * time.Minute
	// livenessWaves are sent livenessEvery apart, over several step-downs.
	livenessWaves, livenessEvery = 24, 25 * time.Second
	// livenessShare: one of so many runs is of this kind.
	livenessShare = 10
)

// silence is what never answers an instance.
type silence int

const (
	silentGroup        silence = iota + 1 // the group coordinator
	silentTransactions                    // the transaction coordinator
	silentBroker                          // all connections to one broker
	silentAPI                             // connections to the API
)

func (s silence) String() string {
	return [...]string{"", "the group coordinator", "the transaction coordinator", "a broker", "the API"}[s]
}

// mute is a permanent fault of one instance.
type mute struct {
	what    silence
	slot    int
	port    string        // of the silent broker
	at      time.Duration // since the beginning
	arrives bool          // requests arrive, and only the answers are lost
}

func (m *mute) String() string {
	return fmt.Sprintf("from %s on, %s (port %s) never answers slot %d; requests arrive: %t", m.at, m.what, m.port, m.slot, m.arrives)
}

// concerns reports whether a request to a broker is not answered.
func (m *mute) concerns(key kmsg.Key, port string) bool {
	switch m.what {
	case silentGroup:
		switch key {
		case kmsg.JoinGroup, kmsg.SyncGroup, kmsg.Heartbeat, kmsg.LeaveGroup, kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.TxnOffsetCommit:
			return true
		}
	case silentTransactions:
		switch key {
		case kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.EndTxn:
			return true
		}
	case silentBroker:
		return port == m.port
	case silentAPI:
	}
	return false
}

// newLivenessPlan returns the plan of a run with one permanent fault.
func newLivenessPlan(seed uint64, index int) *plan {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, ^uint64(index))), p: &plan{seed: seed, index: index}}
	p := g.p
	p.partitions, p.outPartitions, p.ledgerPartitions = int32(g.between(2, 4)), int32(g.between(1, 2)), int32(g.between(1, 4))
	p.horizon, p.maxEventAge, p.duplicateWindow = 24*time.Hour, 24*time.Hour, 1000*time.Hour
	p.oncePer = []string{config.OncePerPayment, config.OncePerReference, config.OncePerEvent}[g.weighted(80, 10, 10)]
	p.brokers, p.oldBroker = g.between(1, 2), g.chance(15)
	p.maxInFlight = g.pick(1, 4, 16)
	p.latency, p.timeout, p.session = g.duration(time.Millisecond, 40*time.Millisecond), 10*time.Second, 10*time.Second
	p.static, p.binary = g.chance(30), g.chance(20)
	p.maxTries, p.deadline = 100, 15*time.Minute
	g.payers()
	for i := range livenessWaves {
		w := wave{after: livenessEvery}
		for range g.between(1, 3) {
			e := g.event(g.kindOf(plainKind, declinedKind))
			w.records = append(w.records, &sentRecord{event: e, partition: e.home})
		}
		if i == 0 {
			w.after = 0
		}
		p.waves = append(p.waves, w)
	}
	p.last = wave{records: []*sentRecord{{event: g.event(plainKind)}}}
	p.last.records[0].partition = p.last.records[0].event.home
	for i := range g.between(2, 3) {
		p.slots = append(p.slots, []lifetime{{instance: fmt.Sprintf("i%d", i), pause: g.duration(0, time.Second), end: endLast}})
	}
	p.mute = &mute{
		what: silence(g.between(int(silentGroup), int(silentAPI))), slot: g.IntN(len(p.slots)),
		at: g.duration(0, time.Minute), arrives: g.chance(30),
	}
	if p.mute.what == silentBroker {
		p.brokers = 2
		p.mute.port = fmt.Sprint(9092 + g.IntN(2))
	}
	return p
}

// muted reports whether requests of the process that m concerns are unanswered now.
func (p *process) muted() *mute {
	m := p.h.plan.mute
	if m == nil || m.slot != p.slot || time.Since(p.h.began) < m.at {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.disturbed = true
	return m
}

// mutes reports whether the answer to a request is never received; drop, that the request
// does not arrive either. A broker answers the requests of a connection in order, so
// nothing that follows on it is answered.
func (c *kafkaConn) mutes(key kmsg.Key) (muted, drop bool) {
	m := c.p.muted()
	if m == nil {
		return false, false
	}
	c.mute = c.mute || m.concerns(key, c.port)
	return c.mute, c.mute && !m.arrives
}

// watchProgress reports each event that is not committed within livenessBound.
func (h *harness) watchProgress(over <-chan struct{}) {
	const tick = 5 * time.Second
	late := make(map[*sentRecord]bool)
	for {
		select {
		case <-over:
			return
		case <-time.After(tick):
		}
		info := h.cluster.GroupInfo(h.group)
		if info == nil {
			continue
		}
		h.mu.Lock()
		sent := h.sent
		h.mu.Unlock()
		for _, s := range sent {
			if !late[s] && time.Since(s.event.at) > livenessBound && info.Commits[topicInput][s.partition].Offset <= s.offset {
				late[s] = true
				h.violate("liveness: event %s in partition %d is not committed within %s, although only one instance gets no answers from %s",
					s.event.id, s.partition, livenessBound, h.plan.mute.what)
			}
		}
	}
}

// pollInterval returns the time between two checks of a condition. Runs with a permanent
// fault take many minutes.
func (p *plan) pollInterval() time.Duration {
	if p.mute != nil {
		return time.Second
	}
	return pollInterval
}

// portOf returns the port of an address.
func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
