package pipeline

import (
	"fmt"
	"log/slog"
)

// A run of invalid events with no valid one between is hardly many mistakes but
// one: another format, another topic. Its records are not parked, which would
// be to move a whole topic aside, but held, in the window and uncommitted, until
// a valid event comes or somebody looks.

// notice counts a record that was polled.
func (o *owner) notice(r polledRecord) {
	switch {
	case r.invalid != nil:
		o.invalidRun++
	case r.valid:
		o.invalidRun = 0
		o.clearSuspects()
	}
}

// suspicious reports whether the run is so long that what belongs to it is held.
func (o *owner) suspicious() bool {
	limit := o.p.conf.InvalidRun
	return limit > 0 && o.invalidRun >= limit
}

// suspect holds an invalid event.
func (o *owner) suspect(it *item) {
	it.suspect = true
	o.suspects = append(o.suspects, it)
	if o.suspicion == "" {
		o.suspicion = fmt.Sprintf("%d records in a row are no valid events (the last: %s): they are held, not parked. "+
			"Look whether TOPIC_ORDER_READY_TO_CAPTURE is the right topic and has the right format; "+
			"if they are to be parked, set INVALID_EVENT_RUN higher, or to 0, and start again", o.invalidRun, it.invalid)
		o.log.ErrorContext(o.work, "a run of invalid events is held", slog.String("reason", o.suspicion))
	}
	o.p.conf.Metrics.suspected(len(o.suspects))
}

// clearSuspects parks what was held: a valid event came, so the format is
// right, and they were mistakes after all.
func (o *owner) clearSuspects() {
	if len(o.suspects) == 0 {
		return
	}
	held := o.suspects
	o.suspects, o.suspicion = nil, ""
	for _, it := range held {
		if pt := it.part; o.parts[pt.number] == pt && !pt.draining {
			it.suspect = false
			o.line(it)
		}
	}
	o.p.conf.Metrics.suspected(0)
}

// forgetSuspects leaves those of dropped partitions to their next owner.
func (o *owner) forgetSuspects() {
	kept := o.suspects[:0]
	for _, it := range o.suspects {
		if o.parts[it.part.number] == it.part {
			kept = append(kept, it)
		}
	}
	clear(o.suspects[len(kept):])
	if o.suspects = kept; len(kept) == 0 {
		o.suspicion = ""
	}
	o.p.conf.Metrics.suspected(len(kept))
}
