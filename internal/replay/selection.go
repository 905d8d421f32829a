package replay

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// Selection selects records. It is in the state file, so that a run is resumed with
// the selection it was begun with. It has no secret.
type Selection struct {
	All bool `json:"all,omitempty"` // every record; excludes everything narrower

	// Of the record's time: from Since on, and before Until. Zero: no bound.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`

	Partitions []int32 `json:"partitions,omitempty"` // none: all
	// Of the one partition: from From on, and before To. nil: no bound.
	From *int64 `json:"from_offset,omitempty"`
	To   *int64 `json:"to_offset,omitempty"`

	Orders []string `json:"orders,omitempty"`
	Events []string `json:"events,omitempty"` // event ids, or the record ids of invalid records

	// Parked selects from the parked topic, and marks the records so that the service
	// tries them again.
	Parked  bool     `json:"parked,omitempty"`
	Reasons []string `json:"reasons,omitempty"` // park reasons; none: all
	// ParkedAgain also sends parked records that the service would only park again.
	ParkedAgain bool `json:"parked_again,omitempty"`
}

// empty reports whether nothing is selected or excluded.
func (s *Selection) empty() bool { return reflect.DeepEqual(s.canonical(), Selection{}) }

// Check returns what is wrong with a selection, by the names of the flags.
func (s *Selection) Check() error {
	narrow := !s.Since.IsZero() || !s.Until.IsZero() || len(s.Partitions) > 0 || s.From != nil || s.To != nil ||
		len(s.Orders) > 0 || len(s.Events) > 0 || len(s.Reasons) > 0
	switch {
	case !s.All && !narrow:
		return errors.New("nothing is selected: give --since, --until, --partition, --from-offset, --to-offset, " +
			"--order or --event (with --parked also --reason), or --all for everything")
	case s.All && narrow:
		return errors.New("--all: selects everything; omit it to select less")
	case !s.Since.IsZero() && !s.Until.IsZero() && !s.Since.Before(s.Until):
		return fmt.Errorf("--until: %s is not after --since (%s)", s.Until.Format(time.RFC3339), s.Since.Format(time.RFC3339))
	case (s.From != nil || s.To != nil) && len(s.Partitions) != 1:
		return errors.New("--from-offset, --to-offset: name one partition by --partition")
	case s.From != nil && *s.From < 0, s.To != nil && *s.To < 0:
		return errors.New("--from-offset, --to-offset: must not be negative")
	case s.From != nil && s.To != nil && *s.From >= *s.To:
		return fmt.Errorf("--to-offset: %d is not after --from-offset (%d); the record at --to-offset is the first that is left out", *s.To,
			*s.From)
	case !s.Parked && len(s.Reasons) > 0:
		return errors.New("--reason: needs --parked")
	case !s.Parked && s.ParkedAgain:
		return errors.New("--even-parked-again: needs --parked")
	}
	for _, p := range s.Partitions {
		if p < 0 {
			return fmt.Errorf("--partition: %d must not be negative", p)
		}
	}
	for _, r := range s.Reasons {
		if !slices.Contains(event.ParkReasons(), event.ParkReason(r)) {
			return fmt.Errorf("--reason: %q is not one of %v", r, event.ParkReasons())
		}
	}
	return nil
}

// Same reports whether two selections select the same records.
func (s *Selection) Same(other *Selection) bool {
	return reflect.DeepEqual(s.canonical(), other.canonical())
}

// canonical returns the selection without what makes no difference: the order of
// lists, and time zones.
func (s *Selection) canonical() Selection {
	c := *s
	c.Since, c.Until = c.Since.UTC(), c.Until.UTC()
	c.Partitions = sortedSet(c.Partitions)
	c.Orders, c.Events, c.Reasons = sortedSet(c.Orders), sortedSet(c.Events), sortedSet(c.Reasons)
	return c
}

func sortedSet[T int32 | string](items []T) []T {
	if len(items) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(items))
	return slices.Compact(sorted)
}

// namesDuplicates reports whether possible duplicates are selected by name: a resend
// charges them, so a selection of everything or of a time does not include them.
func (s *Selection) namesDuplicates() bool {
	return len(s.Events) > 0 || len(s.Orders) > 0 || slices.Contains(s.Reasons, string(event.ParkPossibleDuplicate))
}

// inTime reports whether a record was written in the selected time. One without a
// time is selected only if the time is not bounded.
func (s *Selection) inTime(r *kgo.Record) bool {
	if s.Since.IsZero() && s.Until.IsZero() {
		return true
	}
	if !timed(r) || (!s.Since.IsZero() && r.Timestamp.Before(s.Since)) {
		return false
	}
	return s.Until.IsZero() || r.Timestamp.Before(s.Until)
}

// names reports whether the order and the event of a record are selected. The order
// of an invalid record is its key.
func (s *Selection) names(of *subject) bool {
	order := string(of.message.Key)
	if of.event != nil {
		order = of.event.OrderID
	}
	return (len(s.Orders) == 0 || slices.Contains(s.Orders, order)) &&
		(len(s.Events) == 0 || slices.Contains(s.Events, of.id))
}

func (s *Selection) hasReason(reason event.ParkReason) bool {
	return len(s.Reasons) == 0 || slices.Contains(s.Reasons, string(reason))
}

// timed reports whether a record has a time of its own.
func timed(r *kgo.Record) bool { return r.Timestamp.UnixMilli() >= 0 }
