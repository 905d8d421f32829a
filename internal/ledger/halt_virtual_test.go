//go:build synctests

package ledger

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/kafka"
	"payment-capture/internal/ledger/entry"
	"payment-capture/internal/ledger/store"
)

func TestStartWithoutATopic(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.deleteTopic()
		l := w.ledger("a")
		err := l.Start(t.Context())
		if !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), "create it") {
			t.Fatalf("got %v", err)
		}
		w.createTopic()
		if err := l.Start(t.Context()); err != nil {
			t.Fatalf("after it was created: %v", err)
		}
		w.caughtUp(l)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestStartWithAPolicyThatDeletes(t *testing.T) {
	for _, policy := range []string{"delete", "compact,delete"} {
		inWorld(t, func(w *world) {
			t := w.t
			w.setPolicy(policy)
			err := w.ledger("a").Start(t.Context())
			if !errors.Is(err, ErrMissing) || !errors.Is(err, kafka.ErrUnfit) || !strings.Contains(err.Error(), "cleanup.policy="+policy) {
				t.Errorf("%s: got %v", policy, err)
			}
		})
	}
}

// A ledger that lost records never answers "never attempted", for it waits.
func TestHalts(t *testing.T) {
	for name, c := range map[string]struct {
		happens func(w *world)
		says    string
	}{
		"the topic is deleted": {(*world).deleteTopic, "ledger_missing: topic \"ledger\": it was deleted:"},
		"the topic is recreated": {
			func(w *world) { w.deleteTopic(); w.createTopic() },
			"ledger_missing: topic \"ledger\": it was deleted and recreated:",
		},
		"the policy deletes": {func(w *world) { w.setPolicy("delete") }, "ledger_missing: topic \"ledger\" has cleanup.policy=delete"},
		"an unreadable value": {
			func(w *world) {
				w.plain(&kgo.Record{Topic: testTopic, Partition: 1, Key: entry.DecisionKey("e1"), Value: []byte("{}")})
			},
			"ledger_unreadable: offset 20 of partition 1 of topic \"ledger\"",
		},
		"an unreadable key": {
			func(w *world) {
				w.plain(&kgo.Record{Topic: testTopic, Partition: 2, Key: []byte("k"), Value: []byte("v")})
			},
			"ledger_unreadable: offset 20 of partition 2 of topic \"ledger\"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				w.events(15)
				l := w.started("a")
				c.happens(w)
				time.Sleep(2 * time.Minute)
				if reason := w.waits(l); !strings.HasPrefix(reason, c.says) {
					t.Errorf("it says %q, want %q", reason, c.says)
				}
				if err := w.claims(l, "e1", "o1", alone()).Attempt(t.Context(), attemptAt(1)); err == nil || !strings.Contains(err.Error(), "halted") {
					t.Errorf("an attempt was noted: %v", err)
				}
			})
		})
	}
}

// A policy that is corrected in time does not halt the ledger.
func TestCorrectedPolicy(t *testing.T) {
	inWorld(t, func(w *world) {
		w.events(3)
		l := w.started("a")
		w.setPolicy("compact,delete")
		time.Sleep(2 * time.Minute)
		w.waits(l)
		w.setPolicy("compact")
		time.Sleep(2 * time.Minute)
		w.knows(l, "e1", known{decided: "captured"})
		w.caughtUp(l)
	})
}

// Records that were deleted before they were read are lost, be the store new or
// old.
func TestDeletedRecordsHalt(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(3)
		l := w.started("old")
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		w.events(15)
		upTo := make(kadm.Offsets)
		upTo.AddOffset(testTopic, 1, 12, -1)
		if _, err := w.admin.DeleteRecords(t.Context(), upTo); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{"old", "new"} {
			l := w.ledger(dir)
			if err := l.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if reason := w.waits(l); !strings.HasPrefix(reason, "ledger_missing: topic \"ledger\": the records of partition 1 from offset ") ||
				!strings.Contains(reason, " to 11 were deleted") {
				t.Errorf("%s says %q", dir, reason)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// A store that knows more than the topic has is no reason to read it again: the
// topic lost records.
func TestStoreAheadOfTheTopicHalts(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(9)
		l := w.started("a")
		b := l.store.NewBatch()
		b.SetPosition(1, store.Position{Next: 100, Epoch: -1, From: 100})
		if err := b.Commit(); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = w.ledger("a")
		if err := l.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if reason := w.waits(l); !strings.HasPrefix(reason, "ledger_missing: topic \"ledger\": partition 1 ") {
			t.Errorf("it says %q", reason)
		}
	})
}

// A topic of another id at the start is another ledger: the ledger reads all of it.
func TestAnotherTopicAtTheStart(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.events(3)
		l := w.started("a")
		id := l.TopicID()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		w.deleteTopic()
		w.createTopic()
		l = w.started("a")
		w.knows(l, "e1", known{})
		if l.TopicID() == id {
			t.Error("it says that the topic is the same")
		}
	})
}
