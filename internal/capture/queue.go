package capture

import "container/list"

// queue is those who wait for a pass, in the order in which they came. A pass
// that was given lies with its waiter, in the queue, until that one takes it; so
// it can be taken back where the gate shuts before.
type queue struct {
	waiters list.List     // of *waiter
	next    *list.Element // the first that was given no pass; nil: there is none
	given   int           // passes that lie here
}

type waiter struct {
	about   subject
	queue   *queue
	place   *list.Element // nil: it is not in the queue any more
	arrival uint64        // later is higher, across the queues
	given   bool          // it has a pass
	wake    chan struct{} // has room for one
}

func (q *queue) join(w *waiter) {
	w.queue, w.place = q, q.waiters.PushBack(w)
	if q.next == nil {
		q.next = w.place
	}
}

// leave takes w out of its queue, and with it its pass, if it was given one.
func (w *waiter) leave() {
	q := w.queue
	if w.given {
		w.given = false
		q.given--
	}
	if q.next == w.place {
		q.next = w.place.Next()
	}
	q.waiters.Remove(w.place)
	w.place = nil
}

// stir has w look whether it is its turn.
func (w *waiter) stir() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// waiting is how many have no pass.
func (q *queue) waiting() int { return q.waiters.Len() - q.given }

// head is the first of the queue, or nil.
func (q *queue) head() *waiter { return waiterAt(q.waiters.Front()) }

// turn is the first that was given no pass, or nil.
func (q *queue) turn() *waiter { return waiterAt(q.next) }

func waiterAt(place *list.Element) *waiter {
	if place == nil {
		return nil
	}
	return place.Value.(*waiter) //nolint:forcetypeassert // nothing else is put in
}

// give gives a pass to the one whose turn it is.
func (q *queue) give() {
	w := q.turn()
	q.next = q.next.Next()
	w.given = true
	q.given++
	w.stir()
}

// takeBack takes back the passes that lie here, and says how many.
func (q *queue) takeBack() (passes int) {
	passes, q.given, q.next = q.given, 0, q.waiters.Front()
	for place, left := q.next, passes; left > 0; place, left = place.Next(), left-1 {
		waiterAt(place).given = false
	}
	return passes
}

// join gives a pass where one is to be had at once, and else a place in the queue.
func (g *gate) join(about subject, read bool, credential uint64) (pass, *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open() && g.charges.turn() == nil && g.reads.turn() == nil && g.calls < g.limit.now() {
		g.calls++
		g.metrics.calling(g.calls, g.limit.now())
		g.changed() // another one may be begun
		return g.usualPass(credential), nil
	}
	g.arrivals++
	w := &waiter{about: about, arrival: g.arrivals, wake: make(chan struct{}, 1)}
	if read {
		g.reads.join(w)
		return pass{}, w
	}
	g.charges.join(w)
	if g.halt != nil && !g.detector.counted(about) {
		g.halt.hurry()
	}
	return pass{}, w
}

// quit takes out of the queue whom admit did not.
func (g *gate) quit(w *waiter) {
	if w.place == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.given {
		g.calls--
	}
	w.leave()
	g.look()
}

// letIn gives the passes that there are to those whose turn it is, in the order
// in which they came, all at once: one who had to wake the next would cost each
// call a wait for another's goroutine. Where time has to come first, or a token,
// only the heads of the queues can be next, and look for themselves.
func (g *gate) letIn() {
	if g.halt != nil {
		if w := g.prober(); w != nil {
			w.stir()
		}
		return
	}
	if !g.open() {
		for _, q := range []*queue{&g.charges, &g.reads} {
			if head := q.head(); head != nil {
				head.stir()
			}
		}
		return
	}
	for g.calls < g.limit.now() {
		charge, read := g.charges.turn(), g.reads.turn()
		switch {
		case charge == nil && read == nil:
			return
		case read == nil || (charge != nil && charge.arrival < read.arrival):
			g.charges.give()
		default:
			g.reads.give()
		}
		g.calls++
	}
}
