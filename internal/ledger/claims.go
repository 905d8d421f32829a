package ledger

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/store"
)

// Claims decide which of several instances may call the API first. Two instances can
// have copies of one event, or two events of one order, at the same time, because
// producers with different partitioners put them into different partitions of the
// input. All attempts under an external reference lie in one partition of the ledger,
// so their offsets put them into one order that all instances see.
//
// An instance claims an event before it looks the event up. Then it writes its attempt,
// and waits until its own follower delivers it: now it has seen everything that lies
// before. If nothing that matters has come since it looked, it is the first and may
// call. Otherwise it withdraws the attempt, looks again, and waits for those ahead of it.
//
// An attempt that is still open after ClaimConfig.Wait is abandoned: nobody resumed it. On
// the claim's own event it counts for nothing any more, because a further call has the same
// idempotency key; several that would make it write attempts of their own. What makes an
// attempt abandoned is the time of its record, so that all instances agree.

// ClaimConfig says which attempts matter to a claim. Its functions must not wait.
type ClaimConfig struct {
	// Resumes reports whether attempts of an input partition are the claim's to resume,
	// because its event was read from that partition.
	Resumes func(input int32) bool
	// Rival reports whether another event of the same reference with this attempt must be
	// decided first; nil: none must.
	Rival func(event.Attempt) bool
	Wait  time.Duration // longer than a capture takes
}

// Claim is this instance's claim on an event. Only one goroutine may use it.
type Claim struct {
	l             *Ledger
	id, reference string
	conf          ClaimConfig

	// The following are guarded by claims.mu.
	// position is the offset of the earliest attempt on the event that this claim resumes:
	// attempts on other events behind it wait for the claim. Attempts on the event itself
	// do if they are behind turn, which leaves out those that are abandoned.
	position, turn int64
	disturbed      bool          // something that matters has come since the claim was made
	changed        chan struct{} // closed at the next change of what may be ahead; nil: nobody waits
	write          *write        // under way; nil: none
}

// noPosition is the position of a claim without an attempt: all others are ahead.
const noPosition = math.MaxInt64

// openAttempt is an attempt without a decision.
type openAttempt struct {
	id, owner string
	partition int32
	offset    int64     // its place in the order
	last      int64     // the offset where it was written last
	written   time.Time // last
	attempt   *event.Attempt
}

// index is a list of values for each text.
type index[T comparable] map[string][]T

func (x index[T]) add(key string, value T) { x[key] = append(x[key], value) }

func (x index[T]) remove(key string, value T) {
	rest := slices.DeleteFunc(x[key], func(other T) bool { return other == value })
	if len(rest) == 0 {
		delete(x, key)
		return
	}
	x[key] = rest
}

// claims has the open attempts of all instances as the topic has them, and the claims
// of this one.
type claims struct {
	owner   string // of this process's attempts
	changes *changes
	pending *pendingDecisions

	mu          sync.Mutex
	byID        index[*openAttempt]
	byReference index[*openAttempt]
	since       time.Time     // the store was opened; what would resume an attempt may not be read before
	held        index[*Claim] // by event id
	heldUnder   index[*Claim] // by reference
}

func newClaims(owner string, pending *pendingDecisions, changes *changes) *claims {
	c := &claims{owner: owner, pending: pending, changes: changes, held: make(index[*Claim]), heldUnder: make(index[*Claim])}
	c.clearLocked()
	return c
}

func (c *claims) clearLocked() {
	c.byID, c.byReference = make(index[*openAttempt]), make(index[*openAttempt])
}

// Claim claims an event. Make the claim before the event is looked up, and close it.
func (l *Ledger) Claim(id, reference string, conf ClaimConfig) *Claim {
	c := &Claim{l: l, id: id, reference: reference, conf: conf}
	l.claims.mu.Lock()
	defer l.claims.mu.Unlock()
	l.claims.held.add(id, c)
	l.claims.heldUnder.add(reference, c)
	c.aheadLocked()
	return c
}

// Close gives the claim up. The attempt stays.
func (c *Claim) Close() {
	c.l.claims.mu.Lock()
	defer c.l.claims.mu.Unlock()
	c.l.claims.held.remove(c.id, c)
	c.l.claims.heldUnder.remove(c.reference, c)
}

