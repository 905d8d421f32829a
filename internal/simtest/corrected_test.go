//go:build synctests

package simtest

import (
	"slices"
	"time"

	"payment-capture/internal/event"
)

// correctedKind are events that correct one of the same id that was parked without
// a call.
const correctedKind = "corrected"

// futureKind are events whose time is further ahead than a run lasts.
const futureKind = "in the future"

const farAhead = 1000 * time.Hour

// correction generates an event that is parked without a call, and the correct one
// with its id.
func (g *generator) correction() []*sentRecord {
	first := g.event([]string{currencyKind, futureKind}[g.IntN(2)])
	second := *first
	second.kind, second.currency, second.ahead, second.conflicts = correctedKind, "MXN", 0, true
	second.allowed, second.charged = []string{isCaptured}, true
	return append(g.sends(first), &sentRecord{event: &second, partition: first.home})
}

// findCorrections finds the events that were corrected. The second of two events
// with one id is also a correction if the first was parked without a call. The
// checks treat a correction as an operator's resend of the first event.
func (h *harness) findCorrections() {
	at := make(map[position]*sentRecord)
	for _, s := range h.sent {
		at[position{s.partition, s.offset}] = s
	}
	uncalled := []event.ParkReason{
		event.ParkWrongCurrency, event.ParkTooOld, event.ParkTimeInFuture, event.ParkReferenceCaptured, event.ParkPossibleDuplicate,
	}
	parked := make(map[string]*plannedEvent) // the first ones, by event id
	for _, v := range h.decisions {
		if s := at[v.from]; v.kind == topicParked && s != nil && !s.event.conflicts && slices.Contains(uncalled, event.ParkReason(v.reason)) {
			parked[s.event.id] = s.event
		}
	}
	h.corrected = make(map[string]*plannedEvent)
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
		first.allowed = slices.Concat(first.allowed, []string{isCaptured})
	}
}
