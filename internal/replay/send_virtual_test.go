//go:build synctests

package replay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// many puts so many events into the input, over all partitions.
func (w *world) many(n int) {
	w.t.Helper()
	var rs []*kgo.Record
	for i := range n {
		rs = append(rs, at(int32(i)%partitions, time.Now().Add(time.Duration(i)*time.Millisecond), order{
			id: fmt.Sprintf("e%d", i), time: time.Now().UTC().Format(time.RFC3339),
		}))
	}
	w.produce(rs...)
	time.Sleep(time.Duration(n) * time.Millisecond)
}

// counts returns how often each key was sent.
func counts(sent map[int32][]*kgo.Record) map[string]int {
	n := make(map[string]int)
	for _, rs := range sent {
		for _, r := range rs {
			n[string(r.Key)]++
		}
	}
	return n
}

// inOrder checks that the records of each partition came in the order of the
// source; of a record that came twice the first counts.
func inOrder(t *testing.T, sent, source map[int32][]*kgo.Record) {
	t.Helper()
	for p, rs := range sent {
		var firsts []string
		seen := make(map[string]bool)
		for _, r := range rs {
			if !seen[string(r.Key)] {
				firsts = append(firsts, string(r.Key))
			}
			seen[string(r.Key)] = true
		}
		i := 0
		for _, r := range source[p] {
			if i < len(firsts) && firsts[i] == string(r.Key) {
				i++
			}
		}
		if i < len(firsts) {
			t.Errorf("in partition %d %s is out of order", p, firsts[i])
		}
	}
}

func TestRate(t *testing.T) {
	for _, test := range []struct {
		rate  float64
		want  time.Duration
		burst int
	}{{10, 0, 1}, {400, 0, 20}, {0.5, 0, 1}, {0, 0, 60}} {
		t.Run(fmt.Sprint(test.rate), func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				w.many(60)
				c := w.config(Selection{All: true})
				c.Rate = test.rate
				began := time.Now()
				if _, result := w.replay(c); result.Sent != 60 {
					t.Errorf("sent %d", result.Sent)
				}
				want := time.Duration(0)
				if test.rate > 0 {
					want = time.Duration(float64(60-test.burst) / test.rate * float64(time.Second))
				}
				if took := time.Since(began); took < want || took > want+time.Second {
					t.Errorf("it took %s, want %s", took, want)
				}
			})
		})
	}
}

// TestWhatComesDuringTheRunIsNotRead: neither what it sends itself nor what
// others write.
func TestWhatComesDuringTheRunIsNotRead(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.many(30)
		before := w.all(input)
		c := w.config(Selection{All: true})
		c.Rate = 5
		written := make(chan struct{})
		go func() {
			defer close(written)
			for i := range 20 {
				time.Sleep(250 * time.Millisecond)
				w.produce(fresh(int32(i)%partitions, fmt.Sprintf("new%d", i)))
			}
		}()
		plan, result := w.replay(c)
		<-written
		got := counts(w.sent(before))
		if plan.Send != 30 || result.Sent != 30 || len(got) != 50 {
			t.Errorf("planned %d, sent %d, %d keys", plan.Send, result.Sent, len(got))
		}
		for key, n := range got {
			if n != 1 {
				t.Errorf("%s came %d times", key, n)
			}
		}
	})
}

// TestInterruptedAndResumed: what is interrupted goes on where it was, and sends
// each record once; the state says how far it is.
func TestInterruptedAndResumed(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.many(90)
		before := w.all(input)
		c := w.config(Selection{All: true})
		c.Rate = 10
		var last int64
		for run := 0; ; run++ {
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			plan, result, err := w.try(ctx, c)
			cancel()
			if plan.Send != 90-last {
				t.Errorf("%d are left, want %d", plan.Send, 90-last)
			}
			last = result.Sent
			if err == nil {
				break
			}
			if !errors.Is(err, ErrInterrupted) || run > 5 {
				t.Fatalf("run %d: %v", run, err)
			}
			s, err := readState(w.state)
			if err != nil || s.Sent != result.Sent {
				t.Fatalf("%v; the state says that %d are sent, the run %d", err, s.Sent, result.Sent)
			}
			c.Resume = true
			c.Selection = Selection{} // that of the state
		}
		sent := w.sent(before)
		inOrder(t, sent, before)
		got := counts(sent)
		for key, n := range got {
			if n != 1 {
				t.Errorf("%s came %d times", key, n)
			}
		}
		if len(got) != 90 || last != 90 {
			t.Errorf("%d of 90 came, it says %d", len(got), last)
		}
		if _, err := os.Stat(w.state); !os.IsNotExist(err) {
			t.Errorf("the state is still there: %v", err)
		}
	})
}

