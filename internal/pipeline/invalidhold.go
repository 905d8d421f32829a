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

// A run of records that would be parked without a call, with no good record between,
// is hardly many mistakes but one: another topic, another format, a wrong CURRENCY, a
// producer's clock. From the INVALID_EVENT_RUN-th record on the run is held in its
// partition: admitted, uncommitted and not parked, so that an operator can look before
// a whole topic is moved aside.
//
// A hold is a delay, not a state. It ends when a good record is found behind it
// (by polling, or by the scout if polling is paused), when INVALID_EVENT_HOLD has
// passed, or when an operator releases it. The held records are parked then. After a
// hold that passed or was released, the rest of the run is parked at once: a topic of
// nothing else would advance by one window per hold otherwise.
//
// The run and the beginning of its hold are part of the committed metadata. A restart
// or a rebalance neither ends a hold nor prolongs it.

// holdReportEvery is the time between two log lines about one hold.
const holdReportEvery = 5 * time.Minute

// invalidHold is the hold of one partition. It exists while run.HeldSince is set.
type invalidHold struct {
	until     time.Time // when the records are parked
	reportAt  time.Time // when the hold is logged again
	announced bool      // the hold is logged, and shown
	items     []*item   // admitted and held
	last      int64     // offset of the last suspicious record that is known
	reason    string    // why the last one would be parked
	ahead     int       // records that only the scout has read
	target    *scoutTarget
}

// saw takes note of a suspicious record of the hold.
func (h *invalidHold) saw(offset int64, reason string) {
	if offset >= h.last {
		h.last, h.reason = offset, reason
	}
}

// stopScouting forgets what the scout read: it is polled, and counted so.
func (h *invalidHold) stopScouting() { h.target, h.ahead = nil, 0 }

// suspicion returns why a record would be parked without a call.
func (r *polledRecord) suspicion() string {
	return string(r.unfit.Reason) + ": " + r.unfit.Detail
}

// holds reports whether a record that is about to be admitted must be held.
func (pt *partition) holds(r *polledRecord) bool {
	return pt.holding != nil && r.unfit != nil && r.record.Offset >= pt.run.HeldFrom
}

// notice counts the records of one poll before any of them is admitted: a good
// record at the end of the poll ends a run before its first record is held.
func (o *owner) notice(pt *partition, records []polledRecord) {
	for i := range records {
		r := &records[i]
		at := r.record.Offset
		pt.polled = max(pt.polled, at+1)
		switch {
		case at < pt.run.CountedTo: // by the previous owner
			switch {
			case r.good && pt.holding != nil && at >= pt.run.HeldFrom:
				// It was suspicious to the previous owner: the cause was fixed since.
				o.endHold(pt, holdEndedByGood, at)
				pt.run = offsetmeta.Run{CountedTo: pt.run.CountedTo}
			case pt.holds(r):
				pt.holding.saw(at, r.suspicion())
			}
		case r.good:
			o.endHold(pt, holdEndedByGood, at)
			pt.run = offsetmeta.Run{}
		case r.unfit != nil && at >= pt.goodAt:
			o.extendRun(pt, r)
		}
		pt.run.CountedTo = max(pt.run.CountedTo, at+1)
	}
	h := pt.holding
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
	at := r.record.Offset
	if pt.run.Length == 0 {
		pt.runFrom = at
	}
	pt.run.Length++
	conf := &o.p.conf
	if pt.holding == nil && conf.InvalidRun > 0 && conf.InvalidHold > 0 && !pt.run.Released && pt.run.Length >= int64(conf.InvalidRun) {
		// What of the run was polled and is not admitted yet is held as well.
		pt.run.HeldFrom = max(pt.runFrom, pt.window.next)
		o.beginHold(pt, time.Now())
	}
	if pt.holding != nil {
		pt.holding.saw(at, r.suspicion())
	}
}

func (o *owner) beginHold(pt *partition, since time.Time) {
	pt.run.HeldSince = since.Unix()
	pt.holding = &invalidHold{until: since.Add(o.p.conf.InvalidHold), reportAt: time.Now().Add(holdReportEvery)}
}

// resumeRun goes on with the run that the previous owner committed.
func (o *owner) resumeRun(pt *partition, run offsetmeta.Run) {
	pt.run = run
	if run.HeldSince == 0 {
		return
	}
	if o.p.conf.InvalidRun == 0 || o.p.conf.InvalidHold == 0 {
		pt.run.HeldSince, pt.run.Released = 0, true
		o.p.conf.Metrics.holdEnded(holdReleased)
		o.log.WarnContext(o.work, "invalid events released by the configuration", slog.String("topic", o.p.conf.Topics.Input),
			slog.Int64("partition", int64(pt.number)), slog.Int64("first_offset", run.HeldFrom))
		return
	}
	now := time.Now()
	since := time.Unix(run.HeldSince, 0)
	if since.After(now) { // another machine's clock is ahead
		since = now
	}
	o.beginHold(pt, since)
}

