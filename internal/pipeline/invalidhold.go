package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"payment-capture/internal/offsetmeta"
)

// Hold of invalid events: a run of records that would be parked without a call, with no
// good record between, is hardly many mistakes but one: another topic, another format, a
// wrong CURRENCY, a producer's clock. From the INVALID_EVENT_RUN-th record on the run is
// held in its partition: admitted, uncommitted and not parked, so that an operator can
// act before a whole topic is parked.
//
// A hold is a delay. It ends when a good record is found behind it (by polling, or by the
// scout if polling is paused), when INVALID_EVENT_HOLD has passed, or when an operator
// releases it. The held records are parked then. After a hold that expired or was
// released, the rest of the run is parked at once: a topic of invalid events alone would
// otherwise take one hold for each offset tracker full of records.
//
// The run and the beginning of its hold are part of the committed metadata, so a restart
// or a rebalance neither ends nor prolongs a hold.

// holdReportInterval is the time between two log lines about one hold.
const holdReportInterval = 5 * time.Minute

// invalidRun is the run of suspicious records of one partition.
type invalidRun struct {
	offsetmeta.Run

	first int64 // offset of the run's first record; 0: the previous owner counted it
	hold  *invalidHold
	// goodAt is the offset of a good record that the scout found. Suspicious records
	// below it are not counted.
	goodAt int64
}

// invalidHold is the hold of one partition. It exists while Run.HeldSince is set.
type invalidHold struct {
	until     time.Time // when the records are parked
	reportAt  time.Time // when the hold is logged again
	announced bool      // the hold is logged and shown
	items     []*item   // admitted and held
	last      int64     // offset of the last suspicious record that is known
	reason    string    // why that one would be parked
	ahead     int       // records that only the scout has read
	target    *scoutTarget
}

// noteLast remembers the last suspicious record.
func (h *invalidHold) noteLast(offset int64, reason string) {
	if offset >= h.last {
		h.last, h.reason = offset, reason
	}
}

// stopScouting forgets the count of the scout, because polling counts its records now.
func (h *invalidHold) stopScouting() { h.target, h.ahead = nil, 0 }

// suspicion returns why a record would be parked without a call.
func (r *polledRecord) suspicion() string {
	return string(r.suspicious.Reason) + ": " + r.suspicious.Detail
}

// holds reports whether a record that is about to be admitted must be held.
func (run *invalidRun) holds(r *polledRecord) bool {
	return run.hold != nil && r.suspicious != nil && r.record.Offset >= run.HeldFrom
}

// restart forgets the run at a good record.
func (run *invalidRun) restart() { run.Run = offsetmeta.Run{CountedTo: run.CountedTo} }

// countRun counts the records of one poll before any of them is admitted: a good record
// at the end of the poll ends a run before its first record is held.
func (o *owner) countRun(pt *partition, records []polledRecord) {
	run := &pt.invalid
	for i := range records {
		r := &records[i]
		at := r.record.Offset
		pt.polledTo = max(pt.polledTo, at+1)
		switch {
		case at < run.CountedTo: // by the previous owner
			switch {
			case r.good && run.hold != nil && at >= run.HeldFrom:
				// It was suspicious to the previous owner: the cause was fixed since.
				o.endHold(pt, holdEndedByGood, at)
				run.restart()
			case run.holds(r):
				run.hold.noteLast(at, r.suspicion())
			}
		case r.good:
			o.endHold(pt, holdEndedByGood, at)
			run.restart()
		case r.suspicious != nil && at >= run.goodAt:
			o.extendRun(pt, r)
		}
		run.CountedTo = max(run.CountedTo, at+1)
	}
	h := run.hold
	if h == nil {
		return
	}
	if len(records) > 0 {
		h.stopScouting() // a poll that was under way when polling was paused
	}
	if !h.announced {
		h.announced, pt.dirty = true, true
		o.logHold(pt, slog.LevelError, "invalid events held")
	}
}

