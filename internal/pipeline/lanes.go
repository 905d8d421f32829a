package pipeline

import "slices"

// laneKey names what at most one record at a time may be in flight for: a
// record key, an order, an event, a reference.
type laneKey struct {
	kind laneKind
	name string
}

type laneKind uint8

const (
	laneRecordKey laneKind = iota + 1
	laneOrder              // or an order's reference
	laneEvent
)

// lanes keeps order: a record may go when it is at the head of every lane that
// it stands in. All of a record's places are taken in one step, so no two
// records can wait for each other.
type lanes struct {
	byKey map[laneKey]*lane
}

type lane struct {
	queue []*item // the head is in flight, or may go as far as this lane goes
}

func newLanes() *lanes { return &lanes{byKey: make(map[laneKey]*lane)} }

// enter puts an item at the end of its lanes and reports whether it may go.
func (l *lanes) enter(it *item) bool {
	for _, key := range it.lanes {
		ln := l.byKey[key]
		if ln == nil {
			ln = &lane{}
			l.byKey[key] = ln
		}
		if len(ln.queue) > 0 {
			it.blockedBy++
		}
		ln.queue = append(ln.queue, it)
	}
	return it.blockedBy == 0
}

// leave takes an item out of its lanes and gives those that may go now. One
// that is not at a head stays there, marked, until the lane reaches it.
func (l *lanes) leave(it *item) (free []*item) {
	it.left = true
	for _, key := range it.lanes {
		ln := l.byKey[key]
		if ln == nil || ln.queue[0] != it {
			continue
		}
		free = l.advance(key, ln, free)
	}
	return free
}

// advance lets the next item of a lane go whose head is gone, and adds it to those
// that may go now if it stands at the head of its other lanes too.
func (l *lanes) advance(key laneKey, ln *lane, free []*item) []*item {
	for len(ln.queue) > 0 && ln.queue[0].left {
		ln.queue[0] = nil
		ln.queue = ln.queue[1:]
	}
	if len(ln.queue) == 0 {
		delete(l.byKey, key)
		return free
	}
	head := ln.queue[0]
	head.blockedBy--
	if head.blockedBy == 0 {
		free = append(free, head)
	}
	return free
}

// yieldKey takes an item out of the lane of its record key, and returns the items
// that may go now.
func (l *lanes) yieldKey(it *item) (free []*item) {
	i := slices.IndexFunc(it.lanes, laneKey.ofRecord)
	if i < 0 {
		return nil
	}
	key := it.lanes[i]
	it.lanes = slices.Delete(it.lanes, i, i+1)
	ln := l.byKey[key]
	if ln.queue[0] == it {
		ln.queue[0] = nil
		ln.queue = ln.queue[1:]
		return l.advance(key, ln, nil)
	}
	at := slices.Index(ln.queue, it)
	ln.queue = slices.Delete(ln.queue, at, at+1)
	if it.blockedBy--; it.blockedBy == 0 {
		return []*item{it}
	}
	return nil
}

// behind returns the items that stand behind one in any of its lanes; one may
// occur twice.
func (l *lanes) behind(it *item) (others []*item) {
	for _, key := range it.lanes {
		for _, other := range l.byKey[key].queue {
			if other != it && !other.left {
				others = append(others, other)
			}
		}
	}
	return others
}

// behindWaiting reports whether an item that is about to enter its lanes will stand
// behind one that waits for its time.
func (l *lanes) behindWaiting(it *item) bool {
	return slices.ContainsFunc(it.lanes, func(key laneKey) bool {
		ln := l.byKey[key]
		return ln != nil && !ln.queue[0].until.IsZero()
	})
}

// ofRecord reports whether the lane is that of a record key.
func (k laneKey) ofRecord() bool { return k.kind == laneRecordKey }

// lanesOf gives what a record waits for: its key, its order, its event id and
// its reference, each at most one at a time.
func lanesOf(r polledRecord) []laneKey {
	keys := []laneKey{{laneOrder, r.event.OrderID}, {laneEvent, r.event.ID}}
	if key := string(r.record.Key); r.record.Key != nil && key != r.event.OrderID {
		keys = append(keys, laneKey{laneRecordKey, key})
	}
	// A payment is searched for by its reference: of two orders that share one,
	// each could find the other's. An order's reference is often its id, so both
	// have one lane.
	if reference := r.event.ExternalReference; reference != r.event.OrderID {
		keys = append(keys, laneKey{laneOrder, reference})
	}
	return keys
}
