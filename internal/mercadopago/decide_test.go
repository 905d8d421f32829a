package mercadopago

import (
	"fmt"
	"testing"

	"payment-capture/internal/event"
)

func cause(code, text string) string {
	return fmt.Sprintf(`{"error":"e","message":%q,"cause":[{"code":%s,"description":%q,"data":null}]}`, text, code, text)
}

// TestDecide covers each cause of a complete answer; client_test.go covers calls
// without one.
func TestDecide(t *testing.T) {
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
		{"approved", 201, approved, want{meaning: Captured, cause: CauseApproved}},
		{"approved, replayed", 200, approved, want{meaning: Captured, cause: CauseApproved, replayed: true}},
		{"rejected", 201, testdata(t, "rejected_card"), want{meaning: Rejected, cause: CauseDeclined, reason: "cc_rejected_other_reason"}},
		{
			"rejected: no children", 201, `{"id":1,"status":"rejected","payments":null}`,
			want{meaning: Rejected, cause: CauseDeclined, reason: "rejected_unspecified"},
		},
		{
			"rejected: no detail", 201, `{"id":1,"status":"rejected","payments":[{"id":2,"status":"rejected"}]}`,
			want{meaning: Rejected, cause: CauseDeclined, reason: "rejected_unspecified"},
		},
		{
			"rejected: unknown detail", 200, `{"id":1,"status":"rejected","payments":[{"id":2,"status":"rejected","status_detail":"cc_new"}]}`,
			want{meaning: Rejected, cause: CauseDeclined, reason: "cc_new"},
		},
		{"rejected: last of several", 201, `{"id":1,"status":"rejected","payments":[{"id":null,"status":"rejected","status_detail":"insufficient_money"},{"id":2,"status":"rejected","status_detail":"cc_rejected_high_risk"}]}`, want{meaning: Rejected, cause: CauseDeclined, reason: "cc_rejected_high_risk"}},
		{
			"rejected: last rejected of several", 201,
			`{"id":1,"status":"rejected","payments":[{"id":2,"status":"rejected","status_detail":"cc_rejected_high_risk"},{"id":3,"status":"cancelled","status_detail":"expired"}]}`,
			want{meaning: Rejected, cause: CauseDeclined, reason: "cc_rejected_high_risk"},
		},
		{"rejected: duplicated payment", 201, `{"id":1,"status":"rejected","payments":[{"id":2,"status":"rejected","status_detail":"cc_rejected_duplicated_payment"}]}`, want{meaning: Rejected, cause: CauseDeclined, reason: ReasonDuplicatedPayment}},
		{"no balance", 201, testdata(t, "rejected_no_balance"), want{meaning: Rejected, cause: CauseDeclined, reason: "insufficient_money"}},
		{
			"no balance: older word", 200, mustReplace(t, testdata(t, "rejected_no_balance"), "insufficient_money", "insufficient_amount"),
			want{meaning: Rejected, cause: CauseDeclined, reason: "insufficient_amount"},
		},
		{"in process: in_process", 201, top("in_process"), want{meaning: Poll, cause: CauseInProcess}},
		{"in process: pending replay", 200, top("pending"), want{meaning: Poll, cause: CauseInProcess}},
		{
			"in process: without an id", 201, `{"status":"in_process","payments":[{"status":"in_process"}]}`,
			want{meaning: Wait, cause: CauseInProcess},
		},
		{"authorized", 201, top("authorized"), want{meaning: Park, cause: CauseUnexpectedStatus, park: event.ParkUnexpectedStatus}},
		{"returned: refunded", 200, top("refunded"), want{meaning: Park, cause: CauseUnexpectedStatus, park: event.ParkUnexpectedStatus}},
		{"returned: partially", 200, top("partially_refunded"), want{meaning: Park, cause: CauseUnexpectedStatus}},
		{"returned: charged back", 200, top("charged_back"), want{meaning: Park, cause: CauseUnexpectedStatus}},
		{"returned: in mediation", 200, top("in_mediation"), want{meaning: Park, cause: CauseUnexpectedStatus}},
		{
			"returned: as a detail", 200, mustReplace(t, approved, "accredited", "partially_refunded"),
			want{meaning: Park, cause: CauseUnexpectedStatus},
		},
		{"cancelled", 200, top("cancelled"), want{meaning: Park, cause: CauseUnexpectedStatus, park: event.ParkUnexpectedStatus}},
		{"cancelled: other spelling", 201, top("canceled"), want{meaning: Park, cause: CauseUnexpectedStatus}},
		{
			"another amount", 201, mustReplace(t, approved, "700.50", "700.05"),
			want{meaning: Park, cause: CauseContradiction, park: event.ParkContradictory},
		},
		{"unknown status: unknown word", 201, top("settled"), want{meaning: Poll, cause: CauseUnknownStatus, park: event.ParkUnexpectedStatus}},
		{"unknown status: other case", 201, top("Approved"), want{meaning: Poll, cause: CauseUnknownStatus}},
		{"unknown status: no status", 201, `{"id":5,"payments":[]}`, want{meaning: Poll, cause: CauseUnknownStatus}},
		{"unknown status: no status, no id", 201, `{"payments":[{"status":"approved"}]}`, want{meaning: Park, cause: CauseUnknownStatus}},
		{"unknown status: nothing", 200, `{}`, want{meaning: Park, cause: CauseUnknownStatus}},
		{"unknown status: rejected without a payment", 201, `{"status":"rejected"}`, want{meaning: Park, cause: CauseUnknownStatus}},
		{"unknown status: approved, not done", 202, approved, want{meaning: Poll, cause: CauseUnknownStatus}},
		{"unreadable: empty", 201, ``, want{meaning: Retry, cause: CauseUnreadable, park: event.ParkUndecided}},
		{"unreadable: no content", 204, ``, want{meaning: Retry, cause: CauseUnreadable}},
		{"unreadable: truncated", 201, approved[:len(approved)-1], want{meaning: Retry, cause: CauseUnreadable}},
		{"unreadable: html", 200, `<html>ok</html>`, want{meaning: Retry, cause: CauseUnreadable}},
		{"unreadable: null", 200, `null`, want{meaning: Retry, cause: CauseUnreadable}},
		{"unreadable: two values", 200, approved + approved, want{meaning: Retry, cause: CauseUnreadable}},
		{
			"unreadable: error of no status", 200, `{"code":"unauthorized","message":"invalid access token"}`,
			want{meaning: Retry, cause: CauseUnreadable},
		},
		{"unreadable: error of status 200", 200, `{"status":200,"error":"odd"}`, want{meaning: Retry, cause: CauseUnreadable}},
		{"unreadable: approved and an error", 201, `{"id":1,"status":"approved","error":"odd"}`, want{meaning: Retry, cause: CauseUnreadable}},
		{"402", 402, testdata(t, "rejected_card"), want{meaning: Rejected, cause: CauseDeclined, reason: "cc_rejected_other_reason"}},
		{"402: no payment", 402, `{"status":"rejected"}`, want{meaning: Retry, cause: CauseServerError}},
		{
			"402: failed", 402, mustReplace(t, testdata(t, "rejected_card"), `"status":"rejected","wallet`, `"status":"failed","wallet`),
			want{meaning: Retry, cause: CauseServerError},
		},
		{"402: approved", 402, approved, want{meaning: Retry, cause: CauseServerError}},
		{"402: within 200", 200, `{"status":402,"error":"x"}`, want{meaning: Retry, cause: CauseServerError}},
		{"402: another's", 402, mustReplace(t, testdata(t, "rejected_card"), `"MLM"`, `"MLB"`), want{meaning: Park, cause: CauseContradiction}},
		{"payer token, 401", 401, cause(`"401003"`, "Invalid payer token"), want{
			meaning: Rejected, cause: CausePayer,
			reason: "invalid_payer_token",
		}},
		{
			"payer token, 401: number", 401, cause(`401003`, "invalid device token"),
			want{meaning: Rejected, cause: CausePayer, reason: "invalid_payer_token"},
		},
		{
			"payer token, 401: text alone", 401, `{"message":"Invalid payer token."}`,
			want{meaning: Rejected, cause: CausePayer, reason: "invalid_payer_token"},
		},
		{
			"payer token, 401: within 201, number", 201, `{"status":401,"error":"unauthorized","message":"Invalid payer token.","cause":null}`,
			want{meaning: Rejected, cause: CausePayer, reason: "invalid_payer_token"},
		},
		{
			"payer token, 401: within 201, bare", 201, `{"status":"401","message":"Invalid payer token."}`,
			want{meaning: Rejected, cause: CausePayer, reason: "invalid_payer_token"},
		},
		{
			"payer token, 401: with ours beside", 401, `{"cause":[{"code":"401003"},{"code":"401000"}]}`,
			want{meaning: Halt, cause: CauseCredential},
		},
		{
			"payer token, 401: of two minds", 401, `{"status":"500","cause":[{"code":"401003"}]}`,
			want{meaning: Park, cause: CausePayer, park: event.ParkContradictory},
		},
		{"payer token, 401: beside a payment", 401, mustReplace(t, approved, `{"id":10458724,"status":"approved"`,
			`{"id":1,"status":"401","cause":[{"code":401003}]`), want{meaning: Park, cause: CausePayer, park: event.ParkContradictory}},
		{"payer token, 401: beside a payment, 201", 201, mustReplace(t, approved, `{"id":10458724,"status":"approved"`,
			`{"id":1,"status":"401","cause":[{"code":401003}]`), want{meaning: Park, cause: CauseContradiction, park: event.ParkContradictory}},
		{
			"payer token, 401: beside a cause of nobody", 401, `{"message":"Invalid payer token.","cause":[{"code":"401003"},{"code":"401999"}]}`,
			want{meaning: Halt, cause: CauseCredential},
		},
		{
			"payer token, 401: beside the order's", 401, `{"cause":[{"code":400017},{"code":"401003"}]}`,
			want{meaning: Halt, cause: CauseCredential},
		},
		{
			"payer token, 400: beside a cause", 400, `{"message":"Invalid payer token.","cause":[{"code":"400039"}]}`,
			want{meaning: Park, cause: CauseRequest, park: event.ParkRefusedRequest},
		},
		{
			"payer token, 400", 400, `{"status":400,"message":"Invalid payer token.","cause":[]}`,
			want{meaning: Rejected, cause: CausePayer, reason: "invalid_payer_token"},
		},
		{"payer not found", 404, cause(`404003`, "payer not found"), want{meaning: Rejected, cause: CausePayer, reason: "payer_not_found"}},
		{
			"payer not found: beside a payment not found", 404, `{"cause":[{"code":404003},{"code":404002}]}`,
			want{meaning: Park, cause: CauseRequest, park: event.ParkRefusedRequest},
		},
		{
			"payer not found: beside a cause of nobody", 404, `{"cause":[{"code":"404003"},{"code":"404999"}]}`,
			want{meaning: Park, cause: CauseRequest, park: event.ParkRefusedRequest},
		},
		{
			"payer not found: beside the application", 404, `{"message":"Client ID not found in whitelist.","cause":[{"code":404003}]}`,
			want{meaning: Halt, cause: CauseAccount},
		},
		{"payer permission", 400, cause(`"400036"`, "no permission"), want{meaning: Rejected, cause: CausePayer, reason: "payer_permission"}},
		{"payer permission: not alone", 400, `{"cause":[{"code":400036},{"code":400018}]}`, want{meaning: Park, cause: CauseRequest}},
		{"discount", 400, cause(`400136`, "discount"), want{meaning: Park, cause: CauseRequest, park: event.ParkRefusedRequest}},
		{"bad request: amount", 400, cause(`"400017"`, "x"), want{meaning: Park, cause: CauseRequest, park: event.ParkRefusedRequest}},
		{"bad request: reference", 400, cause(`400055`, "x"), want{meaning: Park, cause: CauseRequest}},
		{"bad request: no cause", 400, `{"message":"x"}`, want{meaning: Park, cause: CauseRequest}},
		{"bad request: html", 400, `<html>`, want{meaning: Park, cause: CauseRequest}},
		{"bad request: payer token code under 400", 400, cause(`401003`, "Invalid payer token"), want{meaning: Park, cause: CauseRequest}},
		{"duplicate reference", 400, cause(`400057`, "x"), want{meaning: Park, cause: CauseDuplicateReference, park: event.ParkDuplicateRefer}},
		{"payment not found", 404, cause(`"404002"`, "x"), want{meaning: Park, cause: CauseRequest}},
		{"payment not found: text alone", 404, `{"message":"Advanced payment not found."}`, want{meaning: Park, cause: CauseRequest}},
		{"key busy", 409, cause(`"401001"`, "x"), want{meaning: Wait, cause: CauseKeyBusy, park: event.ParkUndecided}},
		{"key busy: with the payer's code", 409, cause(`"401003"`, "Invalid payer token"), want{meaning: Wait, cause: CauseKeyBusy}},
		{"key busy: empty", 409, ``, want{meaning: Wait, cause: CauseKeyBusy}},
		{
			"key busy: within 200", 200, cause(`401001`, "x")[:1] + `"status":409,` + cause(`401001`, "x")[1:],
			want{meaning: Wait, cause: CauseKeyBusy},
		},
		{"key used", 422, cause(`422001`, "x"), want{meaning: Park, cause: CauseKeyUsed, park: event.ParkKeyUsed}},
		{"key used: empty", 422, ``, want{meaning: Park, cause: CauseKeyUsed, park: event.ParkKeyUsed}},
		{
			"key already used: error", 409, `{"error":"idempotency_key_already_used"}`,
			want{meaning: Park, cause: CauseKeyUsed, park: event.ParkKeyUsed},
		},
		{
			"key already used: errors", 409, `{"errors":[{"code":"idempotency_key_already_used","message":"m","details":["d"]}]}`,
			want{meaning: Park, cause: CauseKeyUsed},
		},
		{"key locked", 423, `{"errors":[{"code":"resource_locked"}]}`, want{meaning: Wait, cause: CauseKeyBusy}},
		{
			"key validation failed", 500, `{"code":"idempotency_validation_failed"}`,
			want{meaning: Retry, cause: CauseServerError, park: event.ParkUndecided},
		},
		{"key header: code", 400, cause(`400058`, "x"), want{meaning: Halt, cause: CauseKeyHeader}},
		{"key header: misprint", 400, cause(`40058`, "x"), want{meaning: Halt, cause: CauseKeyHeader}},
		{"key header: missing", 400, `{"message":"Missing header parameter: X"}`, want{meaning: Halt, cause: CauseKeyHeader}},
		{"key header: null", 400, cause(`4292`, "Header X-Idempotency-Key can’t be null"), want{meaning: Halt, cause: CauseKeyHeader}},
		{"key header: word", 400, `{"errors":[{"code":"empty_required_header"}]}`, want{meaning: Halt, cause: CauseKeyHeader}},
		{"key header: length", 400, `{"error":"invalid_idempotency_key_length"}`, want{meaning: Halt, cause: CauseKeyHeader}},
		{"access token: codes", 401, cause(`"401002"`, "x"), want{meaning: Halt, cause: CauseCredential}},
		{"access token: edge", 401, `{"code":"unauthorized","message":"invalid access token"}`, want{meaning: Halt, cause: CauseCredential}},
		{"access token: empty", 401, ``, want{meaning: Halt, cause: CauseCredential}},
		{"access token: within 200", 200, `{"status":"401","message":"no","cause":[{"code":5}]}`, want{meaning: Halt, cause: CauseCredential}},
		{"forbidden", 403, `{}`, want{meaning: Halt, cause: CauseAccount}},
		{"forbidden: empty", 403, ``, want{meaning: Halt, cause: CauseAccount}},
		{"not found: not the API's JSON", 404, `<html>404</html>`, want{meaning: Halt, cause: CauseAddress}},
		{
			"not found: no cause", 404, `{"message":"resource not found","error":"not_found","status":404,"cause":[]}`,
			want{meaning: Halt, cause: CauseAddress},
		},
		{"account: application", 400, cause(`400004`, "x"), want{meaning: Halt, cause: CauseAccount}},
		{"account: collector", 400, cause(`"400054"`, "x"), want{meaning: Halt, cause: CauseAccount}},
		{"account: before duplicate reference", 400, `{"cause":[{"code":400057},{"code":400005}]}`, want{meaning: Halt, cause: CauseAccount}},
		{"account: before bad request", 400, `{"cause":[{"code":400017},{"code":400005}]}`, want{meaning: Halt, cause: CauseAccount}},
		{"address: redirect", 301, approved, want{meaning: Halt, cause: CauseAddress}},
		{"address: see other", 303, ``, want{meaning: Halt, cause: CauseAddress}},
		{"address: method", 405, ``, want{meaning: Halt, cause: CauseAddress}},
		{"address: length", 411, ``, want{meaning: Halt, cause: CauseAddress}},
		{"address: media type", 415, ``, want{meaning: Halt, cause: CauseAddress}},
		{"address: not implemented", 501, ``, want{meaning: Halt, cause: CauseAddress}},
		{"address: version", 505, ``, want{meaning: Halt, cause: CauseAddress}},
		{"address: proxy", 407, `<html>`, want{meaning: Halt, cause: CauseProxy}},
		{"address: too large", 413, ``, want{meaning: Park, cause: CauseRequestTooLarge, park: event.ParkRefusedRequest}},
		{"address: address too long", 414, ``, want{meaning: Park, cause: CauseRequestTooLarge}},
		{"address: headers too large", 431, ``, want{meaning: Park, cause: CauseRequestTooLarge}},
		{"406", 406, cause(`406001`, "Error in the payments API"), want{meaning: Retry, cause: CauseServerError}},
		{"connection: timeout", 408, ``, want{meaning: Retry, cause: CauseServerError}},
		{"connection: too early", 425, ``, want{meaning: Retry, cause: CauseServerError}},
		{"connection: misdirected", 421, ``, want{meaning: Retry, cause: CauseServerError, park: event.ParkUndecided}},
		{"424", 424, ``, want{meaning: Retry, cause: CauseServerError}},
		{"rate limit", 429, `local_rate_limited`, want{meaning: Wait, cause: CauseRateLimit}},
		{"server error: 500", 500, cause(`"500000"`, "x"), want{meaning: Retry, cause: CauseServerError}},
		{"server error: 500 with the payer's code", 500, cause(`401003`, "Invalid payer token"), want{meaning: Retry, cause: CauseServerError}},
		{"server error: 503", 503, `<html>`, want{meaning: Retry, cause: CauseServerError}},
		{"server error: 599", 599, ``, want{meaning: Retry, cause: CauseServerError}},
		{"server error: no HTTP", 700, ``, want{meaning: Retry, cause: CauseServerError}},
		{"server error: approved under 502", 502, approved, want{meaning: Retry, cause: CauseServerError}},
		{"other 4xx", 418, ``, want{meaning: Park, cause: CauseRequest, park: event.ParkRefusedRequest}},
		{"other 4xx: gone", 410, ``, want{meaning: Park, cause: CauseRequest}},
		{"other 4xx: 404 of another cause", 404, cause(`404001`, "disbursement"), want{meaning: Park, cause: CauseRequest}},
	}
	seen := map[Cause]bool{CauseNone: true, CauseNotSent: true, CauseNoAnswer: true}
	for _, tt := range tests {
		seen[tt.want.cause] = true
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			check(t, judge(sampleRequest(t), tt.status, tt.body), tt.want)
		})
	}
	for c := CauseNone; c <= CauseNoAnswer; c++ {
		if !seen[c] {
			t.Errorf("cause %s has no case", c)
		}
	}
}

