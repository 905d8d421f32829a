package pipeline

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Status is what the pipeline shows of itself.
type Status struct {
	Joined     bool             `json:"joined"`             // partitions have been assigned at least once
	Partitions int              `json:"partitions"`         // assigned now
	InFlight   int              `json:"in_flight"`          // captures under way
	Unsettled  int              `json:"unsettled"`          // records held without a verdict
	Stopping   bool             `json:"stopping"`           // no new capture is begun
	Halted     map[int32]string `json:"halted,omitempty"`   // partitions that are not worked, and why
	Checking   map[int32]string `json:"checking,omitempty"` // partitions that are not worked yet, and why
	Error      string           `json:"error,omitempty"`    // why nothing can be committed or seen; "" when all is well
	Paused     int              `json:"paused"`             // partitions that are not fetched for now
	// Uncommitted are the decisions that wait for a commit, RequestBytes the largest
	// produce request, which may have been lowered.
	Uncommitted  int               `json:"uncommitted"`
	RequestBytes int               `json:"max_request_bytes"`
	Open         []OpenTransaction `json:"open_transactions,omitempty"` // of other producers, that hold the input back
	// InvalidHolds are the partitions in which a run of invalid events is held.
	InvalidHolds []InvalidHold `json:"invalid_events_held,omitempty"`
	Skipped      *Skipped      `json:"skipped,omitempty"`         // what was not meant for this service
	Longest      []Waiting     `json:"longest_waiting,omitempty"` // what has waited longest, most first
}

// Status asks the owner for its state; after the end it is that of a stopped
// pipeline.
func (p *Pipeline) Status(ctx context.Context) Status {
	select {
	case <-p.started:
	default:
		return Status{Error: "starting: the cluster was not reached yet"}
	}
	reply := make(chan Status, 1)
	s, err := ask(ctx, p, statusQuery{reply: reply}, reply)
	switch {
	case errors.Is(err, errStopped):
		return Status{Stopping: true}
	case err != nil:
		return Status{Error: "the pipeline does not answer"}
	}
	return s
}

var (
	errStarting = errors.New("the service is starting; try again")
	errStopped  = errors.New("the service has stopped its work")
)

// ask sends the owner a message and returns its reply.
func ask[T any](ctx context.Context, p *Pipeline, m message, reply <-chan T) (answer T, err error) {
	select {
	case p.messages <- m:
	case <-p.ended:
		return answer, errStopped
	case <-ctx.Done():
		return answer, ctx.Err()
	}
	select {
	case answer = <-reply:
		return answer, nil
	case <-p.ended:
		return answer, errStopped
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}

// statusQuery asks for a copy of the state.
type statusQuery struct{ reply chan<- Status }

func (m statusQuery) apply(o *owner) {
	if o.flushing && time.Since(o.flushFrom) > slowFlush {
		o.flushErr = "a commit is under way for " + time.Since(o.flushFrom).Round(time.Second).String()
	}
	s := Status{
		Joined: o.joined, Partitions: len(o.parts), InFlight: o.inFlight, Stopping: o.stopping, Error: o.flushErr,
		InvalidHolds: o.invalidHolds(), Skipped: o.p.skipped.summary(), Longest: o.longestWaiting(),
		Uncommitted: o.uncommitted(), RequestBytes: o.p.conf.Kafka.Requests.Bytes(), Open: o.openTransactions(),
	}
	if s.Error == "" {
		s.Error = o.readError()
	}
	for n, pt := range o.parts {
		s.Unsettled += pt.held()
		if pt.paused {
			s.Paused++
		}
		if pt.check != nil {
			if s.Checking == nil {
				s.Checking = make(map[int32]string)
			}
			s.Checking[n] = pt.check.String()
		}
		if pt.halted != "" {
			if s.Halted == nil {
				s.Halted = make(map[int32]string)
			}
			s.Halted[n] = pt.halted
		}
	}
	m.reply <- s
}

// Waiting is a record that has no verdict yet: the head of a line.
type Waiting struct {
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Order     string    `json:"order_id,omitempty"`
	Event     string    `json:"event_id,omitempty"`
	Since     time.Time `json:"since"`         // when it was taken up
	Seconds   float64   `json:"seconds"`       // how long ago that is
	WaitsFor  string    `json:"waits_for"`     // in words for a person
	Calls     int       `json:"calls"`         // to the API, so far
	Commit    bool      `json:"holds_commit"`  // its partition's offset cannot pass it
	Behind    int       `json:"records_after"` // records of its partition that were taken up after it
}

// shownWaiting is how many records a status shows.
const shownWaiting = 10

// longestWaiting gives the records that have waited longest for a verdict.
// Those that wait behind another one of their order are left out: they wait
// for nothing else.
func (o *owner) longestWaiting() []Waiting {
	var heads []*item
	for _, pt := range o.parts {
		if pt.window == nil {
			continue
		}
		for _, it := range pt.window.entries {
			if !it.settled && it.blockedBy == 0 {
				heads = append(heads, it)
			}
		}
	}
	slices.SortFunc(heads, func(a, b *item) int { return a.since.Compare(b.since) })
	var all []Waiting
	for _, it := range heads[:min(len(heads), shownWaiting)] {
		w := Waiting{
			Partition: it.part.number, Offset: it.offset, Order: it.order, Event: it.id, Since: it.since.UTC(),
			Seconds: time.Since(it.since).Round(time.Millisecond).Seconds(),
			Commit:  it.part.window.low() == it.offset,
			Behind:  len(it.part.window.entries) - 1 - slices.Index(it.part.window.entries, it),
		}
		w.WaitsFor, w.Calls = o.waitsFor(it)
		all = append(all, w)
	}
	return all
}

func (o *owner) waitsFor(it *item) (reason string, calls int) {
	switch {
	case it.held && it.part.holding != nil:
		return "the end of the hold of invalid events at " + it.part.holding.until.UTC().Format(time.RFC3339), 0
	case !it.until.IsZero():
		return "waits for its time " + it.until.UTC().Format(time.RFC3339), 0
	case it.part.draining:
		reason = "its partition is handed over"
	case !it.part.known:
		return "the ledger to be read up to where it was when the partition was assigned", 0
	case !it.inFlight && o.commitsHold() != "":
		return "commits to be taken again: " + o.commitsHold(), 0
	case !it.inFlight:
		return "room: CAPTURE_MAX_IN_FLIGHT bounds the captures under way", 0
	}
	told, calls := it.lease.told()
	switch shut := o.p.capturer.Blocked(); {
	case reason != "":
		return reason, calls
	case shut != "":
		return shut, calls
	case told != "":
		return told, calls
	}
	return "the API's answer", calls
}
