package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/admin"
)

// get returns the response of a handler to a request.
func get(t *testing.T, h http.Handler, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	recorder := httptest.NewRecorder()
	h.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), method, path, nil))
	return recorder
}

func handler(r admin.Readiness) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "test_events_total", Help: "Events."}))
	return admin.Handler(admin.Service{
		Metrics: registry, Ready: func(context.Context) admin.Readiness { return r },
		Status: func(context.Context) any { return map[string]int{"calls": 7} }, Release: release,
	})
}

// release releases partition 3, or all.
func release(_ context.Context, partition *int32) (any, error) {
	switch {
	case partition == nil:
		return []string{"all"}, nil
	case *partition == 3:
		return []string{"three"}, nil
	}
	return nil, errors.New("the service is starting")
}

func TestReleaseFromAnotherSiteIsRefused(t *testing.T) {
	t.Parallel()
	h := handler(admin.Readiness{Ready: true})
	for site, want := range map[string]int{"cross-site": 403, "same-origin": 200, "": 200} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, admin.ReleasePath, nil)
		if site != "" {
			r.Header.Set("Sec-Fetch-Site", site)
		}
		recorder := httptest.NewRecorder()
		h.ServeHTTP(recorder, r)
		if recorder.Code != want {
			t.Errorf("Sec-Fetch-Site %q: got %d, want %d", site, recorder.Code, want)
		}
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	ready, busy := admin.Readiness{Ready: true}, admin.Readiness{Reason: "stopping", Detail: map[string]int{"InFlight": 3}}
	for name, test := range map[string]struct {
		state        admin.Readiness
		method, path string
		status       int
		body         string
	}{
		"live":            {ready, http.MethodGet, "/livez", 200, `{"live":true}`},
		"live, not ready": {busy, http.MethodGet, "/livez", 200, `{"live":true}`},
		"ready":           {ready, http.MethodGet, "/readyz", 200, `{"ready":true}`},
		"not ready":       {busy, http.MethodGet, "/readyz", 503, `{"ready":false,"reason":"stopping","detail":{"InFlight":3}}`},
		"status":          {busy, http.MethodGet, "/status", 200, `{"calls":7}`},
		"metrics":         {busy, http.MethodGet, "/metrics", 200, "test_events_total 0"},
		"unknown path":    {ready, http.MethodGet, "/", 404, ""},
		"wrong method":    {ready, http.MethodPost, "/readyz", 405, ""},

		"release all":       {ready, http.MethodPost, "/holds/release", 200, `{"released":["all"]}`},
		"release one":       {ready, http.MethodPost, "/holds/release?partition=3", 200, `{"released":["three"]}`},
		"release fails":     {ready, http.MethodPost, "/holds/release?partition=4", 503, `{"error":"the service is starting"}`},
		"release a text":    {ready, http.MethodPost, "/holds/release?partition=x", 400, `{"error":"partition: not a number"}`},
		"release negative":  {ready, http.MethodPost, "/holds/release?partition=-1", 400, `"error"`},
		"release too large": {ready, http.MethodPost, "/holds/release?partition=4294967299", 400, `"error"`},
		"release by GET":    {ready, http.MethodGet, "/holds/release", 405, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := get(t, handler(test.state), test.method, test.path)
			if got.Code != test.status || !strings.Contains(got.Body.String(), test.body) {
				t.Errorf("got %d\n%s\nwant %d\n%s", got.Code, got.Body, test.status, test.body)
			}
			contentType := got.Header().Get("Content-Type")
			if test.body != "" && test.path != "/metrics" && (contentType != "application/json" || !json.Valid(got.Body.Bytes())) {
				t.Errorf("%s %q is not JSON", contentType, got.Body)
			}
		})
	}
}

// A probe gets an answer even if the service is too busy to return its state.
func TestReadinessTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		h := admin.Handler(admin.Service{Metrics: prometheus.NewRegistry(), Ready: func(ctx context.Context) admin.Readiness {
			<-ctx.Done()
			return admin.Readiness{Reason: "no answer"}
		}})
		if got := get(t, h, http.MethodGet, "/readyz"); got.Code != http.StatusServiceUnavailable || time.Since(began) != 2*time.Second {
			t.Errorf("got %d after %s", got.Code, time.Since(began))
		}
	})
}

// The level of the log changes while the service runs, but not from another site.
func TestLogLevel(t *testing.T) {
	t.Parallel()
	var level slog.LevelVar
	var lines bytes.Buffer
	h := admin.Handler(admin.Service{
		Metrics: prometheus.NewRegistry(), Level: &level, Log: slog.New(slog.NewJSONHandler(&lines, &slog.HandlerOptions{Level: &level})),
	})
	if got := get(t, h, http.MethodPut, admin.LevelPath+"?level=loud"); got.Code != http.StatusBadRequest || level.Level() != slog.LevelInfo {
		t.Errorf("an unknown level: %d, the level is %s", got.Code, level.Level())
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, admin.LevelPath+"?level=debug", nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	foreign := httptest.NewRecorder()
	if h.ServeHTTP(foreign, r); foreign.Code != http.StatusForbidden || level.Level() != slog.LevelInfo {
		t.Errorf("from another site: %d, the level is %s", foreign.Code, level.Level())
	}
	if got := get(t, h, http.MethodPut, admin.LevelPath+"?level=debug"); got.Code != http.StatusOK || level.Level() != slog.LevelDebug {
		t.Errorf("debug: %d, the level is %s", got.Code, level.Level())
	}
	if !strings.Contains(lines.String(), `"msg":"log level changed","from":"INFO","to":"DEBUG"`) {
		t.Errorf("the log has %s", &lines)
	}
	if got := get(t, handler(admin.Readiness{}), http.MethodPut, admin.LevelPath+"?level=debug"); got.Code != http.StatusNotFound {
		t.Errorf("without a level: %d", got.Code)
	}
}
