package admin_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"payment-capture/internal/admin"
	"payment-capture/internal/secret"
)

// With tokens, every route needs one except those that are named; a token that is added
// to the file is valid, and one that is removed is not.
func TestTokens(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens")
	put := func(t *testing.T, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		put(t, "first-token\nsecond-token\n")
		tokens, err := secret.File(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		var released int
		h := admin.Handler(admin.Service{
			Metrics: prometheus.NewRegistry(), Tokens: tokens, WithoutToken: []string{"/livez", "/readyz"},
			Ready: func(context.Context) admin.Readiness {
				return admin.Readiness{Reason: "stopping", Detail: "the detail"}
			},
			Status: func(context.Context) any { return 7 },
			Release: func(context.Context, *int32) (any, error) {
				released++
				return nil, nil
			},
		})
		ask := func(method, path, authorization string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
			if authorization != "" {
				r.Header.Set("Authorization", authorization)
			}
			recorder := httptest.NewRecorder()
			h.ServeHTTP(recorder, r)
			return recorder
		}
		for _, path := range []string{"/status", "/metrics", "/nothing", "//livez", "/livez/", "/debug/pprof/"} {
			for _, wrong := range []string{
				"", "Bearer", "Bearer ", "Bearer first", "Bearer first-token second-token", "Bearer first-token\n", "Basic first-token", "first-token",
			} {
				if got := ask(http.MethodGet, path, wrong); got.Code != http.StatusUnauthorized || got.Header().Get("WWW-Authenticate") != "Bearer" {
					t.Errorf("%s with %q: got %d", path, wrong, got.Code)
				}
			}
		}
		if got := ask(http.MethodPost, admin.ReleasePath, "Bearer third"); got.Code != http.StatusUnauthorized || released != 0 {
			t.Errorf("released with a wrong token: %d", got.Code)
		}
		if got := ask(http.MethodPost, admin.ReleasePath, "Bearer second-token"); got.Code != http.StatusOK || released != 1 {
			t.Errorf("not released with a token: %d", got.Code)
		}
		for _, right := range []string{"Bearer first-token", "bearer second-token"} {
			if got := ask(http.MethodGet, "/status", right); got.Code != http.StatusOK {
				t.Errorf("%q: got %d", right, got.Code)
			}
		}
		if got := ask(http.MethodGet, "/debug/pprof/", "Bearer first-token"); got.Code != http.StatusNotFound {
			t.Errorf("profiles: got %d", got.Code)
		}
		if got := ask(http.MethodGet, "/livez", ""); got.Code != http.StatusOK {
			t.Errorf("liveness without a token: got %d", got.Code)
		}
		without, with := ask(http.MethodGet, "/readyz", "").Body.String(), ask(http.MethodGet, "/readyz", "Bearer first-token").Body.String()
		if !strings.Contains(without, "stopping") || strings.Contains(without, "the detail") || !strings.Contains(with, "the detail") {
			t.Errorf("readiness without a token: %swith one: %s", without, with)
		}

		<-time.After(time.Second)
		put(t, "third-token")
		<-time.After(2 * time.Second)
		for authorization, want := range map[string]int{"Bearer first-token": http.StatusUnauthorized, "Bearer third-token": http.StatusOK} {
			if got := ask(http.MethodGet, "/status", authorization); got.Code != want {
				t.Errorf("after the rotation, %q: got %d, want %d", authorization, got.Code, want)
			}
		}
	})
}
