package verify

import (
	"encoding/json"
	"io"

	"payment-capture/internal/money"
	"payment-capture/internal/skips"
)

// name returns the name of a state in JSON.
func (st state) name() string {
	switch st {
	case stateCaptured:
		return "captured"
	case stateRejected:
		return "rejected"
	case stateParked:
		return "parked"
	case statePending:
		return "under_way"
	case stateMissing:
		return "without_decision"
	case stateUnknown:
		return "decision_not_held"
	}
	return "unknown"
}

// stateView is the events of a state.
type stateView struct {
	Events  int64             `json:"events"`
	Invalid int64             `json:"invalid,omitempty"` // of them: records that are not valid events
	Money   map[string]string `json:"money,omitempty"`   // by currency
}

// JSON writes the summary as one JSON document.
func (s *Summary) JSON(w io.Writer) error {
	view := struct {
		Events      int64                `json:"events"`
		States      map[string]stateView `json:"states"`
		Differences int64                `json:"differences"`
		Warnings    int64                `json:"warnings"`
		Findings    map[Kind]int64       `json:"findings"`
		Skipped     []skips.Count        `json:"skipped"`
		OutOfRange  int64                `json:"events_outside_the_range"`
		Records     int64                `json:"records_read"`
		Asked       int64                `json:"payments_read"`
		Unasked     int64                `json:"payments_not_read"`
		Notes       []string             `json:"notes"`
	}{
		Events: s.Events(), States: make(map[string]stateView), Differences: s.Differences(), Warnings: s.Warnings(), Findings: s.kinds,
		Skipped: s.Skipped(), OutOfRange: s.outOfRange, Records: s.records, Asked: s.asked, Unasked: s.unasked, Notes: append([]string{}, s.notes...),
	}
	for _, st := range states() {
		of := stateView{Events: s.events(st), Invalid: s.invalid[st], Money: make(map[string]string)}
		for _, site := range money.Sites() {
			if n := s.sums[st][site.Currency]; n != nil {
				of.Money[string(site.Currency)] = decimalOf(&n.minor, site)
			}
		}
		view.States[st.name()] = of
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(view)
}
