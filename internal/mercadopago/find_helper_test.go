package mercadopago

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"payment-capture/internal/simulator"
)

// sampleDay is a time before the documented sample was created.
var sampleDay = time.Date(2018, 10, 20, 0, 0, 0, 0, time.UTC)

// checkFound checks what holds for every result of Find.
func checkFound(t *testing.T, f Found) {
	t.Helper()
	for _, a := range f.Payments {
		checkSound(t, a)
		if !a.Read || a.Payment == nil || a.Payment.ID == "" {
			t.Errorf("a payment without an id, or not of a read: %+v", a)
		}
		if a.Meaning != Captured && a.Meaning != Rejected && a.Meaning != Poll && a.Meaning != Park {
			t.Errorf("a payment that is %s: %s", a.Meaning, a.Detail)
		}
	}
	if !slices.IsSortedFunc(f.Payments, func(a, b Answer) int { return a.Payment.CreatedAt.Compare(b.Payment.CreatedAt) }) {
		t.Errorf("the payments are not sorted: %v", f.Payments)
	}
	if a := f.Failed; a != nil {
		checkSound(t, *a)
		if !a.Read || a.EffectUnknown() || a.Payment != nil || f.Searched {
			t.Errorf("failed, searched %t: %+v", f.Searched, *a)
		}
		if a.Meaning != Retry && a.Meaning != Wait && a.Meaning != Halt && a.Meaning != Park {
			t.Errorf("failed with %s", a.Meaning)
		}
	}
	for _, line := range append(slices.Clone(f.Inner), f.Refused...) {
		if line == "" || len(line) > maxDetail || shows(line, accessToken) || shows(line, payerToken) {
			t.Errorf("got line %q", line)
		}
	}
}

// searches returns a client of an API that answers each search by its path and
// query.
func searches(t *testing.T, answer func(path string, q url.Values) (int, string)) *Client {
	t.Helper()
	s := serve(t, func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodGet || req.Header.Get("Authorization") != "Bearer "+accessToken {
			t.Errorf("got %s %s", req.Method, req.URL)
		}
		status, body := answer(req.URL.Path, req.URL.Query())
		w.Header().Set("X-Request-Id", "req-1")
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	return newClient(t, Config{URL: s.URL})
}

const noResults = `{"paging":{"total":0,"limit":20,"offset":0},"results":[]}`

// pageOf returns a page with all results of its search.
func pageOf(results ...string) string { return pageFrom(0, len(results), results...) }

func pageFrom(offset, total int, results ...string) string {
	return `{"paging":{"total":` + itoa(total) + `,"limit":20,"offset":` + itoa(offset) + `},"results":[` + strings.Join(results, ",") + `]}`
}

// simulated returns a client of a simulator, and the simulator.
func simulated(t *testing.T, cfg simulator.Config) (*Client, *simulator.Simulator) {
	t.Helper()
	s, err := simulator.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := serve(t, s.ServeHTTP)
	return newClient(t, Config{URL: server.URL, Timeout: 10 * time.Second}), s
}

// scripted returns a simulator with these rules.
func scripted(rules ...simulator.Rule) simulator.Config {
	return simulator.Config{Script: simulator.Script{Rules: rules}}
}

// under returns the sample request with another key, for another capture under the
// same reference.
func under(t *testing.T, key string) Request {
	t.Helper()
	r := sampleRequest(t)
	r.Key = key
	return r
}
