package mercadopago

import (
	"fmt"
	"testing"

	"payment-capture/internal/event"
)

func cause(code, text string) string {
	return fmt.Sprintf(`{"error":"e","message":%q,"cause":[{"code":%s,"description":%q,"data":null}]}`, text, code, text)
}

// TestRows has each row of the decision table that is about an answer, in the
// table's order; 32 and 33 are in client_test.go.
func TestRows(t *testing.T) {
	t.Parallel()
	approved := testdata(t, "approved")
	top := func(status string) string {
		return mustReplace(t, approved, `"status":"approved","wallet`, `"status":"`+status+`","wallet`)
	}
	tests := []struct {
		name   string
		status int
		body   string
		want   want
	}{
		{"1", 201, approved, want{meaning: Captured, row: 1}},
		{"2", 200, approved, want{meaning: Captured, row: 2}},
		{"3", 201, testdata(t, "rejected_card"), want{meaning: Rejected, row: 3, reason: "cc_rejected_other_reason"}},
		{"3 no children", 201, `{"id":1,"status":"rejected","payments":null}`, want{meaning: Rejected, row: 3, reason: "rejected_unspecified"}},
		{"3 no detail", 201, `{"id":1,"status":"rejected","payments":[{"id":2,"status":"rejected"}]}`, want{meaning: Rejected, row: 3, reason: "rejected_unspecified"}},
		{"3 unknown detail", 200, `{"id":1,"status":"rejected","payments":[{"id":2,"status":"rejected","status_detail":"cc_new"}]}`, want{meaning: Rejected, row: 3, reason: "cc_new"}},
		{"3 last of several", 201, `{"id":1,"status":"rejected","payments":[{"id":null,"status":"rejected","status_detail":"insufficient_money"},{"id":2,"status":"rejected","status_detail":"cc_rejected_high_risk"}]}`, want{meaning: Rejected, row: 3, reason: "cc_rejected_high_risk"}},
		{"3 last rejected of several", 201, `{"id":1,"status":"rejected","payments":[{"id":2,"status":"rejected","status_detail":"cc_rejected_high_risk"},{"id":3,"status":"cancelled","status_detail":"expired"}]}`, want{meaning: Rejected, row: 3, reason: "cc_rejected_high_risk"}},
		{"3 duplicated payment", 201, `{"id":1,"status":"rejected","payments":[{"id":2,"status":"rejected","status_detail":"cc_rejected_duplicated_payment"}]}`, want{meaning: Rejected, row: 3, reason: ReasonDuplicatedPayment}},
		{"4", 201, testdata(t, "rejected_no_balance"), want{meaning: Rejected, row: 4, reason: "insufficient_money"}},
		{"4 older word", 200, mustReplace(t, testdata(t, "rejected_no_balance"), "insufficient_money", "insufficient_amount"), want{meaning: Rejected, row: 4, reason: "insufficient_amount"}},
		{"5 in_process", 201, top("in_process"), want{meaning: Poll, row: 5}},
		{"5 pending replay", 200, top("pending"), want{meaning: Poll, row: 5}},
		{"5 without an id", 201, `{"status":"in_process","payments":[{"status":"in_process"}]}`, want{meaning: Wait, row: 5}},
		{"6", 201, top("authorized"), want{meaning: Park, row: 6, park: event.ParkUnexpectedStatus}},
		{"7 refunded", 200, top("refunded"), want{meaning: Park, row: 7, park: event.ParkUnexpectedStatus}},
		{"7 partially", 200, top("partially_refunded"), want{meaning: Park, row: 7}},
		{"7 charged back", 200, top("charged_back"), want{meaning: Park, row: 7}},
		{"7 in mediation", 200, top("in_mediation"), want{meaning: Park, row: 7}},
		{"7 as a detail", 200, mustReplace(t, approved, "accredited", "partially_refunded"), want{meaning: Park, row: 7}},
		{"8", 200, top("cancelled"), want{meaning: Park, row: 8, park: event.ParkUnexpectedStatus}},
		{"8 other spelling", 201, top("canceled"), want{meaning: Park, row: 8}},
		{"9", 201, mustReplace(t, approved, "700.50", "700.05"), want{meaning: Park, row: 9, park: event.ParkContradictory}},
		{"10 unknown word", 201, top("settled"), want{meaning: Poll, row: 10, park: event.ParkUnexpectedStatus}},
		{"10 other case", 201, top("Approved"), want{meaning: Poll, row: 10}},
		{"10 no status", 201, `{"id":5,"payments":[]}`, want{meaning: Poll, row: 10}},
		{"10 no status, no id", 201, `{"payments":[{"status":"approved"}]}`, want{meaning: Park, row: 10}},
		{"10 nothing", 200, `{}`, want{meaning: Park, row: 10}},
		{"10 rejected without a payment", 201, `{"status":"rejected"}`, want{meaning: Park, row: 10}},
		{"10 approved, not done", 202, approved, want{meaning: Poll, row: 10}},
		{"11 empty", 201, ``, want{meaning: Retry, row: 11, park: event.ParkUndecided}},
		{"11 no content", 204, ``, want{meaning: Retry, row: 11}},
		{"11 truncated", 201, approved[:len(approved)-1], want{meaning: Retry, row: 11}},
		{"11 html", 200, `<html>ok</html>`, want{meaning: Retry, row: 11}},
		{"11 null", 200, `null`, want{meaning: Retry, row: 11}},
		{"11 two values", 200, approved + approved, want{meaning: Retry, row: 11}},
		{"11 error of no status", 200, `{"code":"unauthorized","message":"invalid access token"}`, want{meaning: Retry, row: 11}},
		{"11 error of status 200", 200, `{"status":200,"error":"odd"}`, want{meaning: Retry, row: 11}},
		{"11 approved and an error", 201, `{"id":1,"status":"approved","error":"odd"}`, want{meaning: Retry, row: 11}},
		{"12", 402, testdata(t, "rejected_card"), want{meaning: Rejected, row: 12, reason: "cc_rejected_other_reason"}},
		{"12 no payment", 402, `{"status":"rejected"}`, want{meaning: Retry, row: 12}},
		{"12 failed", 402, mustReplace(t, testdata(t, "rejected_card"), `"status":"rejected","wallet`, `"status":"failed","wallet`), want{meaning: Retry, row: 12}},
		{"12 approved", 402, approved, want{meaning: Retry, row: 12}},
		{"12 within 200", 200, `{"status":402,"error":"x"}`, want{meaning: Retry, row: 12}},
		{"12 another's", 402, mustReplace(t, testdata(t, "rejected_card"), `"MLM"`, `"MLB"`), want{meaning: Park, row: 9}},
		{"13", 401, cause(`"401003"`, "Invalid payer token"), want{meaning: Rejected, row: 13, reason: "invalid_payer_token"}},
		{"13 number", 401, cause(`401003`, "invalid device token"), want{meaning: Rejected, row: 13, reason: "invalid_payer_token"}},
		{"13 text alone", 401, `{"message":"Invalid payer token."}`, want{meaning: Rejected, row: 13, reason: "invalid_payer_token"}},
		{"13 within 201, number", 201, `{"status":401,"error":"unauthorized","message":"Invalid payer token.","cause":null}`, want{meaning: Rejected, row: 13, reason: "invalid_payer_token"}},
		{"13 within 201, bare", 201, `{"status":"401","message":"Invalid payer token."}`, want{meaning: Rejected, row: 13, reason: "invalid_payer_token"}},
		{"13 with ours beside", 401, `{"cause":[{"code":"401003"},{"code":"401000"}]}`, want{meaning: Halt, row: 27}},
		{"13 of two minds", 401, `{"status":"500","cause":[{"code":"401003"}]}`, want{meaning: Park, row: 13, park: event.ParkContradictory}},
		{"13 beside a payment", 401, mustReplace(t, approved, `{"id":10458724,"status":"approved"`, `{"id":1,"status":"401","cause":[{"code":401003}]`), want{meaning: Park, row: 13, park: event.ParkContradictory}},
		{"13 beside a payment, 201", 201, mustReplace(t, approved, `{"id":10458724,"status":"approved"`, `{"id":1,"status":"401","cause":[{"code":401003}]`), want{meaning: Park, row: 9, park: event.ParkContradictory}},
		{"13 beside a cause of nobody", 401, `{"message":"Invalid payer token.","cause":[{"code":"401003"},{"code":"401999"}]}`, want{meaning: Halt, row: 27}},
		{"13 beside the order's", 401, `{"cause":[{"code":400017},{"code":"401003"}]}`, want{meaning: Halt, row: 27}},
		{"14 beside a cause", 400, `{"message":"Invalid payer token.","cause":[{"code":"400039"}]}`, want{meaning: Park, row: 18, park: event.ParkRefusedRequest}},
		{"14", 400, `{"status":400,"message":"Invalid payer token.","cause":[]}`, want{meaning: Rejected, row: 14, reason: "invalid_payer_token"}},
		{"15", 404, cause(`404003`, "payer not found"), want{meaning: Rejected, row: 15, reason: "payer_not_found"}},
		{"15 beside a payment not found", 404, `{"cause":[{"code":404003},{"code":404002}]}`, want{meaning: Park, row: 20, park: event.ParkRefusedRequest}},
		{"15 beside a cause of nobody", 404, `{"cause":[{"code":"404003"},{"code":"404999"}]}`, want{meaning: Park, row: 39, park: event.ParkRefusedRequest}},
		{"15 beside the application", 404, `{"message":"Client ID not found in whitelist.","cause":[{"code":404003}]}`, want{meaning: Halt, row: 29}},
		{"16", 400, cause(`"400036"`, "no permission"), want{meaning: Rejected, row: 16, reason: "payer_permission"}},
		{"16 not alone", 400, `{"cause":[{"code":400036},{"code":400018}]}`, want{meaning: Park, row: 18}},
		{"17", 400, cause(`400136`, "discount"), want{meaning: Park, row: 17, park: event.ParkRefusedRequest}},
		{"18 amount", 400, cause(`"400017"`, "x"), want{meaning: Park, row: 18, park: event.ParkRefusedRequest}},
		{"18 reference", 400, cause(`400055`, "x"), want{meaning: Park, row: 18}},
		{"18 no cause", 400, `{"message":"x"}`, want{meaning: Park, row: 18}},
		{"18 html", 400, `<html>`, want{meaning: Park, row: 18}},
		{"18 payer token code under 400", 400, cause(`401003`, "Invalid payer token"), want{meaning: Park, row: 18}},
		{"19", 400, cause(`400057`, "x"), want{meaning: Park, row: 19, park: event.ParkDuplicateRefer}},
		{"20", 404, cause(`"404002"`, "x"), want{meaning: Park, row: 20}},
		{"20 text alone", 404, `{"message":"Advanced payment not found."}`, want{meaning: Park, row: 20}},
		{"21", 409, cause(`"401001"`, "x"), want{meaning: Wait, row: 21, park: event.ParkUndecided}},
		{"21 with the payer's code", 409, cause(`"401003"`, "Invalid payer token"), want{meaning: Wait, row: 21}},
		{"21 empty", 409, ``, want{meaning: Wait, row: 21}},
		{"21 within 200", 200, cause(`401001`, "x")[:1] + `"status":409,` + cause(`401001`, "x")[1:], want{meaning: Wait, row: 21}},
		{"22", 422, cause(`422001`, "x"), want{meaning: Park, row: 22, park: event.ParkKeyUsed}},
		{"22 empty", 422, ``, want{meaning: Park, row: 22, park: event.ParkKeyUsed}},
		{"23 error", 409, `{"error":"idempotency_key_already_used"}`, want{meaning: Park, row: 23, park: event.ParkKeyUsed}},
		{"23 errors", 409, `{"errors":[{"code":"idempotency_key_already_used","message":"m","details":["d"]}]}`, want{meaning: Park, row: 23}},
		{"24", 423, `{"errors":[{"code":"resource_locked"}]}`, want{meaning: Wait, row: 24}},
		{"25", 500, `{"code":"idempotency_validation_failed"}`, want{meaning: Retry, row: 25, park: event.ParkUndecided}},
		{"26 code", 400, cause(`400058`, "x"), want{meaning: Halt, row: 26}},
		{"26 misprint", 400, cause(`40058`, "x"), want{meaning: Halt, row: 26}},
		{"26 missing", 400, `{"message":"Missing header parameter: X"}`, want{meaning: Halt, row: 26}},
		{"26 null", 400, cause(`4292`, "Header X-Idempotency-Key can’t be null"), want{meaning: Halt, row: 26}},
		{"26 word", 400, `{"errors":[{"code":"empty_required_header"}]}`, want{meaning: Halt, row: 26}},
		{"26 length", 400, `{"error":"invalid_idempotency_key_length"}`, want{meaning: Halt, row: 26}},
		{"27 codes", 401, cause(`"401002"`, "x"), want{meaning: Halt, row: 27}},
		{"27 edge", 401, `{"code":"unauthorized","message":"invalid access token"}`, want{meaning: Halt, row: 27}},
		{"27 empty", 401, ``, want{meaning: Halt, row: 27}},
		{"27 within 200", 200, `{"status":"401","message":"no","cause":[{"code":5}]}`, want{meaning: Halt, row: 27}},
		{"28", 403, `{}`, want{meaning: Halt, row: 28}},
		{"28 empty", 403, ``, want{meaning: Halt, row: 28}},
		{"29 not ours", 404, `<html>404</html>`, want{meaning: Halt, row: 29}},
		{"29 no cause", 404, `{"message":"resource not found","error":"not_found","status":404,"cause":[]}`, want{meaning: Halt, row: 29}},
		{"30 application", 400, cause(`400004`, "x"), want{meaning: Halt, row: 30}},
		{"30 collector", 400, cause(`"400054"`, "x"), want{meaning: Halt, row: 30}},
		{"30 before 19", 400, `{"cause":[{"code":400057},{"code":400005}]}`, want{meaning: Halt, row: 30}},
		{"30 before 18", 400, `{"cause":[{"code":400017},{"code":400005}]}`, want{meaning: Halt, row: 30}},
		{"31 redirect", 301, approved, want{meaning: Halt, row: 31}},
		{"31 see other", 303, ``, want{meaning: Halt, row: 31}},
		{"31 method", 405, ``, want{meaning: Halt, row: 31}},
		{"31 length", 411, ``, want{meaning: Halt, row: 31}},
		{"31 media type", 415, ``, want{meaning: Halt, row: 31}},
		{"31 not implemented", 501, ``, want{meaning: Halt, row: 31}},
		{"31 version", 505, ``, want{meaning: Halt, row: 31}},
		{"31 proxy", 407, `<html>`, want{meaning: Halt, row: 31}},
		{"31 too large", 413, ``, want{meaning: Park, row: 31, park: event.ParkRefusedRequest}},
		{"31 address too long", 414, ``, want{meaning: Park, row: 31}},
		{"31 headers too large", 431, ``, want{meaning: Park, row: 31}},
		{"34", 406, cause(`406001`, "Error in the payments API"), want{meaning: Retry, row: 34}},
		{"35 timeout", 408, ``, want{meaning: Retry, row: 35}},
		{"35 too early", 425, ``, want{meaning: Retry, row: 35}},
		{"35 misdirected", 421, ``, want{meaning: Retry, row: 35, park: event.ParkUndecided}},
		{"36", 424, ``, want{meaning: Retry, row: 36}},
		{"37", 429, `local_rate_limited`, want{meaning: Wait, row: 37}},
		{"38 500", 500, cause(`"500000"`, "x"), want{meaning: Retry, row: 38}},
		{"38 500 with the payer's code", 500, cause(`401003`, "Invalid payer token"), want{meaning: Retry, row: 38}},
		{"38 503", 503, `<html>`, want{meaning: Retry, row: 38}},
		{"38 599", 599, ``, want{meaning: Retry, row: 38}},
		{"38 no HTTP", 700, ``, want{meaning: Retry, row: 38}},
		{"38 approved under 502", 502, approved, want{meaning: Retry, row: 38}},
		{"39", 418, ``, want{meaning: Park, row: 39, park: event.ParkRefusedRequest}},
		{"39 gone", 410, ``, want{meaning: Park, row: 39}},
		{"39 404 of another cause", 404, cause(`404001`, "disbursement"), want{meaning: Park, row: 39}},
	}
	seen := map[int]bool{rowNotSent: true, rowNoAnswer: true}
	for _, tt := range tests {
		seen[tt.want.row] = true
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			check(t, judge(sampleRequest(t), tt.status, tt.body), tt.want)
		})
	}
	for row := 1; row <= 39; row++ {
		if !seen[row] {
			t.Errorf("row %d has no case", row)
		}
	}
}

