package replay

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Plan says what would be sent from where the run is, and what would come of it,
// by the ledger and the clock as they are now. Nothing is sent. At the end of ctx
// the error is [ErrInterrupted].
func (r *Run) Plan(ctx context.Context) (*Plan, error) {
	plan, err := r.plan(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("%w; nothing was sent", ErrInterrupted)
	}
	return plan, err
}

func (r *Run) plan(ctx context.Context) (*Plan, error) {
	if r.state.Selection.Parked {
		// All of it, also where the run has been: what was parked again is sent
		// from its last place, be that before or behind.
		if err := r.findNewest(ctx); err != nil {
			return nil, err
		}
	}
	t := newTally()
	err := r.scan(ctx, "looking at the records", r.state.Spans, func(rec *kgo.Record) error {
		t.plan.Scanned++
		return r.weigh(ctx, t, rec)
	})
	if err != nil {
		return nil, err
	}
	return t.done(), nil
}

// scan gives every record of the spans to a function, and shows how far it is.
func (r *Run) scan(ctx context.Context, phase string, spans []span, use func(*kgo.Record) error) error {
	m := r.merged(spans)
	defer m.close()
	total, read := steps(spans), int64(0)
	for {
		rec, err := m.next(ctx)
		if rec == nil || err != nil {
			return err
		}
		if err := use(rec); err != nil {
			return err
		}
		read++
		r.conf.Progress(phase, read, total)
	}
}

// steps gives how many offsets there are to read.
func steps(spans []span) int64 {
	var n int64
	for _, s := range spans {
		n += s.End - s.Next
	}
	return n
}

// findNewest notes where each event was parked last.
func (r *Run) findNewest(ctx context.Context) error {
	whole := make([]span, 0, len(r.state.Spans))
	for _, s := range r.state.Spans {
		s.Next = s.Start
		whole = append(whole, s)
	}
	return r.scan(ctx, "looking for what was parked again", whole, func(rec *kgo.Record) error {
		j, err := r.judge(ctx, rec)
		if err != nil || j == nil || j.subject.id == "" {
			return err
		}
		return r.seen.parkedAt(j.subject.id, j.subject.content(), placeIn(rec))
	})
}

func placeIn(rec *kgo.Record) place {
	p := place{Partition: rec.Partition, Offset: rec.Offset}
	if timed(rec) {
		p.At = rec.Timestamp.UnixMilli()
	}
	return p
}

// superseded reports whether an event is sent from another place of the parked
// topic than this one.
func (r *Run) superseded(j *judged, rec *kgo.Record) (bool, error) {
	if !r.state.Selection.Parked || j.subject.id == "" {
		return false, nil
	}
	newest, err := r.seen.newest(j.subject.id, j.subject.content())
	return newest != placeIn(rec), err
}

// weigh adds a record to the plan.
func (r *Run) weigh(ctx context.Context, t *tally, rec *kgo.Record) error {
	j, err := r.judge(ctx, rec)
	if err != nil || j == nil {
		return err
	}
	old, err := r.superseded(j, rec)
	if err != nil {
		return err
	}
	if old {
		t.add(Superseded, nil, false, false)
		return nil
	}
	first := true
	if j.subject.id != "" {
		if first, err = r.classify(ctx, j); err != nil {
			return err
		}
	}
	if err := r.claim(j); err != nil {
		return err
	}
	if !j.subject.ours() {
		t.skipped.Add(j.subject.skipped.Reason, j.subject.skipped.Type)
	}
	t.add(j.class, j.subject.event, first, j.send)
	if j.send {
		_, moved, restamped := r.record(j)
		if moved {
			t.plan.Elsewhere++
		}
		if restamped {
			t.plan.Restamped++
		}
	}
	return nil
}

// claim: of the events of one reference that would be called for, the first is
// captured, as far as can be told, and the others are parked for it.
func (r *Run) claim(j *judged) error {
	if !r.conf.Rules.OncePerReference || !j.class.Calls() {
		return nil
	}
	holder, err := r.seen.claim(j.subject.event.ExternalReference, j.subject.id)
	if err != nil || holder == j.subject.id {
		return err
	}
	if j.class == First || j.class == Waits {
		j.class = ParkReference
	} else {
		j.class = LookUpThenPark
	}
	return nil
}
