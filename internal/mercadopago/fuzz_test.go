package mercadopago

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzDecide checks that no answer is captured without an approved payment of exactly
// the amount, or rejected if money may have moved.
// The oracle reads the body with another library.
func FuzzDecide(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, status := range []int{200, 201, 400, 401, 402, 404, 409, 500} {
			f.Add(status, false, raw)
		}
		f.Add(200, true, raw)
	}
	approved := testdata(f, "approved")
	for _, raw := range hostileAnswers(f, approved) {
		f.Add(201, false, []byte(raw))
	}
	f.Fuzz(checkDecision)
}

// FuzzDecidePayment varies the members of a payment that decide, which changes to the
// whole text seldom reach.
func FuzzDecidePayment(f *testing.F) {
	const approved, amount, reference = `"approved"`, `700.50`, `"Pago_123"`
	for _, odd := range []string{
		`null`, `""`, `0`, `-0`, `-700.50`, `7.005e2`, `"700.50"`, `700.5000000000001`, `1e400`, `true`, `[]`, `{}`, `"rejected"`,
		`"in_process"`, `"Approved"`,
		`"approved\u0000"`, `"401"`, `"\ud800"`, `"Pago_124"`, `"../1"`, `50`, `650.50`, `"MLC"`, `1,"status":"rejected"`,
		`1},{"status":"approved"`,
	} {
		f.Add(201, odd, approved, amount, reference, `0`, approved, amount, reference, `"MLM"`)
		f.Add(201, `1`, odd, amount, reference, `0`, approved, amount, reference, `"MLM"`)
		f.Add(200, `1`, approved, odd, reference, `0`, approved, amount, reference, `"MLM"`)
		f.Add(201, `1`, approved, amount, odd, `0`, approved, amount, reference, `"MLM"`)
		f.Add(201, `1`, approved, amount, reference, odd, approved, `650.50`, reference, `"MLM"`)
		f.Add(201, `1`, approved, amount, reference, `0`, odd, amount, reference, `"MLM"`)
		f.Add(201, `1`, approved, amount, reference, `50`, approved, odd, reference, `"MLM"`)
		f.Add(201, `1`, approved, amount, reference, `0`, approved, amount, odd, `"MLM"`)
		f.Add(201, `1`, `"rejected"`, amount, reference, `0`, odd, amount, reference, odd)
	}
	f.Fuzz(func(t *testing.T, status int, id, word, amount, reference, discount, child, part, partReference, site string) {
		checkDecision(t, status, false, fmt.Appendf(nil,
			`{"id":%s,"status":%s,"wallet_payment":{"transaction_amount":%s,"external_reference":%s,"discount":{"amount":%s}},`+
				`"payments":[{"id":7,"status":%s,"status_detail":"x","transaction_amount":%s,"external_reference":%s}],"site_id":%s}`,
			id, word, amount, reference, discount, child, part, partReference, site))
	})
}

// checkDecision checks what FuzzDecide promises.
func checkDecision(t *testing.T, status int, read bool, raw []byte) { //nolint:thelper // it is the fuzz test's body
	r := sampleRequest(t)
	decided := judge
	if read {
		decided = judgeRead
	}
	a := decided(r, status, string(raw))
	checkSound(t, a)
	if again := decided(r, status, string(raw)); again.Meaning != a.Meaning || again.Cause != a.Cause || again.Detail != a.Detail {
		t.Errorf("one answer means two things: %+v, %+v", a, again)
	}
	var o map[string]any // a struct would take "Status" for status
	numbers := json.NewDecoder(bytes.NewReader(raw))
	numbers.UseNumber()
	parsed := json.Valid(raw) && numbers.Decode(&o) == nil
	if a.Meaning == Captured {
		if !parsed || (status != 200 && status != 201) || o["status"] != "approved" {
			t.Errorf("captured: HTTP %d %q", status, raw)
		}
		sum := new(big.Rat)
		for _, tx := range a.Payment.Transactions {
			if tx.Status != "approved" {
				continue
			}
			if part, ok := new(big.Rat).SetString(tx.Amount); ok {
				sum.Add(sum, part)
			}
		}
		due, _ := new(big.Rat).SetString(r.Amount.String())
		due.Sub(due, discountOf(raw))
		checkOurs(t, a, o, r)
		if len(a.Payment.Transactions) < maxTransactions && (sum.Cmp(due) != 0 || sum.Sign() <= 0) {
			t.Errorf("captured %s of %s: %q", sum, due, raw)
		}
	}
	if a.Meaning == Rejected {
		if !parsed || status >= 500 || status == 409 || status == 422 || (status >= 300 && status <= 399) {
			t.Errorf("rejected: HTTP %d %q", status, raw)
		}
		for _, tx := range transactions(a) {
			if tx != "rejected" && tx != "cancelled" && tx != "canceled" && tx != "" {
				t.Errorf("rejected with a payment that is %q: %q", tx, raw)
			}
		}
		if o["status"] == "approved" || (a.Cause != CauseDeclined && hasObject(o["payments"])) {
			t.Errorf("rejected beside a payment: %q", raw)
		}
	}
}

