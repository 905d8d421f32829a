package replay

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/rules"
)

// parkedCandidate returns the candidate of a record of the parked topic; nil: the
// record is not selected.
func (r *Run) parkedCandidate(ctx context.Context, rec *kgo.Record) (*candidate, error) {
	p, ok := restore(kafka.MessageOf(rec))
	if !ok {
		// The record is not a parked record, or is a damaged one. The plan lists it
		// unless the selection excludes it.
		s, of := &r.state.Selection, look(p.message, &r.conf.Rules)
		if !s.hasReason(p.reason) || !s.names(&of) {
			return nil, nil //nolint:nilnil // not selected
		}
		return &candidate{class: NotParked}, nil
	}
	j := &candidate{origin: p.at.Partition}
	var err error
	if j.class, err = r.complete(ctx, &p); err != nil || j.class != "" {
		return j, err
	}
	j.subject = look(p.message, &r.conf.Rules)
	if !r.chosen(j) {
		return nil, nil //nolint:nilnil // not selected
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
	// A record that was parked after the run began was sent by this run or by another
	// client meanwhile. The run does not send it twice.
	if standing != nil && (!standing.Parked() || standing.At.After(r.state.Began)) {
		j.class = DecidedSince
		return j, nil
	}
	j.mark = p.mark(standing)
	j.resend, j.send = j.mark, true
	return j, nil
}

// complete adds to a parked record what the parked topic does not hold: the value, if
// it was too large for that topic, and the record's time, if it matters and the input
// still has the record. If it cannot, the class is the reason; otherwise it is "".
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
		p.message = withoutMarks(kafka.MessageOf(original))
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
	if original != nil && sameRecord(withoutMarks(kafka.MessageOf(original)), p.message) {
		p.message.Timestamp = kafka.MessageOf(original).Timestamp
	} else if !p.first.IsZero() && p.first.Before(p.message.Timestamp) {
		p.message.Timestamp = p.first // it is at least that old
	}
	return "", nil
}

// withoutMarks returns the message without the marks of an earlier resend.
func withoutMarks(m event.Message) event.Message {
	m.Headers = slices.DeleteFunc(slices.Clone(m.Headers), func(h event.Header) bool { return event.IsResendHeader(h.Key) })
	return m
}

// sameRecord reports whether two records are equal apart from their times.
func sameRecord(a, b event.Message) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) &&
		slices.EqualFunc(a.Headers, b.Headers, func(x, y event.Header) bool { return x.Key == y.Key && bytes.Equal(x.Value, y.Value) })
}

// standing returns the ledger's decision on a parked record; nil: there is none,
// because there was no ledger then. The decision on a record that is not a valid
// event, or contradicts the history of its event, is under its RecordID.
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
