package mercadopago

import (
	"os"
	"testing"
	"time"

	"payment-capture/internal/event"
)

// TestCatalogue covers every JSON body that the API's documentation shows, under its
// HTTP status.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	tests := []struct {
		file   string
		status int
		amount string // "": 700.50
		want   want
	}{
		{"approved", 201, "", want{meaning: Captured, cause: CauseApproved}},
		{"approved", 200, "", want{meaning: Captured, cause: CauseApproved, replayed: true}},
		{"rejected_card", 201, "", want{meaning: Rejected, cause: CauseDeclined, reason: "cc_rejected_other_reason"}},
		{"rejected_card", 200, "", want{meaning: Rejected, cause: CauseDeclined, reason: "cc_rejected_other_reason"}},
		{"rejected_no_balance", 201, "", want{meaning: Rejected, cause: CauseDeclined, reason: "insufficient_money"}},
		{"approved_discount", 201, "550", want{meaning: Captured, cause: CauseApproved}},
		{"in_process", 201, "", want{meaning: Poll, cause: CauseInProcess, park: event.ParkUndecided}},
		{"pending", 200, "", want{meaning: Poll, cause: CauseInProcess, park: event.ParkUndecided}},
		{"authorized", 201, "100", want{meaning: Park, cause: CauseUnexpectedStatus, park: event.ParkUnexpectedStatus}},
		{"cancelled", 200, "", want{meaning: Park, cause: CauseUnexpectedStatus, park: event.ParkUnexpectedStatus}},
		{"cancelled_mock", 200, "100", want{meaning: Park, cause: CauseUnexpectedStatus, park: event.ParkUnexpectedStatus}},
		{"get_sample", 200, "", want{meaning: Poll, cause: CauseUnknownStatus, park: event.ParkUnexpectedStatus}},
		{"refund", 200, "", want{meaning: Retry, cause: CauseUnreadable, park: event.ParkUndecided}},
		{"search", 200, "", want{meaning: Park, cause: CauseUnknownStatus, park: event.ParkUnexpectedStatus}},
		{"error_invalid_payer_token", 401, "", want{meaning: Rejected, cause: CausePayer, reason: "invalid_payer_token"}},
		{"error_invalid_payer_token", 201, "", want{meaning: Rejected, cause: CausePayer, reason: "invalid_payer_token"}},
		{"error_search_parameters", 400, "", want{meaning: Park, cause: CauseRequest, park: event.ParkRefusedRequest}},
		{"error_discount", 400, "", want{meaning: Park, cause: CauseRequest, park: event.ParkRefusedRequest}},
		{"error_in_progress", 409, "", want{meaning: Wait, cause: CauseKeyBusy, park: event.ParkUndecided}},
		{"error_key_used", 422, "", want{meaning: Park, cause: CauseKeyUsed, park: event.ParkKeyUsed}},
		{"error_payment_not_found", 404, "", want{meaning: Park, cause: CauseRequest, park: event.ParkRefusedRequest}},
		{"error_payment_not_found_cause", 404, "", want{meaning: Park, cause: CauseRequest, park: event.ParkRefusedRequest}},
		{"error_client_not_whitelisted", 404, "", want{meaning: Halt, cause: CauseAccount}},
		{"error_collector_not_listed", 404, "", want{meaning: Halt, cause: CauseAccount}},
		{"error_invalid_splitter", 400, "", want{meaning: Park, cause: CauseRequest, park: event.ParkRefusedRequest}},
		{"error_internal", 500, "", want{meaning: Retry, cause: CauseServerError, park: event.ParkUndecided}},
		{"host_no_access_token", 401, "", want{meaning: Halt, cause: CauseCredential}},
		{"host_live_credentials", 401, "", want{meaning: Halt, cause: CauseCredential}},
		{"host_edge_unauthorized", 401, "", want{meaning: Halt, cause: CauseCredential}},
		{"host_policy_agent", 403, "", want{meaning: Halt, cause: CauseAccount}},
		{"host_too_many_requests", 429, "", want{meaning: Wait, cause: CauseRateLimit, park: event.ParkUndecided}},
		{"host_bad_gateway", 502, "", want{meaning: Retry, cause: CauseServerError, park: event.ParkUndecided}},
		{"host_gateway_timeout", 504, "", want{meaning: Retry, cause: CauseServerError, park: event.ParkUndecided}},
	}
	seen := make(map[string]bool)
	for _, tt := range tests {
		seen[tt.file+".json"] = true
		t.Run(tt.file, func(t *testing.T) {
			t.Parallel()
			r := sampleRequest(t)
			if tt.amount != "" {
				r.Amount = amount(t, tt.amount, "MXN")
			}
			check(t, judge(r, tt.status, testdata(t, tt.file)), tt.want)
		})
	}
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !f.IsDir() && !seen[f.Name()] {
			t.Errorf("testdata/%s is in no case", f.Name())
		}
	}
}

func TestPaymentOfTheApprovedSample(t *testing.T) {
	t.Parallel()
	a := judge(sampleRequest(t), 201, testdata(t, "approved"))
	p := a.Payment
	if p == nil || len(p.Transactions) != 1 {
		t.Fatalf("got payment %+v, want one with a transaction", p)
	}
	wantTx := event.Transaction{
		ID: "3870106238", Status: "approved", StatusDetail: "accredited", PaymentMethod: "visa", Amount: "700.50",
	}
	if p.ID != "10458724" || p.Status != "approved" || p.PayerID != "786547" || p.Replayed || p.Transactions[0] != wantTx {
		t.Errorf("got %+v", p)
	}
	at := time.Date(2018, 10, 20, 13, 34, 20, 518_000_000, time.UTC)
	if !p.CreatedAt.Equal(at) || !p.UpdatedAt.Equal(at) {
		t.Errorf("got times %s and %s, want %s", p.CreatedAt, p.UpdatedAt, at)
	}
	if a.EffectUnknown() {
		t.Error("the effect of a captured try is known")
	}
	if replay := judge(sampleRequest(t), 200, testdata(t, "approved")); !replay.Payment.Replayed {
		t.Error("200 to a charge is a replay")
	}
	if read := judgeRead(sampleRequest(t), 200, testdata(t, "approved")); read.Payment.Replayed || read.Cause != CauseApproved {
		t.Errorf("HTTP 200 to a read is called a replay: %s", read.Cause)
	}
}
