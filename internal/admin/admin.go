// Package admin serves what an operator looks at: health, readiness, metrics.
package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Readiness says whether events can be worked.
type Readiness struct {
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitzero"` // why not
	Detail any    `json:"detail,omitzero"`
}

// Handler gives all routes:
//
//	/livez    200 while the process can answer
//	/readyz   200 while events can be worked, else 503, with the reason
//	/status   what is under way, what waits longest, and for what
//	/metrics  for Prometheus
func Handler(gatherer prometheus.Gatherer, ready func(context.Context) Readiness, status func(context.Context) any) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]bool{"live": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		state := ready(ctx)
		code := http.StatusOK
		if !state.Ready {
			code = http.StatusServiceUnavailable
		}
		answer(w, code, state)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		answer(w, http.StatusOK, status(ctx))
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	return mux
}

// patience is how long the service is asked how it is: one that is too busy to
// say so is not ready.
const patience = 2 * time.Second

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the reader is gone: nobody to tell
}
