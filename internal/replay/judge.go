package replay

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/rules"
)

// judged is a chosen record: what it is, what the service would do with it, and
// whether it is sent.
type judged struct {
	subject subject
	mark    *event.Resend // to be added; nil: none
	resend  *event.Resend // what the service would read: mark, or what is there already
	// origin is the partition in which the record lay in the input.
	origin int32
	class  Class
	// byRecord: what the service does with it goes by its RecordID, of which the
	// record's time is part.
	byRecord bool
	// forgiven: the service does not go by the event's age.
	forgiven bool
	send     bool
}

// judge looks at a record of the source. nil: it is not chosen. Its class is
// final where it is not sent; else classify gives it.
func (r *Run) judge(ctx context.Context, rec *kgo.Record) (*judged, error) {
	if !r.state.Selection.inTime(rec) {
		return nil, nil //nolint:nilnil // it is not chosen
	}
	if r.state.Selection.Parked {
		return r.judgeParked(ctx, rec)
	}
	j := &judged{subject: look(messageOf(rec), &r.conf.Rules), origin: rec.Partition}
	if !r.chosen(j) {
		return nil, nil //nolint:nilnil // likewise
	}
	j.resend = event.ResendOf(j.subject.message)
	j.send = j.subject.event != nil
	return j, nil
}

// chosen reports whether a record is chosen by its order and event. One that is
// none of ours has neither.
func (r *Run) chosen(j *judged) bool {
	if j.subject.ours() {
		return r.state.Selection.names(&j.subject)
	}
	j.class = j.subject.foreign
	return len(r.state.Selection.Orders) == 0 && len(r.state.Selection.Events) == 0
}

// classify finds out what the service would do. first: no copy of it was
// classified before.
func (r *Run) classify(ctx context.Context, j *judged) (first bool, err error) {
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

// classifyAfter classifies a record that comes after others of its id.
func (r *Run) classifyAfter(ctx context.Context, j *judged, before metBefore) error {
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
	case r.state.Selection.Parked && j.class.hopeless():
		j.send = r.state.Selection.Hopeless
	}
	return nil
}

// caseOf asks the ledger what is known about a record. second: an event of its id
// that is for something else, and is called for, was classified before.
func (r *Run) caseOf(ctx context.Context, j *judged, second bool) (c rules.Case, err error) {
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
			// The service will have attempted that event when this one comes.
			other := event.FingerprintOf([]byte("another event of this id"))
			c.History.Attempt = &event.Attempt{First: time.Now(), Event: other}
			d = rules.Respond(s.event, j.resend, c.History)
		}
		j.byRecord, j.forgiven = d.Action == rules.Park, d.Resent
		if d.Action == rules.Evaluate && r.conf.Rules.OncePerReference {
			known, err := r.conf.Ledger.UnderReference(ctx, s.event.ExternalReference)
			if err != nil {
				return c, err
			}
			c.Captured = rules.CapturedByAnother(s.id, known)
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

// timeless reports whether the copy of a record would be another thing than the
// record, for the input topic would give it another time: a younger event, that
// may be charged where the old one is not, or a record under another id. That
// of a parked one does no harm: it is only parked again. But a record that is
// invalid because nothing tells its age would become a valid event of today.
func (r *Run) timeless(j *judged, now time.Time) bool {
	if !j.send || r.limits.keep(j.subject.message.Timestamp, now) {
		return false
	}
	byAge := !j.forgiven && slices.Contains([]Class{First, Waits, ParkTooOld, ParkInFuture}, j.class)
	return (j.byRecord && !r.state.Selection.Parked) || (byAge && !j.subject.ownTime()) || j.subject.ageless(now)
}

// record makes the record to send. moved: it goes to another partition than that
// in which it lay, for that is not there; restamped: it has the present time.
func (r *Run) record(j *judged) (out *kgo.Record, moved, restamped bool) {
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

// partitionOf returns the partition that Kafka's clients choose for a record's
// key. A record without one stays as near to where it was as may be.
func partitionOf(r *kgo.Record, partitions int) int32 {
	if r.Key == nil {
		return r.Partition % int32(partitions) //nolint:gosec // G115: it was an int32
	}
	return int32(kgo.StickyKeyPartitioner(nil).ForTopic(r.Topic).Partition(r, partitions)) //nolint:gosec // G115: likewise
}
