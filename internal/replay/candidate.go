package replay

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/rules"
)

// candidate is a selected record: its content, what the service would do with it,
// and whether the run sends it.
type candidate struct {
	subject subject
	mark    *event.Resend // the mark to add; nil: none
	resend  *event.Resend // the mark that the service would read: the one to add, or the record's own
	// origin is the record's partition in the input.
	origin int32
	class  Class
	// byRecord: the service identifies the record by its RecordID, which depends on
	// the record's time.
	byRecord bool
	// resent is why the event was parked, if the mark undoes that: the service ignores its
	// age then.
	resent *event.ParkInfo
	send   bool
}

// candidate returns the candidate of a record of the source; nil: the record is not
// selected. The class is set if the record is not sent; otherwise classify sets it.
func (r *Run) candidate(ctx context.Context, rec *kgo.Record) (*candidate, error) {
	if !r.state.Selection.inTime(rec) {
		return nil, nil //nolint:nilnil // not selected
	}
	if r.state.Selection.Parked {
		return r.parkedCandidate(ctx, rec)
	}
	j := &candidate{subject: look(kafka.MessageOf(rec), &r.conf.Rules), origin: rec.Partition}
	if !r.chosen(j) {
		return nil, nil //nolint:nilnil // likewise
	}
	j.resend = event.ResendOf(j.subject.message)
	j.send = j.subject.event != nil
	return j, nil
}

// chosen reports whether a record is selected by its order and event. A record that
// the service skips has neither.
func (r *Run) chosen(j *candidate) bool {
	if j.subject.ours() {
		return r.state.Selection.names(&j.subject)
	}
	j.class = j.subject.foreign
	return len(r.state.Selection.Orders) == 0 && len(r.state.Selection.Events) == 0
}

// classify sets the class: what the service would do with the record. It reports
// whether this is the first copy of the event.
func (r *Run) classify(ctx context.Context, j *candidate) (first bool, err error) {
	before, err := r.seen.met(j.subject.id, j.subject.content())
	if err != nil {
		return false, err
	}
	if j.class == "" {
		if err := r.classifyAfter(ctx, j, before); err != nil {
			return false, err
		}
	}
	first = before.first(j.subject.identity())
	if before.known {
		return first, nil
	}
	return first, r.seen.note(j.subject.id, before, contentMet{
		Content: j.subject.content(), Identity: j.subject.identity(), Binds: j.class.binds(),
	})
}

// classifyAfter sets the class of a record that follows others of its id.
func (r *Run) classifyAfter(ctx context.Context, j *candidate, before metBefore) error {
	c, err := r.caseOf(ctx, j, before.another(j.subject.identity()))
	if err != nil {
		return err
	}
	now := time.Now()
	j.class = r.conf.Rules.Classify(c, now)
	switch {
	case r.timeless(j, now):
		j.class, j.send = Timeless, false
	case r.state.Selection.Parked && j.class == Corrected:
		j.send = false
	case j.releases() && !r.state.Selection.namesDuplicates():
		j.class, j.send = Duplicate, false
	case r.state.Selection.Parked && j.class.parkedAtOnce():
		j.send = r.state.Selection.ParkedAgain
	}
	return nil
}

// releases reports whether the service would charge an event because it was resent
// although it is a possible duplicate.
func (j *candidate) releases() bool {
	return j.mark != nil && j.class.Calls() && j.resent != nil && j.resent.Reason == event.ParkPossibleDuplicate
}

// caseOf looks up a record in the ledger. If second is set, an earlier event of the
// same id is for another order or amount and leads to a call.
func (r *Run) caseOf(ctx context.Context, j *candidate, second bool) (c rules.Case, err error) {
	s := &j.subject
	j.byRecord = s.event == nil
	c = rules.Case{Event: s.event, Resend: j.resend}
	if s.event != nil {
		if c.History, err = r.conf.Ledger.Lookup(ctx, s.id); err != nil {
			return c, err
		}
		if c.History != (event.History{}) {
			c.Body = s.body()
		}
		d := rules.Respond(s.event, j.resend, c.History)
		if second && d.Action == rules.Evaluate && c.History.NeverCalled() {
			// The service will have attempted that event before it reads this one.
			other := event.FingerprintOf([]byte("another event of this id"))
			c.History.Attempt = &event.Attempt{First: time.Now(), Event: other}
			d = rules.Respond(s.event, j.resend, c.History)
		}
		j.byRecord, j.resent = d.Action == rules.Park, d.Resent
		if charge, compares := r.conf.Rules.Guard.Compared(s.event); compares && d.Action == rules.Evaluate {
			if c.Known, err = r.conf.Ledger.Under(ctx, charge); err != nil {
				return c, err
			}
		}
	}
	if j.byRecord {
		h, err := r.conf.Ledger.Lookup(ctx, event.RecordID(s.message))
		if err != nil {
			return c, err
		}
		c.Record = h.Decision
	}
	return c, nil
}

// timeless reports whether a copy must not be sent because the input topic replaces
// its time. The copy could be a younger event, which may be charged although the old
// one may not, or a record with another id. A parked record with another id does no
// harm, because it is only parked again. An invalid record without any time is never
// sent, because its copy would become a valid event of today.
func (r *Run) timeless(j *candidate, now time.Time) bool {
	if !j.send || r.limits.keep(j.subject.message.Timestamp, now) {
		return false
	}
	byAge := j.resent == nil && slices.Contains([]Class{First, Waits, ParkTooOld, ParkInFuture}, j.class)
	return (j.byRecord && !r.state.Selection.Parked) || (byAge && !j.subject.ownTime()) || j.subject.ageless(now)
}

// record returns the record to send. It reports whether the record moves to another
// partition, because the input topic does not have its own, and whether the record
// gets the present time.
func (r *Run) record(j *candidate) (out *kgo.Record, moved, restamped bool) {
	m := j.subject.message
	out = &kgo.Record{Topic: r.conf.Input, Key: m.Key, Value: m.Value}
	if r.limits.keep(m.Timestamp, time.Now()) {
		out.Timestamp = m.Timestamp
	}
	headers := m.Headers
	if j.mark != nil {
		headers = append(slices.Clip(headers), j.mark.Headers()...)
	}
	for _, h := range headers {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	out.Partition = j.origin
	if gone := int(j.origin) >= r.target.Partitions; gone || r.conf.Partitioner == ByKey {
		out.Partition = partitionOf(out, r.target.Partitions)
		moved = gone && r.conf.Partitioner == SamePartition
	}
	return out, moved, out.Timestamp.IsZero()
}

// partitionOf returns the partition that Kafka's clients choose for a record's key.
// A record without a key keeps its partition, modulo the number of partitions.
func partitionOf(r *kgo.Record, partitions int) int32 {
	if r.Key == nil {
		return r.Partition % int32(partitions) //nolint:gosec // G115: it was an int32
	}
	return int32(kgo.StickyKeyPartitioner(nil).ForTopic(r.Topic).Partition(r, partitions)) //nolint:gosec // G115: likewise
}
