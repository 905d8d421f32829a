package mercadopago

import (
	"strings"
	"testing"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// TestEcho covers the approvals and rejections that are trusted, or not, by their
// echo of the request and by their children.
func TestEcho(t *testing.T) {
	t.Parallel()
	approved, discount := testdata(t, "approved"), testdata(t, "approved_discount")
	rejected := testdata(t, "rejected_card")
	children := func(list string) string {
		return `{"id":1,"status":"approved","wallet_payment":{"transaction_amount":700.50},"payments":` + list + `}`
	}
	captured := want{meaning: Captured, cause: CauseApproved}
	parked := want{meaning: Park, cause: CauseContradiction, park: event.ParkContradictory}
	declined := want{meaning: Rejected, cause: CauseDeclined, reason: "cc_rejected_other_reason"}
	tests := []struct {
		name, amount, currency, body string
		want                         want
	}{
		{"amount", "700.51", "MXN", approved, parked},
		{"amount by a cent, of the child alone", "700.50", "MXN", mustReplace(t, approved, `"transaction_amount":700.50,"installments"`,
			`"transaction_amount":700.49,"installments"`), parked},
		{"amount as text", "700.50", "MXN", mustReplace(t, approved, `700.50`, `"700.5"`), captured},
		{"amount with an exponent", "700.50", "MXN", mustReplace(t, approved, `700.50`, `7.005e2`), captured},
		{"amount with a float's noise", "700.50", "MXN", mustReplace(t, approved, `700.50`, `700.5000000000001`), parked},
		{"amount is an object", "700.50", "MXN", mustReplace(t, approved, `{"transaction_amount":700.50`, `{"transaction_amount":{}`), parked},
		{"whole pesos with decimals", "700", "COP", mustReplace(t, mustReplace(t, approved, `700.50`, `700.00`), `MLM`, `MCO`), captured},
		{"reference in the wallet", "700.50", "MXN", mustReplace(t, approved, `"external_reference":"Pago_123"},`,
			`"external_reference":"Pago_9"},`), parked},
		{"reference in the child", "700.50", "MXN", mustReplace(t, approved, `"external_reference":"Pago_123"}]`,
			`"external_reference":"pago_123"}]`), parked},
		{
			"reference at the top", "700.50", "MXN", mustReplace(t, approved, `{"id":10458724,`, `{"id":10458724,"external_reference":"x",`),
			parked,
		},
		{"reference null", "700.50", "MXN", mustReplace(t, approved, `"Pago_123"`, `null`), captured},
		{"reference is a list", "700.50", "MXN", mustReplace(t, approved, `"Pago_123"`, `[]`), parked},
		{"site", "700.50", "MXN", mustReplace(t, approved, `"MLM"`, `"MLB"`), parked},
		{"site null", "700.50", "MXN", mustReplace(t, approved, `"MLM"`, `null`), captured},
		{"site of another currency", "700.50", "BRL", approved, parked},
		{"no id", "700.50", "MXN", mustReplace(t, approved, `"id":10458724,`, ``), parked},
		{"id is text", "700.50", "MXN", mustReplace(t, approved, `10458724`, `"10458724"`), captured},
		{"id is no id", "700.50", "MXN", mustReplace(t, approved, `10458724`, `"../refunds"`), parked},
		{"error beside", "700.50", "MXN", mustReplace(t, approved, `{"id":10458724,`, `{"id":10458724,"error":"internal",`), parked},
		{"error null beside", "700.50", "MXN", mustReplace(t, approved, `{"id":10458724,`,
			`{"id":10458724,"error":null,"cause":[ ],"message":"ok",`), captured},
		{"no children", "700.50", "MXN", children(`null`), parked},
		{"child rejected", "700.50", "MXN", children(`[{"status":"rejected","transaction_amount":700.50}]`), parked},
		{"child without a status", "700.50", "MXN", children(`[{"transaction_amount":700.50}]`), parked},
		{"child without an amount", "700.50", "MXN", children(`[{"status":"approved"}]`), parked},
		{"one object", "700.50", "MXN", children(`{"status":"approved","transaction_amount":700.50}`), captured},
		{"two that sum up", "700.50", "MXN", children(`[{"status":"approved","transaction_amount":700},{"status":"approved","transaction_amount":0.5}]`), captured},
		{"two of the whole", "700.50", "MXN", children(`[{"status":"approved","transaction_amount":700.5},{"status":"approved","transaction_amount":700.5}]`), parked},
		{
			"account money, then card", "700.50", "MXN",
			children(`[{"id":null,"status":"rejected","status_detail":"insufficient_money","transaction_amount":700.5},{"id":2,"status":"approved","transaction_amount":700.5}]`), captured,
		},
		{
			"one without an amount beside", "700.50", "MXN", children(`[{"status":"approved","transaction_amount":700.5},{"status":"approved"}]`),
			parked,
		},
		{"one in process beside", "700.50", "MXN", children(`[{"status":"approved","transaction_amount":700.5},{"status":"in_process","transaction_amount":1}]`), parked},
		{"negative part", "700.50", "MXN", children(`[{"status":"approved","transaction_amount":800.5},{"status":"approved","transaction_amount":-100}]`), parked},
		{"null child beside", "700.50", "MXN", children(`[null,{"status":"approved","transaction_amount":700.5}]`), captured},
		{"no wallet", "700.50", "MXN", mustReplace(t, children(`[{"status":"approved","transaction_amount":700.5}]`),
			`{"transaction_amount":700.50}`, `null`), captured},
		{"discount", "550", "MXN", discount, captured},
		{"discount not taken off", "550", "MXN", mustReplace(t, discount, `"transaction_amount":500`, `"transaction_amount":550`), parked},
		{"discount of the whole", "550", "MXN", mustReplace(t, discount, `"discount":{"amount":50.0`, `"discount":{"amount":550`), parked},
		{"discount of the whole, nothing paid", "550", "MXN", mustReplace(t,
			mustReplace(t, discount, `"discount":{"amount":50.0`, `"discount":{"amount":550`), `"transaction_amount":500`,
			`"transaction_amount":0`), parked},
		{"discount negative", "550", "MXN", mustReplace(t, discount, `"discount":{"amount":50.0`, `"discount":{"amount":-50`), parked},
		{"discount negative, all paid", "550", "MXN", mustReplace(t,
			mustReplace(t, discount, `"discount":{"amount":50.0`, `"discount":{"amount":-50`), `"transaction_amount":500`,
			`"transaction_amount":550`), parked},
		{"discount of nothing", "700.50", "MXN", mustReplace(t, approved, `{"transaction_amount":700.50,`,
			`{"transaction_amount":700.50,"discount":{"amount":0.0},`), captured},
		{"rejected, child approved", "700.50", "MXN", mustReplace(t, rejected, `"status":"rejected","status_detail"`,
			`"status":"approved","status_detail"`), parked},
		{"rejected, child in process", "700.50", "MXN", mustReplace(t, rejected, `"status":"rejected","status_detail"`,
			`"status":"in_process","status_detail"`), parked},
		{"rejected, another amount", "700.49", "MXN", rejected, parked},
		{"rejected, another site", "700.50", "MXN", mustReplace(t, rejected, `"MLM"`, `"MLA"`), parked},
		{"rejected, id is text", "700.50", "MXN", mustReplace(t, rejected, `80458724`, `"ID"`), declined},
		{"rejected, unknown members", "700.50", "MXN", mustReplace(t, rejected, `{"id":80458724,`, `{"id":80458724,"new":[{"a":1}],`), declined},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := sampleRequest(t)
			r.Amount = amount(t, tt.amount, money.Currency(tt.currency))
			check(t, judge(r, 201, tt.body), tt.want)
		})
	}
}