// hostileAnswers returns approvals that are not ours, or not believable.
func hostileAnswers(f *testing.F, approved string) []string {
	f.Helper()
	return []string{
		mustReplace(f, approved, `"Pago_123"`, `"Pago_124"`),
		mustReplace(f, approved, `"Pago_123"`, `["Pago_123"]`),
		mustReplace(f, approved, `700.50`, `700.51`),
		mustReplace(f, approved, `700.50`, `7.005e2`),
		mustReplace(f, approved, `700.50`, `"700.50"`),
		mustReplace(f, approved, `700.50`, `-700.50`),
		mustReplace(f, approved, `700.50`, `null`),
		mustReplace(f, approved, `10458724`, `null`),
		mustReplace(f, approved, `10458724`, `"../10458724"`),
		mustReplace(f, approved, `10458724`, `1.0458724e7`),
		mustReplace(f, approved, `"MLM"`, `"MLC"`),
		mustReplace(f, approved, `"status":"approved","wallet`, `"status":"approved","status":"rejected","wallet`),
		mustReplace(f, approved, `"status":"approved","wallet`, `"STATUS":"rejected","status":"approved","wallet`),
		mustReplace(f, approved, `"site_id"`, `"external_reference":"Pago_9","site_id"`),
		mustReplace(f, approved, `"payments"`, `"Payments"`),
		"\ufeff" + approved, approved + approved, approved[:len(approved)-1], "[" + approved + "]", strings.ReplaceAll(approved, `"`, `'`),
		strings.Repeat(`{"payments":[`, 2000), `{"status":"approved","id":1,"payments":` + strings.Repeat("[", 20_000) + strings.Repeat("]",
			20_000) + `}`,
	}
}

// checkOurs checks that a captured answer has an id, and that every reference, amount
// and site in it is ours.
func checkOurs(t *testing.T, a Answer, o map[string]any, r Request) {
	t.Helper()
	text := func(v any) string {
		switch v := v.(type) {
		case nil:
			return ""
		case string:
			return v
		case json.Number:
			return v.String()
		}
		return "?"
	}
	id := text(o["id"])
	if id == "" || id == "?" || (a.Payment.ID != id && !shows(id, payerToken) && !shows(id, accessToken)) {
		t.Errorf("captured as payment %q of an answer with id %q", a.Payment.ID, id)
	}
	objects := []any{o, o["wallet_payment"], o["payments"]}
	if list, ok := o["payments"].([]any); ok {
		objects = append(objects, list...)
	}
	for _, object := range objects {
		members, ok := object.(map[string]any)
		if !ok {
			continue
		}
		if reference := text(members["external_reference"]); reference != "" && reference != r.ExternalReference {
			t.Errorf("captured with the reference %q", reference)
		}
		if site := text(members["site_id"]); site != "" && site != "MLM" && members["wallet_payment"] != nil {
			t.Errorf("captured on the site %q", site)
		}
	}
	if wallet, ok := o["wallet_payment"].(map[string]any); ok && text(wallet["transaction_amount"]) != "" {
		got, ok := new(big.Rat).SetString(text(wallet["transaction_amount"]))
		want, _ := new(big.Rat).SetString(r.Amount.String())
		if !ok || got.Cmp(want) != 0 {
			t.Errorf("captured %v of %s", wallet["transaction_amount"], r.Amount)
		}
	}
}

func transactions(a Answer) []string {
	var statuses []string
	if a.Payment != nil {
		for _, tx := range a.Payment.Transactions {
			statuses = append(statuses, tx.Status)
		}
	}
	return statuses
}

func hasObject(payments any) bool {
	switch v := payments.(type) {
	case map[string]any:
		return true
	case []any:
		for _, element := range v {
			if _, ok := element.(map[string]any); ok {
				return true
			}
		}
	}
	return false
}

// discountOf returns wallet_payment.discount.amount of a captured body, which has the
// shape of a payment.
func discountOf(raw []byte) *big.Rat {
	level := raw
	for _, name := range []string{"wallet_payment", "discount", "amount"} {
		var members map[string]json.RawMessage
		if json.Unmarshal(level, &members) != nil || members[name] == nil {
			return new(big.Rat)
		}
		level = members[name]
	}
	text := string(level)
	var quoted string
	if json.Unmarshal(level, &quoted) == nil {
		text = quoted
	}
	amount, ok := new(big.Rat).SetString(text)
	if !ok {
		return new(big.Rat)
	}
	return amount
}
