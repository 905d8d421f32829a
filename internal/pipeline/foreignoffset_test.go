//go:build synctests

package pipeline

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"payment-capture/internal/event"
	"payment-capture/internal/kafka"
	"payment-capture/internal/kafkatest"
)

// orderText returns event e1 with an amount.
func orderText(amount string) string {
	return `{"specversion":"1.0","id":"e1","source":"/orders","type":"order.ready_to_capture","time":"2026-11-23T10:00:00Z",` +
		`"data":{"order_id":"o1","amount":"` + amount + `","currency":"MXN","description":"Order","payer":{"token":"t"}}}`
}

// TestDecided is the table of the records that a committed offset may skip.
func TestDecided(t *testing.T) {
	t.Parallel()
	another := event.History{Decision: &event.Decision{Attempt: event.Attempt{Event: event.Fingerprint{1}}}}
	parked := event.History{Decision: &event.Decision{Result: event.Result{ParkInfo: &event.ParkInfo{Reason: event.ParkInvalidEvent}}}}
	type histories = map[string]event.History
	for name, test := range map[string]struct {
		value   string
		known   func(m event.Message, e *event.ReadyToCapture) histories
		skipped bool
	}{
		"decided": {orderText("1.00"), func(_ event.Message, e *event.ReadyToCapture) histories {
			return histories{"e1": {Decision: &event.Decision{Attempt: event.Attempt{Event: e.Fingerprint()}}}}
		}, false},
		"never seen": {orderText("1.00"), nil, true},
		"attempted, and not decided": {orderText("1.00"), func(_ event.Message, e *event.ReadyToCapture) histories {
			return histories{"e1": {Attempt: &event.Attempt{Event: e.Fingerprint()}}}
		}, true},
		"another event of its id is decided": {orderText("1.00"), func(event.Message, *event.ReadyToCapture) histories {
			return histories{"e1": another}
		}, true},
		"another event of its id is decided, it is parked": {orderText("1.00"), func(m event.Message, _ *event.ReadyToCapture) histories {
			return histories{"e1": another, event.RecordID(m): parked}
		}, false},
		"invalid, and parked": {orderText("-1"), func(m event.Message, _ *event.ReadyToCapture) histories {
			return histories{event.RecordID(m): parked}
		}, false},
		"invalid, and not parked": {orderText("-1"), nil, true},
		"invalid, and a valid event of its id is parked": {orderText("-1"), func(event.Message, *event.ReadyToCapture) histories {
			return histories{"e1": parked}
		}, true},
		"another type":    {strings.Replace(orderText("1.00"), "order.ready_to_capture", "order.shipped", 1), nil, false},
		"another account": {strings.Replace(orderText("1.00"), `"order_id"`, `"account":"another","order_id"`, 1), nil, false},
		"a tombstone":     {"", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &kgo.Record{Value: []byte(test.value), Timestamp: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)}
			if test.value == "" {
				r.Value = nil
			}
			ledger := &ledgerStub{}
			e, err := event.Decode(kafka.MessageOf(r))
			if test.known != nil {
				ledger.history = test.known(kafka.MessageOf(r), e)
			}
			p := newTestPipeline(Config{Account: "main"}, ledger)
			if decided, lookErr := p.decided(t.Context(), r); lookErr != nil || decided == test.skipped {
				t.Errorf("decided is %t, %v; want %t (it is decoded with %v)", decided, lookErr, !test.skipped, err)
			}
		})
	}
}

// A check is repeated after a failure, and reports the failure meanwhile.
func TestOffsetCheckIsRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broker := kafkatest.Fake(t)
		conf := Config{
			Kafka:  kafka.Config{Brokers: broker.Addresses, ClientID: "test", Dial: broker.Dial},
			Topics: Topics{Input: "orders"},
		}
		p := newTestPipeline(conf, &ledgerStub{})
		var err error
		if p.consumer, err = conf.Kafka.NewClient(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.consumer.Close)
		// The topic does not exist at first, and has lost its first record then.
		time.AfterFunc(2*checkRetry+checkRetry/2, func() {
			admin := kadm.NewClient(p.consumer)
			if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, "orders"); err != nil {
				t.Error(err)
			}
			for range 4 {
				if err := p.consumer.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte("no event")}).FirstErr(); err != nil {
					t.Error(err)
				}
			}
			gone := make(kadm.Offsets)
			gone.AddOffset("orders", 0, 1, -1)
			if _, err := admin.DeleteRecords(t.Context(), gone); err != nil {
				t.Error(err)
			}
		})
		check := &offsetCheck{offset: 3}
		began := time.Now()
		found, err := p.skippedBelow(t.Context(), 0, check)
		if err != nil || found != (skippedRange{count: 2, first: 1, last: 2}) {
			t.Errorf("got %+v, %v", found, err)
		}
		if took := time.Since(began); took < 3*checkRetry || took > 5*checkRetry {
			t.Errorf("the check took %s", took)
		}
		for _, want := range []string{"UNKNOWN_TOPIC_OR_PARTITION", "offset 3", "read up to 3"} {
			if text := check.String(); !strings.Contains(text, want) {
				t.Errorf("the status has no %q: %s", want, text)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.skippedBelow(ctx, 0, &offsetCheck{offset: 3}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}