// TestReads has what differs where the answer is to a GET.
func TestReads(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		status int
		body   string
		want   want
	}{
		{"approved", 200, testdata(t, "approved"), want{meaning: Captured, row: 1}},
		{"rejected", 200, testdata(t, "rejected_card"), want{meaning: Rejected, row: 3, reason: "cc_rejected_other_reason"}},
		{"still in process", 200, testdata(t, "in_process"), want{meaning: Poll, row: 5}},
		{"another's", 200, mustReplace(t, testdata(t, "approved"), "Pago_123", "Pago_124"), want{meaning: Park, row: 9}},
		{"the documented sample", 200, testdata(t, "get_sample"), want{meaning: Park, row: 10}},
		{"payer token", 401, testdata(t, "error_invalid_payer_token"), want{meaning: Poll, row: 13}},
		{"payer", 404, cause(`404003`, "x"), want{meaning: Poll, row: 15}},
		{"not found yet", 404, testdata(t, "error_payment_not_found"), want{meaning: Poll, row: 20, park: event.ParkUndecided}},
		{"not found, in no words of the API", 404, `<html>`, want{meaning: Poll, row: 39, park: event.ParkUndecided}},
		{"bad request", 400, testdata(t, "error_invalid_splitter"), want{meaning: Poll, row: 18, park: event.ParkUndecided}},
		{"key", 422, ``, want{meaning: Poll, row: 22, park: event.ParkUndecided}},
		{"access token", 401, ``, want{meaning: Halt, row: 27}},
		{"whitelist", 404, testdata(t, "error_client_not_whitelisted"), want{meaning: Halt, row: 29}},
		{"rate", 429, ``, want{meaning: Wait, row: 37}},
		{"server", 500, ``, want{meaning: Retry, row: 38}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := judgeRead(sampleRequest(t), tt.status, tt.body)
			check(t, a, tt.want)
			if !a.Read || a.EffectUnknown() {
				t.Errorf("read %t, effect unknown %t: a read has no effect", a.Read, a.EffectUnknown())
			}
		})
	}
}

