//go:build synctests

package prove

import (
	"slices"
	"time"

	"payment-capture/internal/event"
)

// correctedKind are events that were parked without a call at first, under the same
// id.
const correctedKind = "corrected"

// futureKind are events whose time is further ahead than a history lasts.
const futureKind = "in the future"

const farAhead = 1000 * time.Hour

// correction draws an event in a wrong currency, and the right one under its id.
func (d *draw) correction() []*sent {
	first := d.event([]string{currencyKind, futureKind}[d.IntN(2)])
	second := *first
	second.kind, second.currency, second.ahead, second.conflicts = correctedKind, "MXN", 0, true
	second.verdicts, second.charged = []string{isCaptured}, true
	return append(d.sends(first), &sent{event: &second, partition: first.home})
}

// findCorrections finds the events that were corrected: of twins too the second is
// the correction of the first, if that was parked without a call. They are judged as
// if an operator had sent the first one again.
func (h *history) findCorrections() {
	at := make(map[position]*sent)
	for _, s := range h.sent {
		at[position{s.partition, s.offset}] = s
	}
	uncalled := []event.ParkReason{event.ParkWrongCurrency, event.ParkTooOld, event.ParkTimeInFuture, event.ParkReferenceCaptured}
	parked := make(map[string]*planned) // the first ones, by event id
	for _, v := range h.verdicts {
		if s := at[v.from]; v.kind == topicParked && s != nil && !s.event.conflicts && slices.Contains(uncalled, event.ParkReason(v.reason)) {
			parked[s.event.id] = s.event
		}
	}
	h.corrected = make(map[string]*planned)
	for _, s := range h.sent {
		first := parked[s.event.id]
		if !s.event.conflicts || first == nil {
			continue
		}
		if h.corrected[s.event.id] == nil {
			h.resent[s.event.id]++
		}
		s.id, h.corrected[s.event.id] = s.event.id, s.event
		s.event.charged, first.unordered = true, true
		first.verdicts = slices.Concat(first.verdicts, []string{isCaptured})
	}
}
