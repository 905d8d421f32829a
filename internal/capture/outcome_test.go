package capture_test

import (
	"bytes"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/capture"
	"payment-capture/internal/event"
	"payment-capture/internal/mercadopago"
)

// outcomeOf returns the outcome of an event.
func outcomeOf(t *testing.T, answers ...mercadopago.Answer) event.Outcome {
	t.Helper()
	decision, err := newCapturer(newAPI(answers...)).Capture(t.Context(), newEvent(t), newLease(nil))
	if err != nil || decision.Outcome == nil {
		t.Fatalf("got %+v, %v; want an outcome", decision, err)
	}
	return *decision.Outcome
}

func TestCapturedOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, p := newEvent(t), payment()
		want := event.Outcome{
			Type: event.TypeCaptured, Subject: "order-1", Time: p.UpdatedAt, TraceParent: e.TraceParent,
			EventID: "event-1", OrderID: "order-1", Amount: e.Amount, ExternalReference: "reference-1",
			PaymentID: "payment-1", Transactions: p.Transactions, CapturedAt: p.CreatedAt,
		}
		if got := outcomeOf(t, captured()); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}

		replay := captured()
		replay.Payment.Replayed = true
		want.ProviderReplayed = true
		if got := outcomeOf(t, noAnswer(), replay); !reflect.DeepEqual(got, want) {
			t.Errorf("replayed by the API: got  %+v\nwant %+v", got, want)
		}
	})
}

// If the API has no times, the outcome has ours.
func TestCapturedOutcomeWithoutTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answer := captured()
		answer.Payment.CreatedAt, answer.Payment.UpdatedAt = time.Time{}, time.Time{}
		now := time.Now()
		if got := outcomeOf(t, answer); !got.Time.Equal(now) || !got.CapturedAt.Equal(now) {
			t.Errorf("time %s, captured at %s; want both %s", got.Time, got.CapturedAt, now)
		}
	})
}

func TestRejectedOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := outcomeOf(t, declined("insufficient_money"))
		if got.Type != event.TypeRejected || got.Reason != "insufficient_money" ||
			got.Category != event.CategoryInsufficientFunds || got.Retry != event.RetryLater {
			t.Errorf("got %+v", got)
		}
		if got.PaymentID != "payment-1" || !got.Time.Equal(payment().UpdatedAt) || !got.CapturedAt.IsZero() {
			t.Errorf("payment %q, time %s, captured at %s", got.PaymentID, got.Time, got.CapturedAt)
		}

		got = outcomeOf(t, refused("invalid_payer_token"))
		if got.PaymentID != "" || !got.Time.Equal(time.Now()) || got.Category != event.CategoryAgreementCancelled ||
			got.Retry != event.RetryBuyerAction {
			t.Errorf("without a payment: got %+v", got)
		}
	})
}

// An operator can follow an event through the log, which has no payer token.
func TestLogAndMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		registry := prometheus.NewRegistry()
		c := newCapturer(newAPI(unavailable(), captured()), func(c *config) {
			c.captureConfig.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			c.captureConfig.Metrics = capture.NewMetrics(registry)
		})
		if _, err := c.Capture(t.Context(), newEvent(t), newLease(nil)); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			"msg=call", "meaning=retry", "cause=server_error", "http_status=503",
			"msg=\"event decided\" type=payment.captured event_id=event-1", "tries=2",
		} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("no %q in the log:\n%s", want, log.String())
			}
		}
		if strings.Contains(log.String(), "payer-token") {
			t.Errorf("the payer token shows:\n%s", log.String())
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		counted := make(map[string]float64)
		for _, family := range families {
			for _, m := range family.GetMetric() {
				for _, label := range m.GetLabel() {
					counted[label.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
		if counted["503"] != 1 || counted["201"] != 1 || counted["retry"] != 1 || counted["captured"] != 1 {
			t.Errorf("counted %v", counted)
		}
	})
}
