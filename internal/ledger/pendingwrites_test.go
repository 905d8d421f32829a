package ledger

import (
	"fmt"
	"slices"
	"testing"

	"payment-capture/internal/event"
)

// written is an pendingWrites and the store's part of the test: what was read back.
type written struct {
	t *testing.T
	o *pendingWrites
}

func (w written) attempt(partition int32, ms int64) *attemptWrite {
	w.t.Helper()
	a := attemptForTest()
	a.First = aTime(ms)
	value := EncodeAttempt(a)
	in := &attemptWrite{id: "e1", partition: partition, attempt: &a, value: value}
	w.o.addWrite(in)
	return in
}

func (w written) withdrawal() *attemptWrite {
	in := &attemptWrite{id: "e1"}
	w.o.addWrite(in)
	return in
}

func (w written) readBack(offset int64, key, value []byte) {
	w.t.Helper()
	e := entry{offset: offset, key: key, value: value}
	if err := w.o.readBack([]entry{e}, map[int32]position{0: {next: offset + 1}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w written) decisionRead(d *event.Decision) {
	w.t.Helper()
	value, err := EncodeDecision(d)
	if err != nil {
		w.t.Fatal(err)
	}
	w.readBack(50, KindDecision.Key("e1"), value)
}

// shows checks what the pendingWrites adds to what the store has.
func (w written) shows(want string) {
	w.t.Helper()
	var k historyBuilder
	withdrawn := w.o.addTo("e1", &k)
	got := ""
	if k.attempt != nil {
		got += fmt.Sprintf("attempt %d ", k.attempt.First.Sub(aTime(0)).Milliseconds())
	}
	if k.best.rank != rankNone {
		got += fmt.Sprintf("decided %d ", k.best.rank)
	}
	if len(withdrawn) > 0 {
		got += fmt.Sprint("withdrawn ", withdrawn)
	}
	if got != want {
		w.t.Errorf("it shows %q, want %q", got, want)
	}
	under := slices.Concat(w.o.underReference("o1"), w.o.underReference("another"))
	if shows := k.attempt != nil || k.best.rank > rankNone; shows && !slices.Contains(under, "e1") {
		w.t.Errorf("it shows %q, and has only %v under its references", got, under)
	}
	if len(w.o.byID) == 0 && len(w.o.byReference) > 0 {
		w.t.Errorf("it keeps the references %v of no event", w.o.byReference)
	}
	if empty := w.o.events.Load() == 0; empty != (len(w.o.byID) == 0) || want == "" && !empty {
		w.t.Errorf("it keeps %d events, counted as %d", len(w.o.byID), w.o.events.Load())
	}
}

func TestOverlay(t *testing.T) {
	ds := decisionsForTest(t)
	later := *ds["parked"]
	later.At = aTime(500)
	key := KindAttempt.Key("e1")
	for name, test := range map[string]func(w written){
		"acknowledged, then read back": func(w written) {
			in := w.attempt(0, 5)
			w.shows("attempt 5 ")
			w.o.acked(in, 7)
			w.shows("attempt 5 ")
			w.readBack(7, key, in.value)
			w.shows("")
		},
		"read back, then acknowledged": func(w written) {
			in := w.attempt(0, 5)
			w.readBack(7, key, in.value)
			w.shows("")
			w.o.acked(in, 7)
			w.shows("")
		},
		"another event is read": func(w written) {
			in := w.attempt(0, 5)
			w.readBack(7, KindAttempt.Key("e2"), in.value)
			w.shows("attempt 5 ")
			w.o.acked(in, 6) // it was read, and not recognised
			w.shows("")
		},
		"another instance's attempt is read": func(w written) {
			w.attempt(0, 5)
			w.readBack(7, key, []byte("another"))
			w.shows("attempt 5 ")
		},
		"the acknowledgement is lost": func(w written) {
			in := w.attempt(0, 5)
			w.o.failed(in)
			w.shows("attempt 5 ")
			w.readBack(7, key, in.value)
			w.shows("")
		},
		"tried again after a failure": func(w written) {
			w.o.failed(w.attempt(0, 5))
			again := w.attempt(0, 5)
			w.o.acked(again, 9)
			w.readBack(9, key, again.value)
			w.shows("")
		},
		"never written, and decided": func(w written) {
			w.o.failed(w.attempt(0, 5))
			w.decisionRead(ds["parked"])
			w.shows("attempt 5 ")
			w.decisionRead(ds["captured"])
			w.shows("")
		},
		"withdrawn": func(w written) {
			in := w.attempt(0, 5)
			w.o.acked(in, 7)
			back := w.withdrawal()
			w.shows("withdrawn [0]")
			w.readBack(7, key, in.value)
			w.shows("withdrawn [0]")
			w.o.acked(back, 8)
			w.readBack(8, key, nil)
			w.shows("")
		},
		"the withdrawal is lost": func(w written) {
			in := w.attempt(0, 5)
			w.o.acked(in, 7)
			w.o.failed(w.withdrawal())
			w.shows("attempt 5 ")
		},
		"attempted again after a withdrawal": func(w written) {
			first := w.attempt(0, 5)
			w.o.acked(first, 7)
			back := w.withdrawal()
			second := w.attempt(0, 6)
			w.shows("attempt 6 withdrawn [0]")
			w.o.acked(back, 8)
			w.o.acked(second, 9)
			w.readBack(8, key, nil)
			w.shows("attempt 6 ")
			w.readBack(9, key, second.value)
			w.shows("")
		},
		"withdrawn in one partition": func(w written) {
			w.attempt(1, 9)
			w.withdrawal()
			w.shows("attempt 9 withdrawn [0]")
		},
		"the tombstone of a decision is older than the attempt": func(w written) {
			in := w.attempt(0, 5)
			w.readBack(7, key, nil)
			w.shows("attempt 5 ")
			w.o.acked(in, 8)
			w.shows("attempt 5 ")
		},
		"read past without being seen": func(w written) {
			w.o.acked(w.attempt(0, 5), 7)
			w.readBack(20, KindAttempt.Key("e2"), nil)
			w.o.sweep()
			w.shows("")
		},
		"a later entry of the key is read": func(w written) {
			w.o.acked(w.attempt(0, 5), 7)
			w.readBack(20, key, nil)
			w.shows("")
		},
		"decided": func(w written) {
			w.o.addDecision("e1", ds["rejected"])
			w.shows("decided 2 ")
			w.decisionRead(ds["parked"])
			w.shows("decided 2 ")
			w.decisionRead(ds["rejected"])
			w.shows("")
		},
		"decided better by another instance": func(w written) {
			w.o.addDecision("e1", ds["rejected"])
			w.decisionRead(ds["captured"])
			w.shows("")
		},
		"forgotten": func(w written) {
			w.o.addDecision("e1", ds["rejected"])
			w.o.dropDecision("e1")
			w.o.dropDecision("e1")
			w.shows("")
		},
		"forgotten, and the one before is not read back": func(w written) {
			w.o.addDecision("e1", ds["parked"])
			w.o.addDecision("e1", ds["captured"])
			w.shows("decided 3 ")
			w.o.dropDecision("e1")
			w.shows("decided 1 ")
		},
		"parked again": func(w written) {
			w.o.addDecision("e1", ds["parked"])
			w.o.addDecision("e1", &later)
			w.decisionRead(ds["parked"])
			w.shows("decided 1 ")
			w.decisionRead(&later)
			w.shows("")
		},
	} {
		t.Run(name, func(t *testing.T) { test(written{t, newPendingWrites()}) })
	}
}
