package mercadopago

import (
	"fmt"
	"strings"
	"testing"
)

// part is one choice for a piece of an answer, and whether an answer with it
// can be captured, or rejected by its payment.
type part struct {
	json         string
	paid, denied bool
	minor        int64 // what an approved child adds
}

// TestEveryMixture combines every choice for every piece of an answer, and compares
// the result with the plain rule: captured if and only if all pieces say so, and
// never rejected beside a child that may hold money.
func TestEveryMixture(t *testing.T) {
	t.Parallel()
	statuses := []int{200, 201, 202, 400, 401, 402, 404, 409, 422, 429, 500, 503}
	tops := []part{
		{json: `"status":"approved",`, paid: true},
		{json: `"status":"rejected",`, denied: true},
		{json: `"status":"in_process",`},
		{json: `"status":"refunded",`},
		{json: `"status":"401",`},
		{json: ``},
	}
	children := []part{
		{json: `{"id":1,"status":"approved","transaction_amount":700.50}`, paid: true, minor: 70050},
		{json: `{"id":1,"status":"approved","transaction_amount":"350.25"}`, paid: true, minor: 35025},
		{json: `{"id":null,"status":"rejected","status_detail":"insufficient_money","transaction_amount":700.50}`, paid: true, denied: true},
		{json: `{"id":1,"status":"in_process","transaction_amount":700.50}`},
		{json: `{"id":1,"transaction_amount":700.50}`, denied: true},
	}
	var lists [][]part
	lists = append(lists, nil)
	for _, a := range children {
		lists = append(lists, []part{a})
		for _, b := range children {
			lists = append(lists, []part{a, b})
		}
	}
	wallets := []part{
		{json: `"wallet_payment":{"transaction_amount":700.5,"external_reference":"Pago_123"},`, paid: true, denied: true},
		{json: `"wallet_payment":{"transaction_amount":700.49},`},
		{json: `"wallet_payment":{"external_reference":"Pago_1"},`},
		{json: `"wallet_payment":null,`, paid: true, denied: true},
	}
	problems := []part{
		{json: `"error":null,"cause":[]`, paid: true, denied: true},
		{json: `"error":"unauthorized","cause":[{"code":"401003"}]`},
	}
	x := exchange{request: sampleRequest(t), scrub: newScrubber(accessToken, payerToken)}
	n := 0
	for _, status := range statuses {
		for _, top := range tops {
			for _, list := range lists {
				for _, wallet := range wallets {
					for _, problem := range problems {
						n++
						x.status = status
						checkMixture(t, x, top, list, wallet, problem)
					}
				}
			}
		}
	}
	t.Logf("%d mixtures", n)
}

func checkMixture(t *testing.T, x exchange, top part, list []part, wallet, problem part) {
	t.Helper()
	status := x.status
	var texts []string
	paid := (status == 200 || status == 201) && top.paid && wallet.paid && problem.paid
	denied := (status == 200 || status == 201 || status == 402) && top.denied && wallet.denied && problem.denied
	safe := true // no child may hold money
	var sum int64
	for _, c := range list {
		texts = append(texts, c.json)
		sum += c.minor
		paid = paid && c.paid
		safe = safe && c.denied
	}
	paid = paid && sum == 70050
	body := fmt.Sprintf(`{"id":10458724,%s"payments":[%s],%s%s}`, top.json, strings.Join(texts, ","), wallet.json, problem.json)
	x.raw, x.body = []byte(body), parseBody([]byte(body))
	a := decide(x)
	if (a.Meaning == Captured) != paid {
		t.Errorf("HTTP %d %s\ngot %s (%s), captured should be %t", status, body, a.Meaning, a.Cause, paid)
	}
	// Rejected by the payment, or by the refused payer token and nothing beside it.
	cancelled := !problem.paid && len(list) == 0 &&
		((status == 401 && (top.json == `` || strings.Contains(top.json, "401"))) ||
			(status < 300 && strings.Contains(top.json, "401")))
	if (a.Meaning == Rejected) != (denied && safe || cancelled) {
		t.Errorf("HTTP %d %s\ngot %s (%s), rejected should be %t", status, body, a.Meaning, a.Cause, denied && safe || cancelled)
	}
	if status >= 500 && (a.Meaning != Retry || !a.EffectUnknown()) {
		t.Errorf("HTTP %d %s\ngot %s", status, body, a.Meaning)
	}
}
