//go:build synctests

package ledger

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestFollowsTheTopic(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.events(20)
		l := w.started("a")
		for _, id := range []string{"e0", "e7", "e19"} {
			w.knows(l, id, known{decided: "captured"})
		}
		w.knows(l, "never", known{})
		w.plain(w.attempt(1, "later", attemptAt(5)))
		w.caughtUp(l)
		w.knows(l, "later", known{attempted: 5})
		w.transaction(kgo.TryAbort, w.decision(1, "later", decisionsForTest(t)["rejected"]))
		w.caughtUp(l)
		w.knows(l, "later", known{attempted: 5})
		if h := l.Health(); h.State != stateFollowing || h.Behind != 0 || h.Restore != 1 || h.Reason != "" {
			t.Errorf("health %+v", h)
		}
	})
}

func TestWhatIsWrittenIsKnownAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l := w.started("a")
		if err := l.Attempt(t.Context(), 4, "e1", attemptAt(7)); err != nil {
			t.Fatal(err)
		}
		w.knows(l, "e1", known{attempted: 7})
		w.caughtUp(l)
		w.knows(l, "e1", known{attempted: 7})
		l.Withdraw(4, "e1")
		w.knows(l, "e1", known{})
		if err := l.Attempt(t.Context(), 4, "e1", attemptAt(8)); err != nil {
			t.Fatal(err)
		}
		w.knows(l, "e1", known{attempted: 8})
		w.caughtUp(l)
		w.knows(l, "e1", known{attempted: 8})
		if n := l.over.events.Load(); n != 0 {
			t.Errorf("%d events are not read back", n)
		}
		other := w.started("b")
		w.knows(other, "e1", known{attempted: 8})
	})
}
