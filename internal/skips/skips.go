// Package skips counts the records that a command leaves out because they are
// not meant for the service: by reason, and by CloudEvents type or account. Its
// memory is bounded, whatever the records name.
package skips

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"

	"payment-capture/internal/event"
)

const (
	// Listed is how many names of a reason are listed; the rest is summed.
	Listed = 20
	// maxNames bounds the names that are kept of a reason. The rarest half goes
	// when there are more.
	maxNames = 1000
	// maxNameBytes bounds a name. Records name what they like.
	maxNameBytes = 64
)

// Counter counts skipped records. Its zero value is ready for use, by several
// goroutines.
type Counter struct {
	mu      sync.Mutex
	reasons map[event.SkipReason]*names // guarded by mu
}

// names counts the records of a reason.
type names struct {
	records int64
	by      map[string]int64
}

// Add counts a record. The name is its type or account; a record that has
// neither is counted by its reason alone.
func (c *Counter) Add(reason event.SkipReason, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reasons == nil {
		c.reasons = make(map[event.SkipReason]*names)
	}
	n := c.reasons[reason]
	if n == nil {
		n = &names{by: make(map[string]int64)}
		c.reasons[reason] = n
	}
	n.records++
	if name == "" {
		return
	}
	name = event.Printable(name, maxNameBytes)
	if _, known := n.by[name]; !known && len(n.by) >= maxNames {
		for _, rare := range n.sorted()[maxNames/2:] {
			delete(n.by, rare.Name)
		}
	}
	n.by[name]++
}

// sorted returns the names, the most frequent first.
func (n *names) sorted() []Name {
	all := make([]Name, 0, len(n.by))
	for name, records := range n.by {
		all = append(all, Name{name, records})
	}
	slices.SortFunc(all, func(a, b Name) int {
		return cmp.Or(cmp.Compare(b.Records, a.Records), strings.Compare(a.Name, b.Name))
	})
	return all
}

// Count is how many records were skipped for a reason.
type Count struct {
	Reason  event.SkipReason `json:"reason"`
	Records int64            `json:"records"`
	// Names has the most frequent types or accounts. With more than a thousand
	// of them a count may be too low, and the difference is in Rest.
	Names []Name `json:"names,omitempty"`
	Rest  int64  `json:"rest,omitempty"` // records that no name is listed for
}

// Name is a type or an account, cut to a bounded length and to printable ASCII.
type Name struct {
	Name    string `json:"name"`
	Records int64  `json:"records"`
}

// Counts returns the counts of every reason that occurred, in the order of
// [event.SkipReasons].
func (c *Counter) Counts() []Count {
	c.mu.Lock()
	defer c.mu.Unlock()
	order := event.SkipReasons()
	for _, reason := range slices.Sorted(maps.Keys(c.reasons)) {
		if !slices.Contains(order, reason) {
			order = append(order, reason)
		}
	}
	counts := []Count{}
	for _, reason := range order {
		n := c.reasons[reason]
		if n == nil {
			continue
		}
		count := Count{Reason: reason, Records: n.records, Rest: n.records}
		sorted := n.sorted()
		count.Names = sorted[:min(Listed, len(sorted))]
		for _, name := range count.Names {
			count.Rest -= name.Records
		}
		if len(sorted) == 0 {
			count.Rest = 0 // records of this reason have no names
		}
		counts = append(counts, count)
	}
	return counts
}

// Line is a row of a table of skipped records.
type Line struct {
	Label   string
	Records int64
}

// Lines returns the counts as the rows of a table: each reason, and below it
// its names.
func Lines(counts []Count) []Line {
	var lines []Line
	for _, c := range counts {
		label, rest := title(c.Reason)
		lines = append(lines, Line{label, c.Records})
		for _, n := range c.Names {
			lines = append(lines, Line{"  " + n.Name, n.Records})
		}
		if c.Rest > 0 {
			lines = append(lines, Line{"  " + rest, c.Rest})
		}
	}
	return lines
}

func title(reason event.SkipReason) (label, rest string) {
	switch reason {
	case event.SkipOtherType:
		return "skipped: records of other types", "further types"
	case event.SkipTombstone:
		return "skipped: records without a value (tombstones)", ""
	case event.SkipOtherAccount:
		return "skipped: records of other accounts", "further accounts"
	}
	return "skipped: " + string(reason), "further"
}
