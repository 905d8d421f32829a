package replay

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/rules"
)

// judgeParked looks at a record of the parked topic. nil: it is not chosen.
func (r *Run) judgeParked(ctx context.Context, rec *kgo.Record) (*judged, error) {
	p, ok := restore(messageOf(rec))
	if !ok {
		// What says nothing of a parking has neither a reason nor an event; else what
		// it says is damaged, and a person should know.
		s, of := &r.state.Selection, look(p.message, &r.conf.Rules)
		if !s.hasReason(p.reason) || !s.names(&of) {
			return nil, nil //nolint:nilnil // it is not chosen
		}
		return &judged{class: NoParking}, nil
	}
	j := &judged{origin: p.at.Partition}
	var err error
	if j.class, err = r.complete(ctx, &p); err != nil || j.class != "" {
		return j, err
	}
	j.subject = look(p.message, &r.conf.Rules)
	if !r.chosen(j) {
		return nil, nil //nolint:nilnil // it is not chosen
	}
	if !j.subject.ours() {
		return j, nil
	}
	standing, err := r.standing(ctx, &p, &j.subject)
	if err != nil {
		return nil, err
	}
	reason := p.reason
	if standing != nil && standing.Parked() {
		reason = standing.ParkInfo.Reason
	}
	if !r.state.Selection.hasReason(reason) {
		return nil, nil //nolint:nilnil // likewise
	}
	// What was parked after the run began was sent by it, or by somebody else
	// meanwhile: it is not tried twice.
	if standing != nil && (!standing.Parked() || standing.At.After(r.state.Began)) {
		j.class = DecidedSince
		return j, nil
	}
	j.mark = p.mark(standing)
	j.resend, j.send = j.mark, true
	return j, nil
}

// complete returns a parked record what is not in the parked topic: the record
// itself, where that was too large for it, and its time, where that matters and
// the record is still where it was. The class says why it cannot; else it is "".
func (r *Run) complete(ctx context.Context, p *parked) (Class, error) {
	if p.digest != nil {
		original, err := r.fetch.record(ctx, p.at)
		switch {
		case err != nil:
			return "", err
		case original == nil:
			return DigestGone, nil
		case !p.digest.Matches(original.Value):
			return DigestDiffers, nil
		}
		p.message = withoutMarks(messageOf(original))
		return "", nil
	}
	if p.untimed() {
		p.message.Timestamp = time.Time{}
		return "", nil
	}
	s := look(p.message, &r.conf.Rules)
	if !s.ours() || !p.timeMatters(&s) {
		return "", nil
	}
	original, err := r.fetch.record(ctx, p.at)
	if err != nil {
		return "", err
	}
	if original != nil && sameRecord(withoutMarks(messageOf(original)), p.message) {
		p.message.Timestamp = messageOf(original).Timestamp
	} else if !p.first.IsZero() && p.first.Before(p.message.Timestamp) {
		p.message.Timestamp = p.first // it is as old as that at least
	}
	return "", nil
}

// withoutMarks leaves out the marks of an earlier resend.
func withoutMarks(m event.Message) event.Message {
	m.Headers = slices.DeleteFunc(slices.Clone(m.Headers), func(h event.Header) bool { return event.IsResendHeader(h.Key) })
	return m
}

// sameRecord compares two records without their times.
func sameRecord(a, b event.Message) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) &&
		slices.EqualFunc(a.Headers, b.Headers, func(x, y event.Header) bool { return x.Key == y.Key && bytes.Equal(x.Value, y.Value) })
}

// standing returns what the ledger decided on a parked record; nil: nothing, for
// there was no ledger then. A record that is no valid event, or contradicts the
// history of its event, was decided by its RecordID.
func (r *Run) standing(ctx context.Context, p *parked, s *subject) (*event.Decision, error) {
	byRecord := s.event == nil
	if s.event != nil {
		h, err := r.conf.Ledger.Lookup(ctx, s.id)
		if err != nil {
			return nil, err
		}
		switch a := rules.Respond(s.event, nil, h).Action; {
		case a == rules.Park:
			byRecord = true
		case a != rules.Evaluate:
			return h.Decision, nil
		default:
			// It was no valid event to the version that parked it, or it
			// contradicted an attempt that was withdrawn.
			byRecord = p.reason == event.ParkInvalidEvent || p.reason == event.ParkConflicting
		}
	}
	if !byRecord {
		return nil, nil //nolint:nilnil // there is none
	}
	h, err := r.conf.Ledger.Lookup(ctx, event.RecordID(s.message))
	return h.Decision, err
}
