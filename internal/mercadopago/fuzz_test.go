package mercadopago

import (
	"encoding/json"
	"math/big"
	"os"
	"path/filepath"
	"testing"
)

// FuzzDecide holds every answer to what must never be: captured without an
// approved payment of exactly the amount, rejected where money may have moved.
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
			f.Add(status, raw)
		}
	}
	f.Fuzz(func(t *testing.T, status int, raw []byte) {
		r := sampleRequest(t)
		a := judge(r, status, string(raw))
		checkSound(t, a)
		var o map[string]any // a struct would take "Status" for status
		parsed := json.Unmarshal(raw, &o) == nil
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
			if o["status"] == "approved" || (a.Row >= 13 && hasObject(o["payments"])) {
				t.Errorf("rejected beside a payment: %q", raw)
			}
		}
	})
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

// discountOf reads wallet_payment.discount.amount of a body that was captured,
// hence of the shape that was judged.
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