// hold keeps an admitted record from being parked.
func (o *owner) hold(it *item) {
	it.held = true
	it.part.holding.items = append(it.part.holding.items, it)
}

// holdEnd is why a hold ended, as the metric names it.
type holdEnd string

const (
	holdEndedByGood holdEnd = "good_event"
	holdExpired     holdEnd = "expired"
	holdReleased    holdEnd = "released"
)

// endHold lets the held records of a partition be parked. good is the offset of the
// record that ended the hold, if one did.
func (o *owner) endHold(pt *partition, why holdEnd, good int64) {
	h := pt.holding
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
	pt.holding = nil
	pt.run.HeldSince, pt.run.HeldFrom, pt.run.Released = 0, 0, why != holdEndedByGood
	for _, it := range h.items {
		it.held = false
		o.line(it)
	}
	o.countHolds()
}

// checkHolds ends the holds whose time has passed, and returns when to look again.
func (o *owner) checkHolds() time.Time {
	var wake time.Time
	now := time.Now()
	for _, pt := range o.parts {
		h := pt.holding
		if h == nil || pt.draining {
			continue
		}
		if !now.Before(h.until) {
			o.endHold(pt, holdExpired, 0)
			continue
		}
		if !now.Before(h.reportAt) {
			h.reportAt = now.Add(holdReportEvery)
			o.logHold(pt, slog.LevelWarn, "invalid events still held")
		}
		wake = earliest(wake, earliest(h.until, h.reportAt))
	}
	return wake
}

// countHolds renews the metrics of the holds.
func (o *owner) countHolds() {
	var oldest int64
	for n, pt := range o.parts {
		waiting := 0
		if pt.holding != nil && pt.holding.announced {
			waiting = pt.waitingBehind()
			if oldest == 0 || pt.run.HeldSince < oldest {
				oldest = pt.run.HeldSince
			}
		}
		o.p.conf.Metrics.holding(n, waiting)
	}
	o.p.conf.Metrics.oldestHold.Store(oldest)
}

// waitingBehind returns how many records a hold keeps waiting, as far as they have
// been read.
func (pt *partition) waitingBehind() int {
	n := len(pt.holding.items) + pt.holding.ahead
	for i := range pt.backlog {
		if !pt.backlog[i].skip {
			n++
		}
	}
	return n
}

// InvalidHold is a run of invalid events that is held in its partition.
type InvalidHold struct {
	Partition int32     `json:"partition"`
	First     int64     `json:"first_offset"`    // of the held records
	Last      int64     `json:"last_offset"`     // as far as they have been read
	Waiting   int       `json:"records_waiting"` // likewise
	Reason    string    `json:"reason"`          // why the last one would be parked
	Since     time.Time `json:"since"`
	ParkedAt  time.Time `json:"parked_at"` // unless a valid event comes before
	Release   string    `json:"release"`   // the command that parks them now
}

func (pt *partition) invalidHold() InvalidHold {
	h := pt.holding
	first := pt.run.HeldFrom
	if len(h.items) > 0 {
		first = h.items[0].offset
	}
	return InvalidHold{
		Partition: pt.number, First: first, Last: max(first, h.last), Waiting: pt.waitingBehind(), Reason: h.reason,
		Since: time.Unix(pt.run.HeldSince, 0).UTC(), ParkedAt: h.until.UTC().Truncate(time.Second),
		Release: fmt.Sprintf("payment-capture release --partition %d", pt.number),
	}
}

// invalidHolds returns the holds in the order of their partitions.
func (o *owner) invalidHolds() []InvalidHold {
	var all []InvalidHold
	for _, pt := range o.parts {
		if pt.holding != nil && pt.holding.announced {
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
	if level > slog.LevelInfo && o.parts[pt.number] == pt && time.Now().Before(h.ParkedAt) {
		attrs = append(attrs, slog.String("release", h.Release))
	}
	o.log.LogAttrs(o.work, level, message, append(attrs, more...)...) //nolint:sloglint // fixed texts of the callers
}

// ReleaseInvalid ends holds of invalid events now: of one partition, or of all if it
// is nil. The held records and the rest of their runs are parked. It returns the
// holds that it ended.
func (p *Pipeline) ReleaseInvalid(ctx context.Context, partition *int32) ([]InvalidHold, error) {
	select {
	case <-p.started:
	default:
		return nil, fmt.Errorf("release invalid events: %w", errStarting)
	}
	reply := make(chan []InvalidHold, 1)
	released, err := ask(ctx, p, releaseHolds{partition: partition, reply: reply}, reply)
	if err != nil {
		return nil, fmt.Errorf("release invalid events: %w", err)
	}
	return released, nil
}

type releaseHolds struct {
	partition *int32
	reply     chan<- []InvalidHold
}

func (m releaseHolds) apply(o *owner) {
	var released []InvalidHold
	for _, h := range o.invalidHolds() {
		pt := o.parts[h.Partition]
		if pt.draining || (m.partition != nil && *m.partition != h.Partition) {
			continue
		}
		released = append(released, h)
		o.endHold(pt, holdReleased, 0)
	}
	m.reply <- released
}