// extendRun counts a suspicious record, and begins a hold if the run is long enough.
func (o *owner) extendRun(pt *partition, r *polledRecord) {
	run, conf := &pt.invalid, &o.p.conf
	at := r.record.Offset
	if run.Length == 0 {
		run.first = at
	}
	run.Length++
	// The many events that wait for their time already are evidence enough.
	long := run.Length >= int64(conf.InvalidRun) || r.crowded > 0
	if run.hold == nil && conf.InvalidRun > 0 && conf.InvalidHold > 0 && !run.Released && long {
		// Records of the run that are buffered and not admitted yet are held too.
		run.HeldFrom = max(run.first, pt.tracker.next)
		o.beginHold(pt, time.Now())
	}
	if run.hold != nil {
		run.hold.noteLast(at, r.suspicion())
	}
}

func (o *owner) beginHold(pt *partition, since time.Time) {
	pt.invalid.HeldSince = since.Unix()
	pt.invalid.hold = &invalidHold{until: since.Add(o.p.conf.InvalidHold), reportAt: time.Now().Add(holdReportInterval)}
}

// resumeRun continues the run that the previous owner committed.
func (o *owner) resumeRun(pt *partition, committed offsetmeta.Run) {
	run := &pt.invalid
	run.Run = committed
	if run.HeldSince == 0 {
		return
	}
	if o.p.conf.InvalidRun == 0 || o.p.conf.InvalidHold == 0 {
		run.HeldSince, run.Released = 0, true
		o.p.conf.Metrics.holdEnded(holdReleased)
		o.log.WarnContext(o.work, "invalid events released by the configuration", slog.String("topic", o.p.conf.Topics.Input),
			slog.Int64("partition", int64(pt.number)), slog.Int64("first_offset", run.HeldFrom))
		return
	}
	since, now := time.Unix(run.HeldSince, 0), time.Now()
	if since.After(now) { // the clock of another machine is ahead
		since = now
	}
	o.beginHold(pt, since)
}

// holdEnd is why a hold ended, as the metric names it.
type holdEnd string

const (
	holdEndedByGood holdEnd = "good_event"
	holdExpired     holdEnd = "expired"
	holdReleased    holdEnd = "released"
)

// endHold has the held records of a partition parked. good is the offset of the record
// that ended the hold, if one did.
func (o *owner) endHold(pt *partition, why holdEnd, good int64) {
	run, h := &pt.invalid, pt.invalid.hold
	if h == nil {
		return
	}
	if h.announced {
		switch why {
		case holdEndedByGood:
			o.logHold(pt, slog.LevelInfo, "invalid events released by a valid event", slog.Int64("valid_offset", good))
		case holdExpired:
			o.logHold(pt, slog.LevelError, "invalid events parked after hold")
		case holdReleased:
			o.logHold(pt, slog.LevelWarn, "invalid events released by an operator")
		}
		o.p.conf.Metrics.holdEnded(why)
		pt.dirty = true
	}
	run.hold = nil
	run.HeldSince, run.HeldFrom, run.Released = 0, 0, why != holdEndedByGood
	for _, it := range h.items {
		it.held = false
		o.enter(it)
	}
	o.countHolds()
}

// checkHolds ends the holds whose time has passed, and returns when to check again.
func (o *owner) checkHolds() time.Time {
	var wake time.Time
	now := time.Now()
	for _, pt := range o.parts {
		h := pt.invalid.hold
		if h == nil || pt.draining {
			continue
		}
		if !now.Before(h.until) {
			o.endHold(pt, holdExpired, 0)
			continue
		}
		if !now.Before(h.reportAt) {
			h.reportAt = now.Add(holdReportInterval)
			o.logHold(pt, slog.LevelWarn, "invalid events still held")
		}
		wake = earliest(wake, h.until, h.reportAt)
	}
	return wake
}

// countHolds updates the metrics of the holds.
func (o *owner) countHolds() {
	var oldest int64
	for n, pt := range o.parts {
		waiting := 0
		if pt.showsHold() {
			waiting = pt.waitingBehind()
			if oldest == 0 || pt.invalid.HeldSince < oldest {
				oldest = pt.invalid.HeldSince
			}
		}
		o.p.conf.Metrics.holding(n, waiting)
	}
	o.p.conf.Metrics.oldestHold.Store(oldest)
}

