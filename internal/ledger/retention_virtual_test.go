//go:build synctests

package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/ledger/store"
)

const testRetention = 6 * time.Hour

// forgetful makes a ledger with a retention; it is not started.
func (w *world) forgetful(dir string) *Ledger {
	l := w.ledger(dir)
	l.conf.Retention = testRetention
	return l
}

// follows starts a ledger, and waits until it has caught up.
func (w *world) follows(l *Ledger) *Ledger {
	w.t.Helper()
	if err := l.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.caughtUp(l)
	return l
}

// deletes deletes all records, as the broker's retention does.
func (w *world) deletes() {
	w.t.Helper()
	ends, err := w.admin.ListEndOffsets(w.t.Context(), testTopic)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.admin.DeleteRecords(w.t.Context(), ends.Offsets()); err != nil {
		w.t.Fatal(err)
	}
}

// decidesNow writes the decision that an event of order o1 is captured.
func (w *world) decidesNow(id string) {
	w.t.Helper()
	d := decided(w.t, "captured", "o1", id)
	d.At = event.Now()
	w.plain(w.decision(partitionOf("o1"), id, d))
}

func TestUnfitPolicy(t *testing.T) {
	const long, day = "21600000", "108000000"
	for _, c := range []struct {
		retention         time.Duration
		policy, age, size string
		wrong, remedy     string
	}{
		{0, "compact", "1", "1", "", ""},
		{0, "delete", "-1", "-1", "cleanup.policy=delete", "compact"},
		{0, "compact,delete", "-1", "-1", "cleanup.policy=compact,delete", "compact"},
		{testRetention, "compact", "1", "1", "", ""},
		{testRetention, "delete", long, "-1", "cleanup.policy=delete", "compact,delete"},
		{testRetention, "compact,delete", long, "-1", "", ""},
		{testRetention, "delete, compact", "-1", "-1", "", ""},
		{testRetention, "compact,delete", "", "", "", ""},
		{testRetention, "compact,delete", "21599999", "-1", "retention.ms=21599999", day},
		{testRetention, "compact,delete", long, "1000000000000", "retention.bytes=1000000000000", "-1"},
	} {
		l := &Ledger{conf: Config{Topic: testTopic, Retention: c.retention}}
		got := l.unfitPolicy(map[string]string{"cleanup.policy": c.policy, "retention.ms": c.age, "retention.bytes": c.size})
		if c.wrong == "" && got != "" || c.wrong != "" &&
			(!strings.HasPrefix(got, fmt.Sprintf("topic %q has %s, ", testTopic, c.wrong)) || !strings.HasSuffix(got, ": set it to "+c.remedy)) {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

// The store is swept at the start, and then once a day.
func TestSweeps(t *testing.T) {
	inWorld(t, func(w *world) {
		has := func(l *Ledger) string {
			_, decided, err := l.store.Decision("old")
			if err != nil {
				w.t.Fatal(err)
			}
			var ids []string
			if err := l.store.Under([]store.Index{{Reference: "o1"}}, func(_ int, id string) { ids = append(ids, id) }); err != nil {
				w.t.Fatal(err)
			}
			attempts, err := l.store.Attempts()
			if err != nil {
				w.t.Fatal(err)
			}
			return fmt.Sprint(decided, len(ids), len(attempts), len(l.claims.undecided()))
		}
		check := func(l *Ledger, when, want string) {
			if got := has(l); got != want {
				w.t.Errorf("%s it has %s, want %s", when, got, want)
			}
		}
		l := w.follows(w.forgetful("a"))
		w.decidesNow("old")
		w.plain(w.attempt(partitionOf("o1"), "open", attemptUnder("o1", time.Now().UnixMilli(), 9)))
		time.Sleep(SweepEvery - testRetention + time.Hour)
		w.decidesNow("young")
		w.plain(w.attempt(partitionOf("o1"), "young", attemptUnder("o1", time.Now().UnixMilli(), 9)))
		w.caughtUp(l)
		check(l, "before the second sweep", "true 2 2 2")
		time.Sleep(testRetention)
		check(l, "after the second sweep", "false 1 1 1")
		w.closes(l)
		time.Sleep(testRetention)
		l = w.follows(w.forgetful("a"))
		defer w.closes(l)
		time.Sleep(time.Second)
		check(l, "after the next start", "false 0 0 0")
		w.knows(l, "young", known{})
	})
}

// An instance that starts after the broker deleted records goes on at the start of the log, be
// its store new or old. It halts if the records were younger than the retention.
func TestDeletedByTheRetention(t *testing.T) {
	for _, dir := range []string{"old", "new"} {
		for _, away := range []time.Duration{testRetention + time.Hour, testRetention - time.Hour} {
			t.Run(fmt.Sprint(dir, away), func(t *testing.T) {
				inWorld(t, func(w *world) {
					w.events(15)
					w.closes(w.follows(w.forgetful("old")))
					w.decidesNow("deleted")
					time.Sleep(away)
					w.deletes()
					w.decidesNow("kept")
					l := w.forgetful(dir)
					if err := l.Start(w.t.Context()); err != nil {
						w.t.Fatal(err)
					}
					defer w.closes(l)
					if dir == "old" && away < testRetention {
						if reason := w.waits(l); !strings.Contains(reason, "within LEDGER_RETENTION") {
							w.t.Errorf("it says %q", reason)
						}
						return
					}
					w.caughtUp(l)
					w.knows(l, "kept", known{decided: "captured"})
					w.knows(l, "deleted", known{})
					if empty, err := l.Empty(w.t.Context()); empty || err != nil {
						w.t.Errorf("it says that nothing was ever written: %t, %v", empty, err)
					}
				})
			})
		}
	}
}

// A ledger that was read up to its end goes on when the broker deletes what it has read.
func TestDeletedWhileFollowing(t *testing.T) {
	inWorld(t, func(w *world) {
		l := w.follows(w.forgetful("a"))
		defer w.closes(l)
		w.decidesNow("e1")
		w.caughtUp(l)
		w.deletes()
		time.Sleep(testRetention)
		w.decidesNow("e2")
		w.caughtUp(l)
		w.knows(l, "e2", known{decided: "captured"})
	})
}