// TestReads covers the differences of an answer to a GET.
func TestReads(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		status int
		body   string
		want   want
	}{
		{"approved", 200, testdata(t, "approved"), want{meaning: Captured, cause: CauseApproved}},
		{"rejected", 200, testdata(t, "rejected_card"), want{meaning: Rejected, cause: CauseDeclined, reason: "cc_rejected_other_reason"}},
		{"still in process", 200, testdata(t, "in_process"), want{meaning: Poll, cause: CauseInProcess}},
		{"another's", 200, mustReplace(t, testdata(t, "approved"), "Pago_123", "Pago_124"), want{meaning: Park, cause: CauseContradiction}},
		{"the documented sample", 200, testdata(t, "get_sample"), want{meaning: Park, cause: CauseUnknownStatus}},
		{"payer token", 401, testdata(t, "error_invalid_payer_token"), want{meaning: Poll, cause: CausePayer}},
		{"payer", 404, cause(`404003`, "x"), want{meaning: Poll, cause: CausePayer}},
		{"not found yet", 404, testdata(t, "error_payment_not_found"), want{meaning: Poll, cause: CauseRequest, park: event.ParkUndecided}},
		{"not found, not the API's JSON", 404, `<html>`, want{meaning: Poll, cause: CauseRequest, park: event.ParkUndecided}},
		{"bad request", 400, testdata(t, "error_invalid_splitter"), want{meaning: Poll, cause: CauseRequest, park: event.ParkUndecided}},
		{"key", 422, ``, want{meaning: Poll, cause: CauseKeyUsed, park: event.ParkUndecided}},
		{"access token", 401, ``, want{meaning: Halt, cause: CauseCredential}},
		{"whitelist", 404, testdata(t, "error_client_not_whitelisted"), want{meaning: Halt, cause: CauseAccount}},
		{"rate", 429, ``, want{meaning: Wait, cause: CauseRateLimit}},
		{"server", 500, ``, want{meaning: Retry, cause: CauseServerError}},
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
	if (Answer{Meaning: Retry, Cause: CauseNotSent}).EffectUnknown() {
		t.Error("what was not sent has no effect")
	}
	if half := (Answer{Meaning: Retry, Cause: CauseNoAnswer, HTTPStatus: 429, Sent: true}); !half.EffectUnknown() {
		t.Error("half an answer decides nothing, whatever its status")
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

// TestCauseString checks that each cause has a name of its own.
func TestCauseString(t *testing.T) {
	t.Parallel()
	names := make(map[string]Cause)
	for c := CauseNone; c <= CauseNoAnswer; c++ {
		name := c.String()
		if other, taken := names[name]; taken || name == "" {
			t.Errorf("causes %d and %d are both named %q", other, c, name)
		}
		names[name] = c
	}
	if got := (CauseNoAnswer + 1).String(); got != "cause(23)" {
		t.Errorf("got %s for a cause that does not exist", got)
	}
}
