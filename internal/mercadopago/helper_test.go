package mercadopago

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
	"payment-capture/internal/secret"
)

// The secrets of the tests, which no text may show. The payer token has the
// length and alphabet of the documented ones.
const (
	accessToken = "APP_USR-1234567890123456-112233-0123456789abcdef0123456789abcdef-98765"
	payerToken  = "abcdef9876543210abcdef9876543210abcdef9876543210abcdef9876543210"
)

func amount(tb testing.TB, text string, c money.Currency) money.Amount {
	tb.Helper()
	a, err := money.Parse(text, c)
	if err != nil {
		tb.Fatalf("amount %s %s: %v", text, c, err)
	}
	return a
}

// sampleEvent is the event behind the documents' own samples.
func sampleEvent(tb testing.TB) *event.ReadyToCapture {
	tb.Helper()
	return &event.ReadyToCapture{
		ID: "0b0b9d4e-6c7e-4d0e-9a39-0f6f6a3f8f11", OrderID: "order-1001",
		Amount: amount(tb, "700.50", "MXN"), Description: "Payment Description", ExternalReference: "Pago_123",
		PayerToken: secret.New(payerToken),
	}
}

func sampleRequest(tb testing.TB) Request {
	tb.Helper()
	r, err := NewRequest(sampleEvent(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// judge classifies an answer to a charge.
func judge(r Request, status int, raw string) Answer {
	return decide(exchange{
		status: status, raw: []byte(raw), body: parseBody([]byte(raw)), request: r,
		scrub: newScrubber(accessToken, r.payerToken()),
	})
}

// judgeRead classifies an answer to a GET.
func judgeRead(r Request, status int, raw string) Answer {
	return decide(exchange{
		status: status, read: true, raw: []byte(raw), body: parseBody([]byte(raw)), request: r,
		scrub: newScrubber(accessToken, r.payerToken()),
	})
}

func testdata(tb testing.TB, name string) string {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		tb.Fatal(err)
	}
	return string(bytes.TrimSpace(raw))
}

// mustReplace is strings.ReplaceAll that fails if there is nothing to replace.
func mustReplace(tb testing.TB, text, from, to string) string {
	tb.Helper()
	if !strings.Contains(text, from) {
		tb.Fatalf("%q is not in %s", from, text)
	}
	return strings.ReplaceAll(text, from, to)
}

// want is the expected answer.
type want struct {
	meaning  Meaning
	cause    Cause
	replayed bool             // of a captured payment
	reason   string           // of a rejection
	park     event.ParkReason // "": any
}

func check(t *testing.T, a Answer, w want) {
	t.Helper()
	if a.Meaning != w.meaning || a.Cause != w.cause {
		t.Errorf("got %s (%s), want %s (%s): %s", a.Meaning, a.Cause, w.meaning, w.cause, a.Detail)
	}
	if a.Meaning == Captured && a.Payment.Replayed != w.replayed {
		t.Errorf("got replayed %t, want %t", a.Payment.Replayed, w.replayed)
	}
	if a.Meaning == Rejected && a.Reason != w.reason {
		t.Errorf("got reason %q, want %q", a.Reason, w.reason)
	}
	if w.park != "" && a.ParkReason != w.park {
		t.Errorf("got park reason %q, want %q", a.ParkReason, w.park)
	}
	checkSound(t, a)
}

// checkSound checks what holds for every answer.
func checkSound(t *testing.T, a Answer) {
	t.Helper()
	if a.Detail == "" || len(a.Detail) > maxDetail || strings.ContainsAny(a.Detail, "\r\n\x00") {
		t.Errorf("detail %q is empty, too long or not one line", a.Detail)
	}
	if (a.Meaning == Rejected || a.Meaning == Halt) == (a.Reason == "") {
		t.Errorf("%s with reason %q", a.Meaning, a.Reason)
	}
	if needs := a.Meaning != Captured && a.Meaning != Rejected; needs == (a.ParkReason == "") {
		t.Errorf("%s with park reason %q", a.Meaning, a.ParkReason)
	}
	if a.Meaning == Halt && (!a.Cause.OurFault() || a.ParkReason != event.ParkBlocked) {
		t.Errorf("halt by cause %s, park reason %q", a.Cause, a.ParkReason)
	}
	if a.Meaning == Captured && (a.Payment == nil || a.Payment.ID == "") {
		t.Errorf("captured without a payment: %+v", a.Payment)
	}
	if a.Meaning == Poll && !a.Read && (a.Payment == nil || a.Payment.ID == "") {
		t.Errorf("poll without a payment to poll: %+v", a.Payment)
	}
	texts := []string{a.Detail, a.Reason, a.RequestID}
	if a.Payment != nil {
		texts = append(texts, a.Payment.ID, a.Payment.Status, a.Payment.PayerID)
		for _, tx := range a.Payment.Transactions {
			texts = append(texts, tx.ID, tx.Status, tx.StatusDetail, tx.PaymentMethod, tx.Amount)
		}
	}
	for _, text := range texts {
		if shows(text, accessToken) || shows(text, payerToken) {
			t.Errorf("a token shows in %q", text)
		}
	}
}

// shows reports whether a piece that identifies the token is in the text.
func shows(text, token string) bool {
	text, token = strings.ToLower(text), strings.ToLower(token)
	for i := range len(token) - gramSize + 1 {
		if strings.Contains(text, token[i:i+gramSize]) {
			return true
		}
	}
	return false
}
