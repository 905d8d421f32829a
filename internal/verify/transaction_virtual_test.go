//go:build synctests

package verify_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
)

// A transaction that a crash left open is waited for until the broker ends it.
func TestTransactionThatTheBrokerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.clean(3)
		w.commit()
		client := w.transaction(kgo.TransactionTimeout(10 * time.Second))
		w.within(client, func() { w.process(w.send(order{id: "e1"}), event.TypeCaptured) })
		began := time.Now()
		_, sum := w.expect()
		if took := time.Since(began); sum.Events() != 3 || took < 9*time.Second {
			t.Errorf("%d events after %s", sum.Events(), took)
		}
	})
}

// One that nobody ends holds the records behind it back for ever.
func TestTransactionThatIsLeftOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, kfake.BrokerConfigs(map[string]string{"transaction.max.timeout.ms": "86400000"}))
		w.clean(3)
		client := w.transaction(kgo.TransactionTimeout(24 * time.Hour))
		w.within(client, func() { w.process(w.send(order{id: "e1"}), event.TypeCaptured) })
		began := time.Now()
		_, _, err := w.try()
		if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "/0 from offset") ||
			!strings.Contains(err.Error(), "transaction was left open") ||
			took < 15*time.Minute {
			t.Errorf("after %s: %v", took, err)
		}
	})
}
