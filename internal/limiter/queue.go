package limiter

import "container/list"

// queue holds the callers that wait for a permit, in the order of their arrival. A
// granted permit stays with its waiter, in the queue, until the waiter takes it; so
// it can be revoked if calls stop before.
type queue struct {
	waiters list.List     // of *waiter
	first   *list.Element // the first waiter without a permit; nil: there is none
	granted int           // waiters with a permit
}

type waiter struct {
	about   Subject
	read    bool
	queue   *queue
	place   *list.Element // nil: it has left the queue
	arrival uint64        // across both queues
	granted bool          // it has a permit
	wake    chan struct{} // has room for one
}

func (q *queue) push(w *waiter) {
	w.queue, w.place = q, q.waiters.PushBack(w)
	if q.first == nil {
		q.first = w.place
	}
}

// leave removes w from its queue, and its permit with it.
func (w *waiter) leave() {
	q := w.queue
	if w.granted {
		w.granted = false
		q.granted--
	}
	if q.first == w.place {
		q.first = w.place.Next()
	}
	q.waiters.Remove(w.place)
	w.place = nil
}

// signal makes w check whether it is its turn.
func (w *waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// waiting returns how many have no permit.
func (q *queue) waiting() int { return q.waiters.Len() - q.granted }

// head returns the first of the queue, or nil.
func (q *queue) head() *waiter { return waiterAt(q.waiters.Front()) }

// next returns the first without a permit, or nil.
func (q *queue) next() *waiter { return waiterAt(q.first) }

func waiterAt(place *list.Element) *waiter {
	if place == nil {
		return nil
	}
	return place.Value.(*waiter) //nolint:forcetypeassert // the queue holds nothing else
}

// grant grants a permit to the next one.
func (q *queue) grant() {
	w := q.next()
	q.first = q.first.Next()
	w.granted = true
	q.granted++
	w.signal()
}

// revoke takes back the permits that were granted but not used, and returns their
// number.
func (q *queue) revoke() (permits int) {
	permits, q.granted, q.first = q.granted, 0, q.waiters.Front()
	for place, left := q.first, permits; left > 0; place, left = place.Next(), left-1 {
		waiterAt(place).granted = false
	}
	return permits
}

// acquireOrQueue returns a permit if one is free, and else a place in the queue.
func (l *Limiter) acquireOrQueue(about Subject, read bool, credential uint64) (*Permit, *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.freeLocked() && l.charges.next() == nil && l.reads.next() == nil && l.calls < l.limit.now() {
		l.calls++
		l.metrics.calling(l.calls, l.limit.now())
		l.signalChange() // another event may start
		return l.permitLocked(about, read, credential), nil
	}
	l.arrivals++
	w := &waiter{about: about, read: read, arrival: l.arrivals, wake: make(chan struct{}, 1)}
	if read {
		l.reads.push(w)
		return nil, w
	}
	l.charges.push(w)
	if l.halt != nil && !l.detector.counted(about) {
		l.halt.probeSoon()
	}
	return nil, w
}

// dequeue removes a waiter that left without a permit.
func (l *Limiter) dequeue(w *waiter) {
	if w.place == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.granted {
		l.calls--
	}
	w.leave()
	l.updateLocked()
}

// grantLocked grants the free permits in the order of arrival, all at once: a
// waiter that had to wake the next one would cost each call the scheduling of
// another goroutine. While a probe or the rate limit has to come first, only the
// heads of the queues can be next, and check for themselves.
func (l *Limiter) grantLocked() {
	if l.halt != nil {
		if w := l.proberLocked(); w != nil {
			w.signal()
		}
		return
	}
	if !l.freeLocked() {
		for _, q := range []*queue{&l.charges, &l.reads} {
			if head := q.head(); head != nil {
				head.signal()
			}
		}
		return
	}
	for l.calls < l.limit.now() {
		charge, read := l.charges.next(), l.reads.next()
		switch {
		case charge == nil && read == nil:
			return
		case read == nil || (charge != nil && charge.arrival < read.arrival):
			l.charges.grant()
		default:
			l.reads.grant()
		}
		l.calls++
	}
}