// Ahead returns the earliest attempt that goes before this claim, and a channel that is
// closed when that may have changed; nil: there is none. An abandoned one is returned only
// if all are.
func (c *Claim) Ahead(ctx context.Context) (*event.OpenAttempt, <-chan struct{}, error) {
	for {
		first, abandoned, changed := c.ahead()
		if first == nil {
			return nil, nil, nil
		}
		// An attempt that was written after the outcome of its event means nothing.
		h, err := c.l.Lookup(ctx, first.id)
		if err != nil {
			return nil, nil, err
		}
		if h.Decision == nil || h.Decision.Outcome == nil {
			return &event.OpenAttempt{Attempt: *first.attempt, EventID: first.id, Abandoned: abandoned}, changed, nil
		}
		c.l.claims.drop(first)
	}
}

func (c *Claim) ahead() (first *openAttempt, abandoned bool, changed <-chan struct{}) {
	c.l.claims.mu.Lock()
	defer c.l.claims.mu.Unlock()
	first, abandoned = c.aheadLocked()
	if first != nil && c.changed == nil {
		c.changed = make(chan struct{})
	}
	return first, abandoned, c.changed
}

// drop drops an attempt.
func (c *claims) drop(a *openAttempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(a.id, func(other *openAttempt) bool { return other == a })
}

// aheadLocked returns the earliest attempt ahead of the claim; nil: none. It sets the
// claim's position.
func (c *Claim) aheadLocked() (first *openAttempt, abandoned bool) {
	k := c.l.claims
	c.position, c.turn = noPosition, noPosition
	for _, a := range k.byID[c.id] {
		switch {
		case c.abandoned(a):
			c.position = min(c.position, a.offset)
		case c.conf.Resumes(a.attempt.Input):
			c.position, c.turn = min(c.position, a.offset), min(c.turn, a.offset)
		}
	}
	for _, attempts := range [][]*openAttempt{k.byID[c.id], k.byReference[c.reference]} {
		for _, a := range attempts {
			if !c.behind(a) || k.pending.decided(a) {
				continue
			}
			if is := c.abandoned(a); first == nil || (abandoned && !is) || (abandoned == is && a.offset < first.offset) {
				first, abandoned = a, is
			}
		}
	}
	return first, abandoned
}

// behind reports whether an attempt goes before this claim.
func (c *Claim) behind(a *openAttempt) bool {
	if a.id == c.id {
		return a.offset < c.turn && !c.conf.Resumes(a.attempt.Input) && !c.abandoned(a)
	}
	return a.offset < c.position && c.conf.Rival != nil && c.conf.Rival(*a.attempt)
}

// abandoned reports whether nobody resumed an attempt for too long. If the claim's event
// may be charged only once another one is decided, its record is given time to be read.
func (c *Claim) abandoned(a *openAttempt) bool {
	since := a.written
	if a.id != c.id && c.l.claims.since.After(since) {
		since = c.l.claims.since
	}
	return time.Since(since) > c.conf.Wait
}

// change is what a record of the topic does to the open attempts.
type change struct {
	id, owner, reference string // no owner: a decision
	partition            int32
	offset               int64
	written              time.Time
	attempt              *event.Attempt // nil: it was withdrawn, or decided
	decision             decision       // no rank: it was taken back
}

// ends reports whether a withdrawal or a decision ends an attempt on its event. An outcome
// ends every one, because nothing is called for the event any more. The records of a
// transaction come late, so what else they say is compared by offset.
func (r *change) ends(a *openAttempt) bool {
	switch {
	case r.owner == "" && r.decision.Rank > store.Parked:
		return true
	case a.partition != r.partition || a.last > r.offset:
		return false
	case r.owner == "":
		return r.decision.Rank != 0
	}
	return r.attempt == nil && a.owner == r.owner
}

// replaces returns the attempt of a record in the place of older ones of the same owner.
// If it was written twice, the first one counts for the order.
func (r *change) replaces(open []*openAttempt) *openAttempt {
	a := &openAttempt{id: r.id, owner: r.owner, partition: r.partition, offset: r.offset, last: r.offset, written: r.written, attempt: r.attempt}
	for _, older := range open {
		if older.owner == a.owner && older.partition == a.partition {
			a.offset = min(a.offset, older.offset)
		}
	}
	return a
}

