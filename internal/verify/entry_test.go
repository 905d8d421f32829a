package verify

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

func TestEntriesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	amount, err := money.Parse("700.50", "MXN")
	if err != nil {
		t.Fatal(err)
	}
	content, d := event.FingerprintOf([]byte("c")), digestOfText("d")
	in := inputEntry{flags: flagSettled | flagInvalid, at: 7, content: content, parkedAt: 9, amount: amount, order: "o", reference: "r", plain: d, whole: d}
	out := outcomeEntry{flags: flagOverpaid | flagParked, at: 7, amount: amount, order: d, reference: d, core: d, whole: d, payment: "p"}
	pk := parkedEntry{flags: flagSure, at: 7, content: content, whole: d, first: 3, reason: "undecided"}
	dec := decisionEntry{flags: flagSure, at: 7, first: 3, content: content, core: d, whole: d, reason: "r", superseded: []digest{d, {1}}} // a parking has no amount
	at := attemptEntry{flags: flagGone, first: 3}
	for name, check := range map[string]func(cut int) (bool, error){
		"input": func(cut int) (bool, error) {
			b := in.encode()
			got, err := parseInput(b[:len(b)-cut])
			return got == in, err
		},
		"outcome": func(cut int) (bool, error) {
			b := out.encode()
			got, err := parseOutcome(b[:len(b)-cut])
			return got == out, err
		},
		"parked": func(cut int) (bool, error) {
			b := pk.encode()
			got, err := parseParked(b[:len(b)-cut])
			return got == pk, err
		},
		"decision": func(cut int) (bool, error) {
			b := dec.encode()
			got, err := parseDecision(b[:len(b)-cut])
			return cmp.Equal(got, dec, cmp.AllowUnexported(decisionEntry{}, money.Amount{})), err
		},
		"attempt": func(cut int) (bool, error) {
			b := at.encode()
			got, err := parseAttempt(b[:len(b)-cut])
			return got == at, err
		},
	} {
		if same, err := check(0); !same || err != nil {
			t.Errorf("%s: came back otherwise, %v", name, err)
		}
		// Damage is an error, never a panic.
		for cut := 1; cut <= 3; cut++ {
			if _, err := check(cut); !errors.Is(err, errScratch) {
				t.Errorf("%s, cut by %d: %v", name, cut, err)
			}
		}
	}
}

func TestPositionsSortAsTheyLie(t *testing.T) {
	t.Parallel()
	before := ""
	for _, p := range []position{{0, 0, 0}, {0, 0, 255}, {0, 0, 256}, {0, 1, 1}, {0, 300, 0}, {1, 0, 0}} {
		b := p.append(nil)
		if len(b) != positionBytes || positionOf(b) != p {
			t.Errorf("%+v came back as %+v", p, positionOf(b))
		}
		if string(b) <= before {
			t.Errorf("%+v does not sort behind the one before it", p)
		}
		before = string(b)
	}
}
