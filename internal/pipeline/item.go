package pipeline

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/offsetmeta"
)

// item is one record on its way: polled, taken up into the window, in flight,
// settled, flushed.
type item struct {
	part   *partition
	offset int64
	bytes  int                   // of the record
	record *kgo.Record           // dropped when settled
	event  *event.ReadyToCapture // nil where the record is no valid event
	lanes  []laneKey
	since  time.Time // when it was taken up
	order  string    // for a person; "" where the record is no valid event
	id     string    // of the event, or what stands in for it
	lease  *lease    // from the beginning of its capture on

	glimpse event.Snapshot // what was known of it when it was polled
	answer  *settlement    // what follows from that, where it needs no call

	invalid *event.InvalidError // why the record is no valid event
	resend  *event.Resend       // where a person sent it again

	blockedBy   int   // lanes in which others are before it
	epochBefore int32 // leader epoch of the record before; -1: not known
	inFlight    bool
	held        bool      // of a run of invalid events, and not parked yet
	until       time.Time // it waits for this time; zero: it does not
	crowded     int       // so many others wait for their time that it must not; 0: it may
	left        bool      // it stands in no lane any more
	settled     bool
}

// settlement is a settled record's contribution to a flush.
type settlement struct {
	records  []*kgo.Record // none where it is answered by nothing
	digest   *kgo.Record   // goes instead of the first one if that is too large for a request; nil: it never is
	kind     string        // for the metrics: captured, rejected or parked
	replayed bool          // answered from the ledger
	// left is the decision by which it is answered by nothing, because the event
	// stays parked, or because a corrected one superseded it; else nil.
	left       *event.Decision
	superseded bool
	// until: there is no decision yet, the event has to wait for its time.
	until time.Time
	// id and decision are what the ledger keeps of it; nil where it knew before.
	id       string
	decision *event.Decision
}

// copies gives the records to produce, new ones each time: a record may not be
// produced twice. None takes more than most bytes.
func (s settlement) copies(most int) []*kgo.Record {
	out := make([]*kgo.Record, 0, len(s.records))
	for i, r := range s.records {
		if i == 0 && s.digest != nil && wireSize(r) > most {
			r = s.digest
		}
		out = append(out, &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers})
	}
	return out
}

// partition is what this instance knows of a partition that it owns.
type partition struct {
	number     int32
	ctx        context.Context //nolint:containedctx // ends with the ownership: captures of this partition run under it
	cancel     context.CancelFunc
	giveUp     chan struct{}   // closed when no further try shall begin
	asking     context.Context //nolint:containedctx // ends then as well
	stopAsking context.CancelFunc
	member     string // the consumer's id in the group when it was assigned

	window  *window        // nil until the committed offset is known
	check   *offsetCheck   // of its committed offset, under way; nil: none
	known   bool           // the ledger was read up to where it was at the assignment
	waiting []*item        // for that, else they could go
	backlog []polledRecord // polled, not taken up
	pending []settlement
	// unflushed counts what is settled and not committed, pending or in the
	// transaction under way.
	unflushed      int
	unflushedBytes int // of the records that they make
	heldBytes      int // of the records that wait for a verdict
	inFlight       int
	timed          int  // records that wait for their time
	dirty          bool // what would be committed differs from what was
	committing     bool // a commit of it is under way
	paused         bool
	halted         string // why it is not worked; "" when it is
	haltReason     haltReason
	draining       bool // no new capture is begun

	run     offsetmeta.Run
	runFrom int64        // offset of the run's first record; 0: the previous owner saw it
	holding *invalidHold // nil: nothing of the run is held
	// foreign: the committed offset is not ours and not confirmed yet. Nothing is
	// committed for the partition, or the offset would count as ours from then on.
	foreign bool
	polled  int64 // one past the highest offset that was polled
	goodAt  int64 // the scout found a good record here: what is below belongs to no run
}

// held counts the records that wait for a verdict.
func (pt *partition) held() int {
	n := len(pt.backlog)
	if pt.window != nil {
		n += pt.window.unsettled
	}
	return n
}

// dropBacklog forgets what was polled and not taken up.
func (pt *partition) dropBacklog() {
	for _, r := range pt.backlog {
		pt.heldBytes -= r.bytes()
	}
	pt.backlog = nil
}

// itemOverhead is what an item takes beside its record, near enough.
const itemOverhead = 1 << 10

// bytes gives what a record that waits takes in memory, near enough.
func (r *polledRecord) bytes() int {
	n := itemOverhead + wireSize(r.record)
	if r.answer != nil {
		n += r.answer.bytes()
	}
	return n
}

// bytes gives what the settlement's records take.
func (s settlement) bytes() int {
	n := 0
	for _, r := range s.records {
		n += wireSize(r)
	}
	return n
}

// drained reports whether nothing is left to do for the partition.
func (pt *partition) drained() bool {
	// A commit without records counts as well: it may say that records are held.
	return pt.inFlight == 0 && pt.unflushed == 0 && !pt.dirty && !pt.committing
}

func (pt *partition) stopTries() {
	if !pt.draining {
		pt.draining = true
		close(pt.giveUp)
		pt.stopAsking()
	}
}
