// Package admin serves the HTTP routes for operators: health, readiness, status, metrics
// and the release of held invalid events.
package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"payment-capture/internal/secret"
)

// Readiness reports whether the service can capture events.
type Readiness struct {
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitzero"` // why not
	Detail any    `json:"detail,omitzero"`
}

// Service is what the routes show and change.
type Service struct {
	Metrics prometheus.Gatherer
	Ready   func(context.Context) Readiness
	Status  func(context.Context) any
	Release Release
	Level   *slog.LevelVar // of the log; nil: there is no route for it
	Log     *slog.Logger   // notes changes of the level
	// Tokens has the bearer tokens, separated by white space, one of which every route
	// requires except the paths of WithoutToken. nil: no route requires one.
	Tokens       *secret.Source
	WithoutToken []string
}

// Handler returns the handler of all routes:
//
//	GET  /livez          200 while the process can answer
//	GET  /readyz         200 while the service can capture events, else 503 with the reason
//	GET  /status         the state of the service
//	GET  /metrics        for Prometheus
//	POST /holds/release  parks held invalid events now; ?partition=3 only those of one
//	PUT  /log/level      changes the level of the log to that of ?level=debug
func Handler(s Service) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]bool{"live": true})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		state := s.Ready(ctx)
		code := http.StatusOK
		if !s.authorised(r) { // a probe needs the status and an operator the reason
			state.Detail = nil
		}
		if !state.Ready {
			code = http.StatusServiceUnavailable
		}
		answer(w, code, state)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		answer(w, http.StatusOK, s.Status(ctx))
	})
	// A web page in an operator's browser must not be able to call them.
	own := http.NewCrossOriginProtection()
	mux.Handle("POST "+ReleasePath, own.Handler(s.Release))
	if s.Level != nil {
		mux.Handle("PUT "+LevelPath, own.Handler(http.HandlerFunc(s.setLevel)))
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{
		EnableOpenMetrics: true, // the format that has exemplars, for clients that ask for it
	}))
	return s.protect(mux)
}

// Probes returns the paths that may be served without a token.
func Probes() []string { return []string{"/livez", "/readyz", "/metrics"} }

// protect refuses requests without a token, except to the paths that need none.
func (s Service) protect(routes http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(s.WithoutToken, r.URL.Path) && !s.authorised(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			answer(w, http.StatusUnauthorized, map[string]string{"error": "needs a bearer token of ADMIN_TOKENS_FILE"})
			return
		}
		routes.ServeHTTP(w, r)
	})
}

// authorised reports whether a request has one of the tokens, or needs none. Digests are
// compared, all of them, so that the time shows neither a token's length nor its place.
func (s Service) authorised(r *http.Request) bool {
	if s.Tokens == nil {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	given, known := sha256.Sum256([]byte(token)), 0
	text, _ := s.Tokens.Text() // the source logs the error; the last tokens stay in use
	for one := range strings.FieldsSeq(text.Reveal()) {
		digest := sha256.Sum256([]byte(one))
		known |= subtle.ConstantTimeCompare(digest[:], given[:])
	}
	return known == 1 && strings.EqualFold(scheme, "Bearer")
}

// LevelPath is the route that changes the level of the log.
const LevelPath = "/log/level"

func (s Service) setLevel(w http.ResponseWriter, r *http.Request) {
	before := s.Level.Level()
	if err := s.Level.UnmarshalText([]byte(r.URL.Query().Get("level"))); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": "level: is none of debug, info, warn and error"})
		return
	}
	s.Log.WarnContext(r.Context(), "log level changed", slog.String("from", before.String()), slog.String("to", s.Level.Level().String()))
	answer(w, http.StatusOK, map[string]string{"level": s.Level.Level().String()})
}

// ReleasePath is the route that releases held invalid events.
const ReleasePath = "/holds/release"

// Release ends the holds of invalid events of one partition, or of all if it is nil,
// and returns them.
type Release func(ctx context.Context, partition *int32) (released any, err error)

// ServeHTTP implements [http.Handler].
func (release Release) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var partition *int32
	if text := r.URL.Query().Get("partition"); text != "" {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 {
			answer(w, http.StatusBadRequest, map[string]string{"error": "partition: not a number"})
			return
		}
		partition = new(int32(n))
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	released, err := release(ctx, partition)
	if err != nil {
		answer(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
		return
	}
	answer(w, http.StatusOK, map[string]any{"released": released})
}

// timeout bounds a request: a service that is too busy to answer is not ready.
const timeout = 2 * time.Second

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has disconnected
}