func TestEffectUnknown(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status int
		body   string
		want   bool
	}{
		{201, testdata(t, "approved"), false},
		{201, testdata(t, "rejected_card"), false},
		{401, testdata(t, "error_invalid_payer_token"), false},
		{201, testdata(t, "error_invalid_payer_token"), false},
		{201, testdata(t, "in_process"), true},
		{201, testdata(t, "authorized"), true},
		{201, ``, true},
		{200, `{"status":429,"error":"x"}`, true},
		{302, ``, true},
		{400, ``, false},
		{400, cause(`400057`, "x"), true},
		{401, ``, false},
		{402, ``, true},
		{403, ``, false},
		{404, ``, false},
		{405, ``, false},
		{406, ``, true},
		{408, ``, true},
		{409, ``, true},
		{410, ``, false},
		{413, ``, false},
		{418, ``, true},
		{422, ``, true},
		{423, ``, true},
		{424, ``, true},
		{425, ``, true},
		{429, ``, false},
		{431, ``, false},
		{499, ``, true},
		{500, ``, true},
		{501, ``, true},
		{503, ``, true},
	}
	for _, tt := range tests {
		if got := judge(sampleRequest(t), tt.status, tt.body).EffectUnknown(); got != tt.want {
			t.Errorf("HTTP %d %.40q: got %t, want %t", tt.status, tt.body, got, tt.want)
		}
	}
	if (Answer{Meaning: Retry, Row: rowNotSent}).EffectUnknown() {
		t.Error("what was not sent has no effect")
	}
	if half := (Answer{Meaning: Retry, Row: rowNoAnswer, HTTPStatus: 429, Sent: true}); !half.EffectUnknown() {
		t.Error("half an answer tells nothing, whatever its status")
	}
}

func TestMeaningString(t *testing.T) {
	t.Parallel()
	for m, s := range map[Meaning]string{
		Captured: "captured", Rejected: "rejected", Retry: "retry", Wait: "wait", Poll: "poll", Halt: "halt",
		Park: "park", 0: "meaning(0)",
	} {
		if m.String() != s {
			t.Errorf("got %s, want %s", m, s)
		}
	}
}