// TestUnreadableShapes covers bodies that are JSON, but no answer.
func TestUnreadableShapes(t *testing.T) {
	t.Parallel()
	approved := testdata(t, "approved")
	for name, body := range map[string]string{
		"status twice":         mustReplace(t, approved, `{"id":10458724,`, `{"status":"rejected","id":10458724,`),
		"amount twice inside":  mustReplace(t, approved, `{"transaction_amount":700.50,`, `{"transaction_amount":1,"transaction_amount":700.50,`),
		"payments is text":     `{"id":1,"status":"rejected","payments":"none"}`,
		"payments of texts":    `{"id":1,"status":"rejected","payments":["none"]}`,
		"wallet is a list":     `{"id":1,"status":"rejected","wallet_payment":[]}`,
		"discount is a number": `{"id":1,"status":"rejected","wallet_payment":{"discount":5}}`,
		"too large":            mustReplace(t, approved, `{"id":10458724,`, `{"pad":"`+strings.Repeat("x", maxBody)+`","id":10458724,`),
		"an array":             `[` + approved + `]`,
		"typographic quotes":   mustReplace(t, approved, `"`, `”`),
		"trailing comma":       mustReplace(t, approved, `"binary_mode":true,`, `"binary_mode":true,,`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, judge(sampleRequest(t), 201, body), want{meaning: Retry, cause: CauseUnreadable})
		})
	}
	t.Run("no UTF-8 in a text", func(t *testing.T) {
		t.Parallel()
		check(t, judge(sampleRequest(t), 201, mustReplace(t, approved, "…", "\xff\xfe")), want{meaning: Captured, cause: CauseApproved})
	})
}

// TestCauses covers the forms of a cause.
func TestCauses(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"cause":[{"code":"401003"}]}`,
		`{"cause":[{"code":401003,"message":null,"description":null,"data":"x"}]}`,
		`{"cause":{"code":401003}}`,
		`{"cause":["Invalid payer token."]}`,
		`{"cause":"invalid payer token"}`,
		`{"cause":[401003]}`,
		`{"cause":[null,{"code":" 401003 "}]}`,
		`{"code":"401003","message":"x"}`,
		`{"errors":[{"code":"401003","message":"x","details":["y"]}]}`,
		`{"status":"401","cause":[{"description":"Invalid payer token"}]}`,
		`{"status":401,"message":"INVALID PAYER TOKEN"}`,
	} {
		check(t, judge(sampleRequest(t), 401, body), want{meaning: Rejected, cause: CausePayer, reason: "invalid_payer_token"})
	}
}
