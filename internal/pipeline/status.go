package pipeline

import (
	"context"
	"errors"
	"slices"
	"time"

	"payment-capture/internal/money"
)

// Status is the state of the pipeline, for /status and readiness.
type Status struct {
	Joined     bool             `json:"joined"`             // partitions were assigned at least once
	Partitions int              `json:"partitions"`         // assigned now
	InFlight   int              `json:"in_flight"`          // captures under way
	Undecided  int              `json:"undecided"`          // fetched records without a decision
	Stopping   bool             `json:"stopping"`           // no new capture begins
	Halted     map[int32]string `json:"halted,omitempty"`   // halted partitions, and why
	Checking   map[int32]string `json:"checking,omitempty"` // partitions whose committed offset is being checked
	Error      string           `json:"error,omitempty"`    // why nothing can be committed or fetched; "" if it can
	Paused     int              `json:"paused"`             // partitions that are not fetched for now
	// Uncommitted are the decisions that wait for a commit, RequestBytes the largest
	// produce request, which may have been lowered.
	Uncommitted  int               `json:"uncommitted"`
	RequestBytes int               `json:"max_request_bytes"`
	Open         []OpenTransaction `json:"open_transactions,omitempty"` // of other producers, that hold the input back
	// InvalidHolds are the partitions in which a run of invalid events is held.
	InvalidHolds []InvalidHold `json:"invalid_events_held,omitempty"`
	Work         []Work        `json:"work"` // what is left to do in each partition
	// Amounts are the sums of the events that were read and have no decision, by
	// currency, in its smallest units.
	Amounts map[money.Currency]int64 `json:"undecided_amounts"`
	Skipped *Skipped                 `json:"skipped,omitempty"`         // records that were not meant for this service
	Longest []Waiting                `json:"longest_waiting,omitempty"` // records that have waited longest, longest first
}

var (
	errStarting = errors.New("the service is starting; try again")
	errStopped  = errors.New("the service has stopped its work")
)

// Status returns the owner's state, or that the pipeline is starting or stopped.
func (p *Pipeline) Status(ctx context.Context) Status {
	select {
	case <-p.started:
	default:
		return Status{Error: "starting: the cluster was not reached yet"}
	}
	s, err := ask(ctx, p, (*owner).status)
	switch {
	case errors.Is(err, errStopped):
		return Status{Stopping: true}
	case err != nil:
		return Status{Error: "the pipeline does not answer"}
	}
	return s
}

func (o *owner) status() Status {
	if c := &o.commits; c.underWay && time.Since(c.began) > stuckCommit {
		c.err = "a commit is under way for " + time.Since(c.began).Round(time.Second).String()
	}
	s := Status{
		Joined: o.joined, Partitions: len(o.parts), InFlight: o.inFlight, Stopping: o.stopping.begun, Error: o.commits.err,
		InvalidHolds: o.invalidHolds(), Skipped: o.p.skipped.summary(), Longest: o.longestWaiting(),
		Uncommitted: o.uncommitted(), RequestBytes: o.p.conf.Kafka.Requests.Bytes(), Open: o.openTransactions(),
		Work: o.workLeft(), Amounts: o.undecidedAmounts(),
		Halted: make(map[int32]string), Checking: make(map[int32]string),
	}
	if s.Error == "" {
		s.Error = o.fetch.current()
	}
	for n, pt := range o.parts {
		s.Undecided += pt.undecided()
		if pt.paused {
			s.Paused++
		}
		if pt.check != nil {
			s.Checking[n] = pt.check.String()
		}
		if pt.halt.halted() {
			s.Halted[n] = pt.halt.detail
		}
	}
	return s
}

// Waiting is a record without a decision that no other record is before.
type Waiting struct {
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Order     string    `json:"order_id,omitempty"`
	Event     string    `json:"event_id,omitempty"`
	Since     time.Time `json:"since"`         // when it was admitted
	Seconds   float64   `json:"seconds"`       // how long ago that is
	WaitsFor  string    `json:"waits_for"`     // in words for an operator
	Calls     int       `json:"calls"`         // to the API, so far
	Commit    bool      `json:"blocks_commit"` // the committed offset cannot pass it
	Behind    int       `json:"records_after"` // records of its partition that were admitted after it
}

// shownWaiting is how many records a status shows.
const shownWaiting = 10

// longestWaiting returns the records that have waited longest for a decision, without
// those that only wait behind another one of their ordering keys.
func (o *owner) longestWaiting() []Waiting {
	var heads []*item
	for _, pt := range o.parts {
		if pt.tracker == nil {
			continue
		}
		for _, it := range pt.tracker.items {
			if !it.completed && it.blockedBy == 0 {
				heads = append(heads, it)
			}
		}
	}
	slices.SortFunc(heads, func(a, b *item) int { return a.admittedAt.Compare(b.admittedAt) })
	var all []Waiting
	for _, it := range heads[:min(len(heads), shownWaiting)] {
		t := it.part.tracker
		w := Waiting{
			Partition: it.part.number, Offset: it.offset, Order: it.orderID, Event: it.id, Since: it.admittedAt.UTC(),
			Seconds: time.Since(it.admittedAt).Round(time.Millisecond).Seconds(),
			Commit:  t.committable() == it.offset,
			Behind:  len(t.items) - 1 - slices.Index(t.items, it),
		}
		w.WaitsFor, w.Calls = o.waitsFor(it)
		all = append(all, w)
	}
	return all
}

// waitsFor returns what an item waits for, and after how many calls.
func (o *owner) waitsFor(it *item) (reason string, calls int) {
	switch {
	case it.held && it.part.invalid.hold != nil:
		return "the end of the hold of invalid events at " + it.part.invalid.hold.until.UTC().Format(time.RFC3339), 0
	case !it.waitsUntil.IsZero():
		return "its time " + it.waitsUntil.UTC().Format(time.RFC3339), 0
	case it.part.draining:
		return "the handover of its partition", it.lease.waitReason().calls
	case !it.part.ledgerRead:
		return "the ledger to be read up to its end when the partition was assigned", 0
	case !it.inFlight && o.commitsBlocked() != "":
		return "commits to succeed again: " + o.commitsBlocked(), 0
	case !it.inFlight:
		return "room: CAPTURE_MAX_IN_FLIGHT bounds the captures under way", 0
	}
	reported := it.lease.waitReason()
	switch blocked := o.p.capturer.Blocked(); {
	case blocked != "":
		return blocked, reported.calls
	case reported.waitsFor != "":
		return reported.waitsFor, reported.calls
	}
	return "the API's answer", reported.calls
}
