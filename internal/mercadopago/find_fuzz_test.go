package mercadopago

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"strconv"
	"testing"
)

// take returns how the client's own code reads one answer to a search.
func take(tb testing.TB, status int, raw []byte) Found {
	tb.Helper()
	r := sampleRequest(tb)
	f := finder{request: r, since: sampleDay, places: make(map[identifier]int)}
	x := exchange{
		status: status, read: true, raw: raw, body: parseBody(raw), request: r, scrub: newScrubber(accessToken, payerToken),
	}
	var l listing
	more := f.take(query{name: "payments"}, &l, x)
	if l.whole {
		for _, result := range l.results {
			f.keep(result)
		}
	}
	f.found.Searched = l.whole && f.found.Failed == nil
	if n := len(f.found.Refused); l.whole && (more || n != 0) || more && (n != 0 || f.found.Failed != nil) {
		tb.Errorf("whole %t, more %t: %+v", l.whole, more, f.found)
	}
	return f.found
}

// FuzzFind checks that Find never finds a payment under another reference, or
// captured for another amount, or none if there are some. The oracle reads the page
// with another library.
func FuzzFind(f *testing.F) {
	sample, approved := testdata(f, "search"), testdata(f, "approved")
	for _, seed := range []string{
		sample, noResults, approved, `null`, `{"paging":null,"results":null}`,
		pageOf(approved, mustReplace(f, approved, `10458724`, `"10458725"`)),
		pageOf(testdata(f, "rejected_card")), pageOf(testdata(f, "in_process")), pageOf(testdata(f, "get_sample")),
		pageOf(testdata(f, "approved_discount")), pageOf(mustReplace(f, approved, `Pago_123`, `Pago_1`)),
		pageFrom(0, 21, approved), pageFrom(20, 21, approved), testdata(f, "error_search_parameters"),
		mustReplace(f, sample, `"total":1`, `"total":"1"`),
	} {
		for _, status := range []int{200, 201, 400, 404, 429, 500} {
			f.Add(status, []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, status int, raw []byte) {
		found := take(t, status, raw)
		for _, a := range found.Payments {
			checkSound(t, a)
		}
		if found.Failed != nil {
			checkSound(t, *found.Failed)
		}
		if !found.Searched {
			if len(found.Payments) != 0 {
				t.Errorf("found on a page that was not read: HTTP %d %q", status, raw)
			}
			return
		}
		results := resultsOf(raw)
		if status != 200 || results == nil {
			t.Fatalf("read: HTTP %d %q", status, raw)
		}
		for _, result := range results {
			checkResult(t, result, found)
		}
	})
}

// resultsOf returns the results of a page that has all of them, or nil.
func resultsOf(raw []byte) []map[string]any {
	var page map[string]any // a struct would take "Results" for results
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&page); err != nil {
		return nil
	}
	paging, _ := page["paging"].(map[string]any)
	list, ok := page["results"].([]any)
	if total, err := strconv.Atoi(fmt.Sprint(paging["total"])); !ok || err != nil || total != len(list) {
		return nil
	}
	results := make([]map[string]any, 0, len(list))
	for _, element := range list {
		result, ok := element.(map[string]any)
		if !ok {
			return nil
		}
		results = append(results, result)
	}
	return results
}

// checkResult compares one result of a page with the payment that was found.
func checkResult(t *testing.T, result map[string]any, found Found) {
	t.Helper()
	references := maps.Collect(func(yield func(string, bool) bool) {
		wallet, _ := result["wallet_payment"].(map[string]any)
		for _, owner := range append([]map[string]any{result, wallet}, children(result)...) {
			if text := fmt.Sprint(owner["external_reference"]); owner["external_reference"] != nil && !yield(text, true) {
				return
			}
		}
	})
	ours := references["Pago_123"]
	for _, a := range found.Payments {
		if a.Payment.ID != fmt.Sprint(result["id"]) {
			continue
		}
		decided := a.Meaning == Captured || a.Meaning == Rejected || a.Meaning == Poll
		if decided && (!ours || len(references) != 1) {
			t.Errorf("%s under %v", a.Meaning, references)
		}
		if a.Meaning == Captured {
			checkPaid(t, result)
		}
		if a.Meaning == Rejected && result["status"] != "rejected" {
			t.Errorf("rejected: %v", result)
		}
		return
	}
	// Not among them: another's, or too old.
	if ours && result["date_created"] == nil {
		t.Errorf("not found: %v", result)
	}
}

// checkPaid checks the amount of a captured payment.
func checkPaid(t *testing.T, result map[string]any) {
	t.Helper()
	sum := new(big.Rat)
	for _, c := range children(result) {
		part, ok := new(big.Rat).SetString(fmt.Sprint(c["transaction_amount"]))
		if c["status"] == "approved" && ok {
			sum.Add(sum, part)
		}
	}
	raw, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	due := new(big.Rat).Sub(big.NewRat(70050, 100), discountOf(raw))
	if result["status"] != "approved" || sum.Cmp(due) != 0 || sum.Sign() <= 0 {
		t.Errorf("captured %s of %s: %s", sum, due, raw)
	}
}

func children(result map[string]any) []map[string]any {
	list, ok := result["payments"].([]any)
	if !ok {
		list = []any{result["payments"]}
	}
	var out []map[string]any
	for _, element := range list {
		if c, ok := element.(map[string]any); ok {
			out = append(out, c)
		}
	}
	return out
}
