package verify

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"payment-capture/internal/money"
	"payment-capture/internal/skips"
)

// Summary is what a run found, in numbers.
type Summary struct {
	ledger   bool          // was read
	bounded  bool          // a range was given
	input    skips.Counter // records of the input that the service skips
	skipped  skipped       // records of the other topics
	sums     map[state]map[money.Currency]*sum
	invalid  map[state]int64 // records that are no valid events
	kinds    map[Kind]int64
	warnings map[Kind]bool

	// Of the events within the range: outcomes that are there again, and why.
	repeated int64 // unmarked: before the ledger's time, or parked records of copies handled at once
	replayed int64 // marked
	// Not checked.
	outOfRange   int64 // events
	othersEvents int64 // of other accounts, that have decisions
	notRetained  int64 // decisions and attempts whose event may have been deleted
	readPayments int64 // payments read from the API
	unread       int64 // that could not be read

	mu    sync.Mutex
	first int64 // the time of the ledger's earliest decision; 0: there is none

	records, entries, entryBytes, diskBytes int64
	reading                                 time.Duration
	notes                                   []string
}

// skipped counts the records of the other topics that are not checked.
type skipped struct{ otherOutcomes, otherParked, othersParked, parkedSkips, noParking atomic.Int64 }

// sum counts events and their money.
type sum struct {
	events int64
	minor  big.Int
}

func newSummary(conf Config) *Summary {
	return &Summary{
		ledger: conf.Topics.Ledger != "", bounded: !conf.Since.IsZero() || !conf.Until.IsZero(),
		sums: make(map[state]map[money.Currency]*sum), invalid: make(map[state]int64),
		kinds: make(map[Kind]int64), warnings: make(map[Kind]bool),
	}
}

// decided records the time of a decision of the ledger.
func (s *Summary) decided(at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == 0 || at < s.first {
		s.first = at
	}
}

// ledgerFrom returns since when the ledger surely has every decision: some time
// after its first one, because the instances do not all begin with it at once.
func (s *Summary) ledgerFrom() int64 {
	if s.first == 0 {
		return never
	}
	return s.first + clockMargin
}

func (s *Summary) noteReading(v *verifier, took time.Duration) {
	s.records, s.diskBytes = v.snap.records(), v.store.Disk()
	s.entries, s.entryBytes = v.store.Entries()
	s.reading = took
	s.notes = append(s.notes, v.snap.notes...)
	for _, h := range []struct {
		kept
		what, then string
	}{
		{v.input, "the input topic", "a decision without an event may be that on a deleted event, and is no difference"},
		{
			v.results, "the topics of the outcomes and of parked records",
			"an event that is older and has no decision may have had one, and is no difference",
		},
		{v.ledger, "the ledger", "a decision that it lacks is no difference"},
	} {
		switch {
		case h.whole:
		case h.from == never:
			s.notes = append(s.notes, fmt.Sprintf("%s are compacted, or one of them is: %s", h.what, h.then))
		default:
			s.notes = append(s.notes, fmt.Sprintf("the beginning of %s was deleted, up to %s: %s", h.what, timeOf(h.from), h.then))
		}
	}
}

// event counts an event.
func (s *Summary) event(st state, c *content, d *facts) {
	for _, o := range d.outcomes {
		s.replayed += int64(o.replayed)
	}
	if c.has(flagInvalid) {
		s.invalid[st]++
		return
	}
	by := s.sums[st]
	if by == nil {
		by = make(map[money.Currency]*sum)
		s.sums[st] = by
	}
	n := by[c.Amount.In]
	if n == nil {
		n = &sum{}
		by[c.Amount.In] = n
	}
	n.events++
	n.minor.Add(&n.minor, big.NewInt(c.Amount.Minor))
}

func (s *Summary) count(f Finding) {
	s.kinds[f.Kind]++
	s.warnings[f.Kind] = f.Severity == severityWarning
}

// Differences returns the number of differences.
func (s *Summary) Differences() int64 { return s.countOf(false) }

// Warnings returns the number of warnings.
func (s *Summary) Warnings() int64 { return s.countOf(true) }

func (s *Summary) countOf(warnings bool) int64 {
	n := int64(0)
	for kind, count := range s.kinds {
		if s.warnings[kind] == warnings {
			n += count
		}
	}
	return n
}

// Count returns the number of findings of a kind.
func (s *Summary) Count(k Kind) int64 { return s.kinds[k] }

// Events returns the number of events that were checked.
func (s *Summary) Events() int64 {
	n := int64(0)
	for _, st := range states() {
		n += s.events(st)
	}
	return n
}

func (s *Summary) events(st state) int64 {
	n := s.invalid[st]
	for _, by := range s.sums[st] {
		n += by.events
	}
	return n
}

func states() []state {
	return []state{stateCaptured, stateRejected, stateParked, statePending, stateMissing, stateUnknown}
}

// Skipped returns the records of the input that the service skips, by reason and
// by type or account.
func (s *Summary) Skipped() []skips.Count { return s.input.Counts() }

// Pending returns the number of events under way.
func (s *Summary) Pending() int64 { return s.events(statePending) }

// Unknown returns the number of events whose decision may have been deleted.
func (s *Summary) Unknown() int64 { return s.events(stateUnknown) }

// Notes returns what was not proven, and why.
func (s *Summary) Notes() []string { return slices.Clone(s.notes) }

// money returns the sums of a state, such as "700.50 MXN, 12.00 BRL".
func (s *Summary) money(st state) string {
	var all []string
	for _, site := range money.Sites() {
		if n := s.sums[st][site.Currency]; n != nil {
			all = append(all, decimalOf(&n.minor, site)+" "+string(site.Currency))
		}
	}
	return strings.Join(all, ", ")
}

// decimalOf formats a sum of smallest units. It may be larger than any amount.
func decimalOf(minor *big.Int, site money.Site) string {
	text := minor.String()
	if site.Scale == 0 {
		return text
	}
	scale := int(site.Scale)
	if len(text) <= scale {
		text = strings.Repeat("0", scale+1-len(text)) + text
	}
	return text[:len(text)-scale] + "." + text[len(text)-scale:]
}