// apply applies records in their order, after the store has them.
func (c *claims) apply(all []change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range all {
		switch r := &all[i]; {
		case r.owner == "":
			c.decidedLocked(r)
		case r.attempt == nil:
			c.withdrawnLocked(r)
		default:
			c.attemptedLocked(r)
		}
		c.changes.bump(all[i].id)
	}
}

// reset replaces the open attempts by those of a store that was opened.
func (c *claims) reset(attempts []*openAttempt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clearLocked()
	c.since = time.Now()
	for _, a := range attempts {
		c.addLocked(a)
	}
	for _, held := range c.held {
		for _, claim := range held {
			claim.disturbed = true
			claim.wakeLocked()
		}
	}
	c.changes.bumpAll()
}

func (c *claims) attemptedLocked(r *change) {
	a := r.replaces(c.byID[r.id])
	c.removeLocked(r.id, func(older *openAttempt) bool { return older.owner == a.owner })
	c.addLocked(a)
	for _, claim := range c.held[a.id] {
		if a.owner == c.owner && claim.write.delivered(r, claim.disturbed) {
			claim.position, claim.turn = min(claim.position, a.offset), min(claim.turn, a.offset)
		} else if claim.behind(a) {
			claim.disturbed = true
		}
	}
	for _, claim := range c.heldUnder[a.attempt.Reference] {
		if claim.id != a.id && claim.behind(a) {
			claim.disturbed = true
		}
	}
	c.wakeLocked(a.id, a.attempt.Reference)
}

func (c *claims) withdrawnLocked(r *change) {
	for _, a := range c.removeLocked(r.id, r.ends) {
		c.wakeLocked(a.id, a.attempt.Reference)
	}
	for _, claim := range c.held[r.id] {
		if r.owner == c.owner {
			claim.write.delivered(r, false)
		}
		// Those that waited behind the attempt are ahead now.
		ahead, _ := claim.aheadLocked()
		claim.disturbed = claim.disturbed || ahead != nil
	}
}

// decidedLocked ends attempts on an event. Only a decision of this process was known to
// its claims before.
func (c *claims) decidedLocked(r *change) {
	c.removeLocked(r.id, r.ends)
	c.changes.bump(r.reference)
	if !c.pending.has(r.id, r.decision.At) {
		for _, claim := range c.held[r.id] {
			claim.disturbed = true
		}
		for _, claim := range c.heldUnder[r.reference] {
			claim.disturbed = claim.disturbed || claim.conf.Rival != nil
		}
	}
	c.wakeLocked(r.id, r.reference)
}

func (c *claims) addLocked(a *openAttempt) {
	c.byID.add(a.id, a)
	c.byReference.add(a.attempt.Reference, a)
	c.changes.bump(a.attempt.Reference)
}

func (c *claims) removeLocked(id string, which func(*openAttempt) bool) (removed []*openAttempt) {
	for _, a := range slices.Clone(c.byID[id]) {
		if which(a) {
			c.byID.remove(id, a)
			c.byReference.remove(a.attempt.Reference, a)
			c.changes.bump(a.attempt.Reference)
			removed = append(removed, a)
		}
	}
	return removed
}

func (c *claims) wakeLocked(id, reference string) {
	for _, claims := range [][]*Claim{c.held[id], c.heldUnder[reference]} {
		for _, claim := range claims {
			claim.wakeLocked()
		}
	}
}

func (c *Claim) wakeLocked() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// of returns the open attempts on an event.
func (c *claims) of(id string) []*openAttempt {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.byID[id])
}

// sweep removes the attempts that were written before a time.
func (c *claims) sweep(before time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.byID {
		c.removeLocked(id, func(a *openAttempt) bool { return a.written.Before(before) })
	}
}

// under returns the ids of the events with an open attempt under a reference.
func (c *claims) under(reference string) (ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.byReference[reference] {
		ids = append(ids, a.id)
	}
	return ids
}

// attemptedBefore returns the ids of the events with an open attempt whose first call was
// before a time.
func (c *claims) attemptedBefore(before time.Time) (ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, open := range c.byID {
		if slices.ContainsFunc(open, func(a *openAttempt) bool { return a.attempt.First.Before(before) }) {
			ids = append(ids, id)
		}
	}
	return ids
}

// undecided returns the ids of the events with an open attempt.
func (c *claims) undecided() (ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.byID {
		ids = append(ids, id)
	}
	return ids
}
