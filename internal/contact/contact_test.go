package contact_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"payment-capture/internal/contact"
)

var errLost = errors.New("lost")

func TestSilent(t *testing.T) {
	t.Parallel()
	api := contact.Peer{Kind: contact.KindAPI}
	fetch := contact.Peer{Kind: contact.KindBroker, Broker: 1, Request: "Fetch"}
	produce := contact.Peer{Kind: contact.KindBroker, Broker: 1, Request: "Produce"}
	for _, test := range []struct {
		name string
		do   func(w *contact.Watch)
		want contact.Peer // zero: none
	}{
		{"nothing asked", func(*contact.Watch) {}, contact.Peer{}},
		{"unanswered over the limit", func(w *contact.Watch) { fail(w, fetch, 5) }, fetch},
		{"unanswered below the limit", func(w *contact.Watch) { fail(w, fetch, 3) }, contact.Peer{}},
		{"answered once", func(w *contact.Watch) { fail(w, fetch, 5); w.Answered(fetch); fail(w, fetch, 3) }, contact.Peer{}},
		{"another request answered", func(w *contact.Watch) { fail(w, fetch, 5); w.Answered(produce) }, fetch},
		{"not asked any more", func(w *contact.Watch) { fail(w, api, 5); time.Sleep(2 * time.Minute) }, contact.Peer{}},
		{"asked again much later", func(w *contact.Watch) { fail(w, api, 3); time.Sleep(time.Hour); fail(w, api, 2) }, contact.Peer{}},
		{"the longest", func(w *contact.Watch) { fail(w, api, 3); fail(w, fetch, 4); w.Unanswered(api, errLost) }, api},
		{"reset", func(w *contact.Watch) { fail(w, api, 5); w.Reset() }, contact.Peer{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := contact.NewWatch(90 * time.Second)
				test.do(w)
				var got contact.Peer
				if s := w.Silent(); s != nil {
					got = s.Peer
				}
				if got != test.want {
					t.Errorf("silent: %v, want %v", got, test.want)
				}
			})
		})
	}
}

// fail leaves n requests unanswered, one every 30 seconds; the first one at once.
func fail(w *contact.Watch, p contact.Peer, n int) {
	for i := range n {
		if i > 0 {
			time.Sleep(30 * time.Second)
		}
		w.Unanswered(p, errLost)
	}
}
