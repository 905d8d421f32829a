//go:build synctests

package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// firsts checks that under each reference there is at most one that is the first, and
// that each event is decided once.
type firsts struct {
	t       *testing.T
	mu      sync.Mutex
	first   map[string]*instance // by reference
	decided map[string]int       // by event id
	entered int
}

func (f *firsts) enter(i *instance, reference, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entered++
	if by := f.first[reference]; by != nil && by != i {
		f.t.Errorf("%s is the first for %s while %s is for another event under %s", i.name, id, by.name, reference)
	}
	f.first[reference] = i
	if f.decided[id] > 0 {
		f.t.Errorf("%s attempts %s, which is decided", i.name, id)
	}
}

// leave is called before what the first one writes may end its turn.
func (f *firsts) leave(reference string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.first, reference)
}

func (f *firsts) decides(i *instance, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.decided[id]++; f.decided[id] > 1 {
		f.t.Errorf("%s decides %s again", i.name, id)
	}
}

// instance is one of the instances of the stress test. It handles the events of a
// reference one after another.
type instance struct {
	w      *world
	name   string
	input  int32
	ledger *Ledger
	flush  chan *kgo.Client
	firsts *firsts
}

func (w *world) instance(i int, f *firsts) *instance {
	in := &instance{
		w: w, name: fmt.Sprint("instance-", i), input: int32(i), ledger: w.started(fmt.Sprint("dir-", i)), firsts: f,
		flush: make(chan *kgo.Client, 1), // a mutex would stop the time
	}
	in.flush <- w.client(kgo.TransactionalID(in.name), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return in
}

// turn is how an instance is at an event.
type turn struct {
	r      *rand.Rand
	called bool // its attempt may have had an effect, so it must not be withdrawn
	stands bool // its attempt was not withdrawn
}

// handle handles an event until it is decided.
func (i *instance) handle(r *rand.Rand, reference, id string) {
	turn := &turn{r: r}
	for done := false; !done; {
		claim := i.ledger.Claim(id, reference, owning(i.input))
		done = i.once(turn, claim)
		claim.Close()
		time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
	}
}

func (i *instance) once(turn *turn, claim *Claim) (done bool) {
	t := i.w.t
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	h, err := i.ledger.Lookup(ctx, claim.id)
	if err != nil {
		t.Errorf("look up: %v", err)
		return true
	}
	if h.Decision != nil {
		if turn.stands {
			i.withdraw(turn, claim)
		}
		return !turn.stands
	}
	other, changed, err := claim.Ahead(ctx)
	if err != nil {
		t.Errorf("look ahead: %v", err)
		return true
	}
	if other != nil {
		select {
		case <-changed:
		case <-ctx.Done():
			t.Errorf("%s waits with %s for %s: %v", i.name, claim.id, other.EventID, ctx.Err())
			return true
		}
		return false
	}
	turn.stands = true
	err = claim.Attempt(ctx, attemptUnder(claim.reference, 5, i.input))
	if errors.Is(err, event.ErrStartOver) {
		if !turn.called && turn.r.IntN(4) > 0 {
			i.withdraw(turn, claim)
		} // else it is tried again, and keeps its place
		return false
	}
	if err != nil {
		t.Errorf("attempt: %v", err)
		return true
	}
	i.firsts.enter(i, claim.reference, claim.id)
	time.Sleep(time.Duration(turn.r.IntN(20)) * time.Millisecond)
	switch n := turn.r.IntN(10); {
	case n == 0: // the result is unknown, and the next claim resumes the attempt
		turn.called = true
		return false
	case n < 3:
		turn.called = false
		i.firsts.leave(claim.reference)
		i.withdraw(turn, claim)
		return false
	default:
		turn.called = true
		return i.decide(turn.r, claim)
	}
}

func (i *instance) withdraw(turn *turn, claim *Claim) {
	err := claim.Withdraw(i.w.t.Context())
	turn.stands = err != nil // then it is resumed
}

func (i *instance) decide(r *rand.Rand, claim *Claim) (done bool) {
	t := i.w.t
	d := decided(t, []string{"captured", "rejected", "parked"}[r.IntN(3)], claim.reference, claim.id)
	client := <-i.flush
	defer func() { i.flush <- client }()
	i.ledger.AddPending(claim.id, d)
	records, err := i.ledger.Records(claim.id, d)
	if err == nil {
		err = client.BeginTransaction()
	}
	if err == nil {
		err = client.ProduceSync(t.Context(), records...).FirstErr()
	}
	time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
	commit := r.IntN(8) > 0
	if commit {
		i.firsts.decides(i, claim.id)
		i.firsts.leave(claim.reference)
	}
	if err == nil {
		err = client.EndTransaction(t.Context(), kgo.TransactionEndTry(commit))
	}
	if err != nil {
		t.Errorf("decide: %v", err)
		return true
	}
	if !commit {
		i.ledger.DropPending(claim.id)
	}
	return commit
}

// Many instances with copies of the same events and rivals under few references: at no
// time two of them are the first under one reference, and each event is decided once.
// Meanwhile their way to the brokers is cut and their stores are rebuilt.
func TestFirstsUnderStress(t *testing.T) {
	for name, trouble := range map[string]func(r *rand.Rand, w *world, l *Ledger){
		"calm": func(*rand.Rand, *world, *Ledger) {},
		"cuts": func(r *rand.Rand, w *world, l *Ledger) {
			mend := w.cut(l)
			time.Sleep(time.Duration(r.IntN(5000)) * time.Millisecond)
			mend()
		},
		"rebuilt stores": func(_ *rand.Rand, _ *world, l *Ledger) {
			l.availability.restore("damage")
			l.session.end(errors.New("for the test"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) { w.stress(trouble) })
		})
	}
}

func (w *world) stress(trouble func(r *rand.Rand, w *world, l *Ledger)) {
	t := w.t
	const instances, references, events = 3, 4, 4
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	f := &firsts{t: t, first: make(map[string]*instance), decided: make(map[string]int)}
	var working, troubling sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	var all []*instance
	for i := range instances {
		all = append(all, w.instance(i, f))
	}
	for i, in := range all {
		for reference := range references {
			r := rand.New(rand.NewPCG(seed, uint64(i*references+reference)))
			working.Go(func() {
				for _, e := range r.Perm(events) {
					in.handle(r, fmt.Sprint("order-", reference), fmt.Sprintf("e%d-%d", reference, e))
				}
			})
		}
		r := rand.New(rand.NewPCG(seed, uint64(1000+i)))
		troubling.Go(func() {
			for ctx.Err() == nil {
				pause(ctx, time.Duration(r.IntN(1000))*time.Millisecond)
				trouble(r, w, in.ledger)
			}
		})
	}
	working.Wait()
	stop()
	troubling.Wait()
	if len(f.decided) != references*events {
		t.Errorf("%d events are decided, want %d", len(f.decided), references*events)
	}
	for l := range w.wires {
		w.caughtUp(l)
		if open := l.claims.undecided(); len(open) > 0 {
			t.Errorf("there are open attempts on %v", open)
		}
		if n := l.pending.events.Load(); n > 0 {
			t.Errorf("%d events are not read back", n)
		}
	}
}
