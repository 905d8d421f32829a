package pipeline

import "slices"

// orderingKey is something for which at most one record is in flight at a time: a
// record key, an order, an event id or a reference.
type orderingKey struct {
	kind keyKind
	name string
}

type keyKind uint8

const (
	keyRecord keyKind = iota + 1
	keyOrder          // or an order's reference
	keyEvent
)

// orderingKeys keeps records in order: a record may start when it is at the head of
// the queue of each of its keys. A record enters all of its queues in one step, so no
// two records can wait for each other.
type orderingKeys struct {
	queues map[orderingKey][]*item // the head is in flight, or may start as far as this key goes
}

func newOrderingKeys() *orderingKeys { return &orderingKeys{queues: make(map[orderingKey][]*item)} }

// orderingKeysOf returns the keys of a record: its record key, order, event id and
// reference, or its substitute id if it is no valid event.
func orderingKeysOf(r *polledRecord) []orderingKey {
	if r.invalid != nil {
		return []orderingKey{{keyEvent, r.id}}
	}
	keys := []orderingKey{{keyOrder, r.event.OrderID}, {keyEvent, r.event.ID}}
	if key := string(r.record.Key); r.record.Key != nil && key != r.event.OrderID {
		keys = append(keys, orderingKey{keyRecord, key})
	}
	// A payment is looked up by its reference: if two orders share one, each could find
	// the payment of the other. An order's reference is often its id, so both are one
	// kind of key.
	if reference := r.event.ExternalReference; reference != r.event.OrderID {
		keys = append(keys, orderingKey{keyOrder, reference})
	}
	return keys
}

// enter puts an item at the end of its queues and reports whether it may start.
func (k *orderingKeys) enter(it *item) bool {
	for _, key := range it.keys {
		queue := k.queues[key]
		if len(queue) > 0 {
			it.blockedBy++
		}
		k.queues[key] = append(queue, it)
	}
	return it.blockedBy == 0
}

// release takes an item out of its queues and returns those that may start now. In a
// queue of which it is not the head it stays, marked, until it becomes the head.
func (k *orderingKeys) release(it *item) (free []*item) {
	it.released = true
	for _, key := range it.keys {
		if queue := k.queues[key]; len(queue) > 0 && queue[0] == it {
			free = k.advance(key, queue, free)
		}
	}
	return free
}

// advance removes released items from the head of a queue, and appends the new head to
// those that may start if it is at the head of its other queues too.
func (k *orderingKeys) advance(key orderingKey, queue, free []*item) []*item {
	for len(queue) > 0 && queue[0].released {
		queue[0] = nil
		queue = queue[1:]
	}
	if len(queue) == 0 {
		delete(k.queues, key)
		return free
	}
	k.queues[key] = queue
	head := queue[0]
	head.blockedBy--
	if head.blockedBy == 0 {
		free = append(free, head)
	}
	return free
}

// releaseRecordKey takes an item out of the queue of its record key, and returns the
// items that may start now.
func (k *orderingKeys) releaseRecordKey(it *item) (free []*item) {
	i := slices.IndexFunc(it.keys, orderingKey.ofRecord)
	if i < 0 {
		return nil
	}
	key := it.keys[i]
	it.keys = slices.Delete(it.keys, i, i+1)
	queue := k.queues[key]
	if queue[0] == it {
		queue[0] = nil
		return k.advance(key, queue[1:], nil)
	}
	at := slices.Index(queue, it)
	k.queues[key] = slices.Delete(queue, at, at+1)
	if it.blockedBy--; it.blockedBy == 0 {
		return []*item{it}
	}
	return nil
}

// next returns the items right behind one that is at the head of its queues; one may
// occur twice.
func (k *orderingKeys) next(it *item) (others []*item) {
	for _, key := range it.keys {
		if queue := k.queues[key]; len(queue) > 1 {
			others = append(others, queue[1])
		}
	}
	return others
}

// before returns the heads of the queues in which an item is the second one; nil stands
// for one in which it is further behind.
func (k *orderingKeys) before(it *item) (heads []*item) {
	for _, key := range it.keys {
		switch queue := k.queues[key]; {
		case queue[0] == it:
		case queue[1] == it:
			heads = append(heads, queue[0])
		default:
			heads = append(heads, nil)
		}
	}
	return heads
}

// behind returns the items behind one in any of its queues; one may occur twice.
func (k *orderingKeys) behind(it *item) (others []*item) {
	for _, key := range it.keys {
		for _, other := range k.queues[key] {
			if other != it && !other.released {
				others = append(others, other)
			}
		}
	}
	return others
}

// sameEvent returns the valid items in the queue of an item's event id, itself included,
// in their order.
func (k *orderingKeys) sameEvent(it *item) []*item {
	for _, key := range it.keys {
		if key.kind == keyEvent && it.event != nil {
			return k.queues[key]
		}
	}
	return nil
}

// behindAside reports whether an item that is about to enter will be behind one that
// stepped aside.
func (k *orderingKeys) behindAside(it *item) bool {
	return slices.ContainsFunc(it.keys, func(key orderingKey) bool {
		return !key.ofRecord() && slices.ContainsFunc(k.queues[key], func(other *item) bool { return other.aside && !other.released })
	})
}

// ofRecord reports whether the key is a record key.
func (k orderingKey) ofRecord() bool { return k.kind == keyRecord }