// showsHold reports whether the partition has a hold that was announced.
func (pt *partition) showsHold() bool { return pt.invalid.hold != nil && pt.invalid.hold.announced }

// waitingBehind returns how many records a hold keeps waiting, as far as they were read.
func (pt *partition) waitingBehind() int {
	n := len(pt.invalid.hold.items) + pt.invalid.hold.ahead
	for i := range pt.buffered {
		if !pt.buffered[i].skip {
			n++
		}
	}
	return n
}

// InvalidHold is a run of invalid events that is held in its partition.
type InvalidHold struct {
	Partition int32     `json:"partition"`
	First     int64     `json:"first_offset"`    // of the held records
	Last      int64     `json:"last_offset"`     // as far as they were read
	Waiting   int       `json:"records_waiting"` // likewise
	Reason    string    `json:"reason"`          // why the last one would be parked
	Since     time.Time `json:"since"`
	ParkedAt  time.Time `json:"parked_at"` // unless a valid event comes before
	Release   string    `json:"release"`   // the command that parks them now
}

func (pt *partition) invalidHold() InvalidHold {
	run, h := &pt.invalid, pt.invalid.hold
	first := run.HeldFrom
	if len(h.items) > 0 {
		first = h.items[0].offset
	}
	return InvalidHold{
		Partition: pt.number, First: first, Last: max(first, h.last), Waiting: pt.waitingBehind(), Reason: h.reason,
		Since: time.Unix(run.HeldSince, 0).UTC(), ParkedAt: h.until.UTC().Truncate(time.Second),
		Release: fmt.Sprintf("payment-capture release --partition %d", pt.number),
	}
}

// invalidHolds returns the announced holds, ordered by partition.
func (o *owner) invalidHolds() []InvalidHold {
	var all []InvalidHold
	for _, pt := range o.parts {
		if pt.showsHold() {
			all = append(all, pt.invalidHold())
		}
	}
	slices.SortFunc(all, func(a, b InvalidHold) int { return cmp.Compare(a.Partition, b.Partition) })
	return all
}

func (o *owner) logHold(pt *partition, level slog.Level, message string, more ...slog.Attr) {
	h := pt.invalidHold()
	attrs := []slog.Attr{
		slog.String("topic", o.p.conf.Topics.Input), slog.Int64("partition", int64(h.Partition)),
		slog.Int64("first_offset", h.First), slog.Int64("last_offset", h.Last), slog.Int("records_waiting", h.Waiting),
		slog.String("reason", h.Reason), slog.String("parked_at", h.ParkedAt.Format(time.RFC3339)),
	}
	if level > slog.LevelInfo && o.owns(pt) && time.Now().Before(h.ParkedAt) {
		attrs = append(attrs, slog.String("release", h.Release))
	}
	o.log.LogAttrs(o.work, level, message, append(attrs, more...)...) //nolint:sloglint // fixed texts of the callers
}

// ReleaseInvalid ends holds of invalid events now: of one partition, or of all if it is
// nil. The held records and the rest of their runs are parked. It returns the holds that
// it ended.
func (p *Pipeline) ReleaseInvalid(ctx context.Context, partition *int32) ([]InvalidHold, error) {
	select {
	case <-p.started:
	default:
		return nil, fmt.Errorf("release invalid events: %w", errStarting)
	}
	released, err := ask(ctx, p, func(o *owner) []InvalidHold { return o.releaseHolds(partition) })
	if err != nil {
		return nil, fmt.Errorf("release invalid events: %w", err)
	}
	return released, nil
}

func (o *owner) releaseHolds(partition *int32) []InvalidHold {
	var released []InvalidHold
	for _, h := range o.invalidHolds() {
		pt := o.parts[h.Partition]
		if pt.draining || (partition != nil && *partition != h.Partition) {
			continue
		}
		released = append(released, h)
		o.endHold(pt, holdReleased, 0)
	}
	return released
}
