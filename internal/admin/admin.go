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
//	/metrics  for Prometheus
func Handler(gatherer prometheus.Gatherer, ready func(context.Context) Readiness) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]bool{"live": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		state := ready(ctx)
		status := http.StatusOK
		if !state.Ready {
			status = http.StatusServiceUnavailable
		}
		answer(w, status, state)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{}))
	return mux
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the reader is gone: nobody to tell
}
