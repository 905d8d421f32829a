package mercadopago

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/event"
)

// TestInconsistentPages covers pages that would hide a charge if they were mistaken
// for an empty page or the last one.
func TestInconsistentPages(t *testing.T) {
	t.Parallel()
	approved := testdata(t, "approved")
	results := func(list string) string {
		return `{"paging":{"total":0,"limit":20,"offset":0},"results":` + list + `}`
	}
	paging := func(object string) string { return `{"paging":` + object + `,"results":[]}` }
	for name, body := range map[string]string{
		"empty":                     ``,
		"null":                      `null`,
		"an array":                  `[` + approved + `]`,
		"an object without":         `{}`,
		"cut off":                   testdata(t, "search")[:200],
		"HTML":                      `<html>welcome</html>`,
		"a payment":                 approved,
		"results missing":           `{"paging":{"total":0,"limit":20,"offset":0}}`,
		"results null":              results(`null`),
		"results is an object":      results(`{}`),
		"results is text":           results(`"none"`),
		"results is a payment":      `{"paging":{"total":1,"limit":20,"offset":0},"results":` + approved + `}`,
		"results twice":             `{"paging":{"total":0,"limit":20,"offset":0},"results":[],"results":[` + approved + `]}`,
		"paging missing":            `{"results":[]}`,
		"paging null":               paging(`null`),
		"paging is a list":          paging(`[]`),
		"no total":                  paging(`{"limit":20,"offset":0}`),
		"total null":                paging(`{"total":null,"offset":0}`),
		"total negative":            paging(`{"total":-1,"offset":0}`),
		"total is a fraction":       paging(`{"total":0.5,"offset":0}`),
		"total beyond numbers":      paging(`{"total":99999999999999999999,"offset":0}`),
		"total twice":               paging(`{"total":0,"total":1,"offset":0}`),
		"no offset":                 paging(`{"total":0,"limit":20}`),
		"another offset":            paging(`{"total":1,"limit":20,"offset":1}`),
		"fewer than promised":       paging(`{"total":1,"limit":20,"offset":0}`),
		"more than promised":        results(`[` + approved + `]`),
		"a result is null":          pageOf(`null`),
		"a result is text":          pageOf(`"10458724"`),
		"a result is a list":        pageOf(`[]`),
		"a result is empty":         pageOf(`{}`),
		"a result without an id":    pageOf(mustReplace(t, approved, `"id":10458724,`, ``)),
		"a result with an odd id":   pageOf(mustReplace(t, approved, `10458724`, `"../refunds"`)),
		"a result is an error":      pageOf(`{"id":1,"status":"404","error":"not_found"}`),
		"a result has odd payments": pageOf(`{"id":1,"status":"rejected","payments":"none"}`),
		"a member twice in one":     pageOf(mustReplace(t, approved, `{"id"`, `{"status":"rejected","id"`)),
		"one payment twice":         pageOf(approved, approved),
		"an error beside":           `{"error":"x","paging":{"total":0,"limit":20,"offset":0},"results":[]}`,
		"an error, and payments":    `{"error":"x","payments":[{"id":1}],"paging":{"total":0,"limit":20,"offset":0},"results":[]}`,
		"a numeric status beside":   `{"status":500,"paging":{"total":0,"limit":20,"offset":0},"results":[]}`,
		"too large":                 `{"pad":"` + strings.Repeat("x", maxBody) + `","paging":{"total":0,"limit":20,"offset":0},"results":[]}`,
		"a token in the place":      pageOf(`{"id":"` + accessToken[:64] + `","status":"404"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := searches(t, func(string, url.Values) (int, string) { return 200, body })
			found := c.Find(t.Context(), sampleRequest(t), sampleDay)
			checkFound(t, found)
			if found.Failed == nil || found.Failed.Meaning != Retry || len(found.Payments) != 0 || found.Calls != 1 {
				t.Fatalf("got %+v", found)
			}
			if a := found.Failed; a.HTTPStatus != 200 || a.RequestID != "req-1" || a.RetryAfter != 3*time.Second ||
				a.ParkReason != event.ParkUndecided || strings.Contains(a.Detail, "over") != (name == "too large") {
				t.Errorf("got %+v", *a)
			}
		})
	}
	for _, status := range []int{201, 202, 204, 206} {
		c := searches(t, func(string, url.Values) (int, string) { return status, testdata(t, "search") })
		found := c.Find(t.Context(), sampleRequest(t), sampleDay)
		checkFound(t, found)
		if found.Failed == nil || found.Failed.Meaning != Retry {
			t.Errorf("HTTP %d: got %+v", status, found)
		}
	}
}

// numbered returns approved payments under our reference, with ids of their own.
func numbered(t *testing.T, from, to int) []string {
	t.Helper()
	var results []string
	for i := from; i < to; i++ {
		results = append(results, mustReplace(t, testdata(t, "approved"), `10458724`, strconv.Itoa(20_000_000+i)))
	}
	return results
}

// TestInconsistentLaterPages covers faults that show on a later page.
func TestInconsistentLaterPages(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		page  func(offset int) string
		calls int
		want  Meaning
	}{
		"the same page again": {func(int) string { return pageFrom(0, 40, numbered(t, 0, 20)...) }, 2, Retry},
		"the same results again": {func(offset int) string {
			return pageFrom(offset, 40, numbered(t, 0, 20)...)
		}, 2, Retry},
		"one of them again": {func(offset int) string {
			return pageFrom(offset, 40, numbered(t, max(offset-1, 0), max(offset-1, 0)+20)...)
		}, 2, Retry},
		"more meanwhile": {func(offset int) string {
			return pageFrom(offset, 40+offset/20, numbered(t, offset, offset+20)...)
		}, 2, Retry},
		"fewer meanwhile": {func(offset int) string {
			return pageFrom(offset, 40-offset, numbered(t, offset, min(offset+20, 20))...)
		}, 2, Retry},
		"an empty page": {func(offset int) string {
			return pageFrom(offset, 40, numbered(t, offset, min(offset+20, 20))...)
		}, 2, Retry},
		"results over the total": {func(offset int) string {
			return pageFrom(offset, 30, numbered(t, offset, offset+20)...)
		}, 2, Retry},
		"one at a time": {func(offset int) string {
			return pageFrom(offset, 100, numbered(t, offset, offset+1)...)
		}, maxPages, Park},
		"too many": {func(offset int) string {
			return pageFrom(offset, 101, numbered(t, offset, offset+20)...)
		}, 1, Park},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := searches(t, func(_ string, q url.Values) (int, string) {
				offset, err := strconv.Atoi(q.Get("offset"))
				if err != nil {
					t.Error(err)
				}
				return 200, tt.page(offset)
			})
			found := c.Find(t.Context(), sampleRequest(t), sampleDay)
			checkFound(t, found)
			if found.Failed == nil || found.Failed.Meaning != tt.want || len(found.Payments) != 0 || found.Calls != tt.calls {
				t.Errorf("got %+v", found)
			}
			if found.Failed != nil && found.Failed.ParkReason != event.ParkUndecided {
				t.Errorf("got %+v", *found.Failed)
			}
		})
	}
}

// TestPagesOfAnySize covers pages that are smaller than requested, and one with all
// results.
func TestPagesOfAnySize(t *testing.T) {
	t.Parallel()
	for size, calls := range map[int]int{10: 5, 20: 3, 50: 1} {
		c := searches(t, func(_ string, q url.Values) (int, string) {
			offset, err := strconv.Atoi(q.Get("offset"))
			if err != nil {
				t.Error(err)
			}
			return 200, pageFrom(offset, 50, numbered(t, offset, min(offset+size, 50))...)
		})
		found := c.Find(t.Context(), sampleRequest(t), sampleDay)
		checkFound(t, found)
		if len(found.Payments) != 50 || !found.Searched || found.Calls != 2*calls {
			t.Errorf("by %d: got %d payments by %d calls, %+v", size, len(found.Payments), found.Calls, found.Failed)
		}
	}
}

// TestFilterThatIsIgnored covers an API that returns all payments. On one page they
// are all there, and none is ours; on many, the search is useless.
func TestFilterThatIsIgnored(t *testing.T) {
	t.Parallel()
	ours := testdata(t, "approved")
	var others []string
	for _, one := range numbered(t, 0, 20) {
		others = append(others, mustReplace(t, one, "Pago_123", "Pago_456"))
	}
	for name, tt := range map[string]struct {
		first, second  string
		payments       int
		refused, calls int
		searched       bool
	}{
		"one page":                      {pageOf(others...), pageOf(others[3:]...), 0, 0, 3, true},
		"one page, ours in it":          {pageOf(append(others[1:], ours)...), noResults, 1, 0, 2, true},
		"many pages":                    {pageFrom(0, 5000, others...), pageFrom(0, 5000, others...), 0, 2, 3, false},
		"many pages, ours on the first": {pageFrom(0, 5000, append(others[1:], ours)...), pageFrom(0, 5000, others...), 0, 2, 3, false},
		"many pages, the other search":  {pageFrom(0, 5000, others...), pageOf(ours), 1, 1, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := searches(t, func(path string, q url.Values) (int, string) {
				switch {
				case path == "/v1/payments/search":
					return 200, noResults
				case q.Has("external_reference"):
					return 200, tt.first
				}
				return 200, tt.second
			})
			found := c.Find(t.Context(), sampleRequest(t), sampleDay)
			checkFound(t, found)
			if len(found.Payments) != tt.payments || len(found.Refused) != tt.refused || found.Calls != tt.calls ||
				found.Searched != tt.searched || found.Failed != nil {
				t.Errorf("got %+v", found)
			}
		})
	}
}

// TestErrorsToASearch covers errors instead of a page.
func TestErrorsToASearch(t *testing.T) {
	t.Parallel()
	refused := want{} // not offered
	for name, tt := range map[string]struct {
		status int
		body   string
		want   want
	}{
		"parameters, documented":   {400, testdata(t, "error_search_parameters"), refused},
		"parameters, by code":      {400, `{"status":400,"cause":[{"code":400047}]}`, refused},
		"taken for a payment's id": {400, testdata(t, "error_invalid_splitter"), refused},
		"parameters, HTTP 200":     {200, testdata(t, "error_search_parameters"), refused},
		"no such payment":          {404, testdata(t, "error_payment_not_found"), refused},
		"method not allowed":       {405, ``, refused},
		"not implemented":          {501, ``, refused},
		"not found, a proxy's":     {404, `<html>not found</html>`, want{meaning: Retry, cause: CauseRequest}},
		"not found, empty":         {404, ``, want{meaning: Retry, cause: CauseRequest}},
		"not enabled":              {404, testdata(t, "error_client_not_whitelisted"), want{meaning: Halt, cause: CauseAccount}},
		"application, and parameters": {
			400, `{"status":400,"cause":[{"code":400047},{"code":400004}]}`,
			want{meaning: Halt, cause: CauseAccount},
		},
		"dates":                        {400, `{"status":400,"cause":[{"code":400041}]}`, want{meaning: Retry, cause: CauseRequest}},
		"bad request":                  {400, ``, want{meaning: Retry, cause: CauseRequest}},
		"access token":                 {401, testdata(t, "host_no_access_token"), want{meaning: Halt, cause: CauseCredential}},
		"access token, HTTP 200":       {200, testdata(t, "host_no_access_token"), want{meaning: Halt, cause: CauseCredential}},
		"payer token":                  {401, testdata(t, "error_invalid_payer_token"), want{meaning: Retry, cause: CausePayer}},
		"policy":                       {403, testdata(t, "host_policy_agent"), want{meaning: Halt, cause: CauseAccount}},
		"forbidden, empty":             {403, ``, want{meaning: Halt, cause: CauseAccount}},
		"redirect":                     {302, ``, want{meaning: Halt, cause: CauseAddress}},
		"rate limit":                   {429, `local_rate_limited`, want{meaning: Wait, cause: CauseRateLimit}},
		"locked":                       {423, ``, want{meaning: Wait, cause: CauseKeyBusy}},
		"conflict":                     {409, ``, want{meaning: Wait, cause: CauseKeyBusy}},
		"key used":                     {422, testdata(t, "error_key_used"), want{meaning: Retry, cause: CauseKeyUsed}},
		"server error":                 {500, testdata(t, "error_internal"), want{meaning: Retry, cause: CauseServerError}},
		"server error with our charge": {503, testdata(t, "search"), want{meaning: Retry, cause: CauseServerError}},
		"bad request with our charge":  {400, testdata(t, "approved"), want{meaning: Retry, cause: CauseRequest}},
		"rejected payment under 402":   {402, testdata(t, "rejected_card"), want{meaning: Retry, cause: CauseDeclined}},
		"unheard of":                   {418, ``, want{meaning: Retry, cause: CauseRequest}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := searches(t, func(string, url.Values) (int, string) { return tt.status, tt.body })
			found := c.Find(t.Context(), sampleRequest(t), sampleDay)
			checkFound(t, found)
			if len(found.Payments)+len(found.Inner) != 0 || found.Searched {
				t.Errorf("got %+v", found)
			}
			if tt.want == refused {
				if found.Failed != nil || len(found.Refused) != 3 || found.Calls != 3 {
					t.Errorf("got %+v", found)
				}
				return
			}
			if found.Failed == nil || len(found.Refused) != 0 || found.Calls != 1 {
				t.Fatalf("got %+v", found)
			}
			check(t, *found.Failed, tt.want)
			if found.Failed.HTTPStatus != tt.status || !strings.HasPrefix(found.Failed.Detail,
				"search of advanced payments by external_reference: ") {
				t.Errorf("got %+v", *found.Failed)
			}
		})
	}
}