// TestKilledAtAnyTime: after a crash, at whatever time, each record is sent at
// least once, and twice only what was sent in the last moments.
func TestKilledAtAnyTime(t *testing.T) {
	for _, ms := range []int{0, 300, 1000, 1001, 2700, 3999, 5800} {
		after := time.Duration(ms) * time.Millisecond
		t.Run(after.String(), func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				w.many(60)
				before := w.all(input)
				c := w.config(Selection{All: true})
				c.Rate = 10
				ctx, kill := context.WithCancel(t.Context())
				left := make(chan []byte, 1)
				go func() {
					time.Sleep(after)
					state, err := os.ReadFile(w.state)
					if err != nil && after > 0 {
						t.Error(err)
					}
					left <- state
					kill()
				}()
				if _, _, err := w.try(ctx, c); !errors.Is(err, ErrInterrupted) && after > 0 {
					t.Fatal(err)
				}
				// What the dying process wrote after that time was never written.
				if state := <-left; state == nil {
					if err := os.Remove(w.state); err != nil && !os.IsNotExist(err) {
						t.Fatal(err)
					}
				} else {
					if err := os.WriteFile(w.state, state, 0o600); err != nil {
						t.Fatal(err)
					}
					c.Resume = true
				}
				w.replay(c)
				sent := w.sent(before)
				inOrder(t, sent, before)
				got, twice := counts(sent), 0
				for key, n := range got {
					if n > 2 {
						t.Errorf("%s came %d times", key, n)
					}
					twice += n - 1
				}
				// A second's records, and the one that was under way.
				if len(got) != 60 || twice > 11 {
					t.Errorf("%d of 60 came, %d of them twice", len(got), twice)
				}
			})
		})
	}
}

// TestUnacknowledgedIsSentAgain: what the broker wrote and did not acknowledge
// counts as not sent, and an end is not waited for long.
func TestUnacknowledgedIsSentAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.many(30)
		before := w.all(input)
		c := w.config(Selection{All: true})
		c.Rate = 10
		deaf := &deafness{dial: w.broker.Dial}
		c.Kafka.Dial = deaf.open
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			time.Sleep(1500 * time.Millisecond)
			deaf.set(true)
			time.Sleep(time.Second)
			cancel()
		}()
		began := time.Now()
		_, result, err := w.try(ctx, c)
		if !errors.Is(err, ErrInterrupted) {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("it ended after %s", took)
		}
		deaf.set(false)
		written := 0
		for _, rs := range w.sent(before) {
			written += len(rs)
		}
		if int64(written) <= result.Sent {
			t.Errorf("%d are written, %d acknowledged: nothing went unacknowledged", written, result.Sent)
		}
		c.Resume = true
		w.replay(c)
		got, twice := counts(w.sent(before)), 0
		for _, n := range got {
			twice += n - 1
		}
		if len(got) != 30 || twice < written-int(result.Sent) {
			t.Errorf("%d of 30 came, %d of them twice", len(got), twice)
		}
	})
}

// TestUnacknowledgedAtTheEnd: that all is read and on its way is not the end.
func TestUnacknowledgedAtTheEnd(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.many(30)
		c := w.config(Selection{All: true})
		r := w.open(c)
		defer w.close(r)
		plan, err := r.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fault := w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: input, Err: kerr.NotLeaderForPartition, Count: -1})
		defer fault.Remove()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		result, err := r.Send(ctx, plan)
		if !errors.Is(err, ErrInterrupted) || result.Sent != 0 {
			t.Errorf("sent %d, %v", result.Sent, err)
		}
		if s, err := readState(w.state); err != nil || steps(s.Spans) != 30 {
			t.Errorf("%v; the state says that %d are left", err, steps(s.Spans))
		}
	})
}
