package simulator

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/shopspring/decimal"
)

// Config is what a Simulator is built from. The zero value is usable: it is a
// Mexican account that accepts any bearer and approves every valid capture.
type Config struct {
	// AccessToken is the one bearer accepted; empty accepts any that is not empty.
	AccessToken string
	// Site is the seller's country: MLA, MLB, MLM, MPE, MLU (two decimals), MLC
	// or MCO (none). Empty means MLM. It is echoed as site_id.
	Site string
	// Latency passes before each answer of the API (not of /_simulator/).
	Latency time.Duration
	// Seed makes rules with a probability repeatable.
	Seed uint64
	// KeyRetention is how long an idempotency key is remembered, from its first
	// use; 0 is for ever. A forgotten key is new, and CHARGES AGAIN. Mercado Pago
	// publishes no figure.
	KeyRetention time.Duration
	// SearchDelay is how long a payment stays invisible to both searches.
	SearchDelay time.Duration
	// RefundDelay is how long a refund takes to change the payment's status.
	RefundDelay time.Duration
	// DefaultBalance is what a payer not named in the script has, as a decimal;
	// empty is unlimited.
	DefaultBalance string
	// Script is applied at once, as by Apply.
	Script Script
}

// TokenState is what the API thinks of the seller's access token.
type TokenState string

// The states of an access token.
const (
	// TokenOK is accepted.
	TokenOK TokenState = "ok"
	// TokenExpired is answered 401, in the shape Switches.UnauthorizedShape names.
	TokenExpired TokenState = "expired"
	// TokenBlocked is answered 403: the application or account is barred.
	TokenBlocked TokenState = "blocked"
)

// Simulator is an http.Handler that serves the API and, under /_simulator/, its
// own controls. It is safe for concurrent use. Make one with New.
type Simulator struct {
	cfg            Config
	scale          int32            // decimals the site accepts
	defaultBalance *decimal.Decimal // nil is unlimited
	routes         *http.ServeMux

	mu         sync.Mutex // guards all below; never held while waiting or writing
	token      string
	tokenState TokenState
	switches   Switches
	rules      []*scriptedRule
	payers     map[string]*payer     // by payer token
	agreements map[string]string     // agreement id to payer token
	keys       map[string]*keyRecord // by X-Idempotency-Key of captures
	refundKeys map[string]*refundRecord
	payments   paymentStore
	book       book
	reads      map[string]int // reads of one kind and subject, for rules with a probability
	requests   uint64
}

// New checks cfg and builds a Simulator. Its error names the wrong field.
func New(cfg Config) (*Simulator, error) {
	cfg.Site = cmp.Or(cfg.Site, "MLM")
	scale, known := siteScale(cfg.Site)
	if !known {
		return nil, fmt.Errorf("simulator: Site: %q is none of MLA, MLB, MLM, MPE, MLU, MLC, MCO", cfg.Site)
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"Latency", cfg.Latency},
		{"KeyRetention", cfg.KeyRetention},
		{"SearchDelay", cfg.SearchDelay},
		{"RefundDelay", cfg.RefundDelay},
	} {
		if d.value < 0 {
			return nil, fmt.Errorf("simulator: %s: %v is negative", d.field, d.value)
		}
	}
	balance, err := parseBalance(cfg.DefaultBalance)
	if err != nil {
		return nil, fmt.Errorf("simulator: DefaultBalance: %w", err)
	}
	s := &Simulator{
		cfg:            cfg,
		scale:          scale,
		defaultBalance: balance,
		token:          cfg.AccessToken,
		tokenState:     TokenOK,
		payers:         map[string]*payer{},
		agreements:     map[string]string{},
		keys:           map[string]*keyRecord{},
		refundKeys:     map[string]*refundRecord{},
		payments:       newPaymentStore(),
		book:           newBook(),
		reads:          map[string]int{},
	}
	if err := s.Apply(cfg.Script); err != nil {
		return nil, fmt.Errorf("simulator: Script: %w", err)
	}
	s.routes = s.newRoutes()
	return s, nil
}

// ServeHTTP serves the whole API and the controls under /_simulator/. It ends
// some requests by panicking with http.ErrAbortHandler, which net/http turns
// into a closed connection without an answer.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	id := "sim-" + strconv.FormatUint(s.requests, 10)
	s.mu.Unlock()
	// Mercado Pago's support asks for this header, so clients should keep it.
	w.Header().Set("X-Request-Id", id)
	s.routes.ServeHTTP(w, r)
}

func (s *Simulator) newRoutes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/advanced_payments", s.serveCapture)
	mux.Handle("GET /v1/advanced_payments/{id}", s.endpoint(s.readAdvancedPayment))
	mux.Handle("GET /v1/advanced_payments/search", s.endpoint(s.searchAdvancedPayments))
	mux.Handle("POST /v1/advanced_payments/{id}/refunds", s.endpoint(s.createRefund))
	mux.Handle("GET /v1/payments/{id}", s.endpoint(s.readPayment))
	mux.Handle("GET /v1/payments/search", s.endpoint(s.searchPayments))
	mux.Handle("DELETE /v2/wallet_connect/agreements/{id}", s.endpoint(s.cancelAgreement))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		noSuchResource().reply(CodeString).writeTo(w)
	})
	s.addControls(mux)
	return mux
}

// endpoint wraps everything of the API but the capture: bearer, latency, answer.
func (s *Simulator) endpoint(handle func(*http.Request, time.Time) plan) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		s.mu.Lock()
		refused, ok := s.checkBearer(r.Header.Get("Authorization"))
		s.mu.Unlock()
		p := plan{reply: refused}
		if ok {
			p = handle(r, now)
		}
		p.wait += s.cfg.Latency
		p.deliver(w, r, func() {})
	})
}

// SetAccessToken changes the bearer accepted and its state. An empty token
// keeps the present one. An unknown state is taken for TokenExpired, so that a
// mistake in a test is seen at once.
func (s *Simulator) SetAccessToken(token string, state TokenState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = cmp.Or(token, s.token)
	switch state {
	case TokenOK, TokenBlocked, TokenExpired:
		s.tokenState = state
	default:
		s.tokenState = TokenExpired
	}
}

// ForgetKeys forgets every idempotency key, as if the retention had run out: a
// capture sent again under an old key then charges again.
func (s *Simulator) ForgetKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.keys)
}

// siteScale is the number of decimals amounts may have on a site: two, and none
// for the Chilean peso (OpenAPI overlay MLC) and, in practice, the Colombian one.
func siteScale(site string) (scale int32, known bool) {
	switch site {
	case "MLA", "MLB", "MLM", "MPE", "MLU":
		return 2, true
	case "MLC", "MCO":
		return 0, true
	}
	return 0, false
}

// parseBalance reads a balance; nil is unlimited.
func parseBalance(text string) (*decimal.Decimal, error) {
	if text == "" {
		return nil, nil
	}
	balance, err := parseAmount(text)
	if err != nil {
		return nil, err
	}
	return &balance, nil
}

// parseAmount reads a plain decimal: digits, perhaps a point and more digits.
// Exponents are refused, since a short one can stand for gigabytes of digits.
func parseAmount(text string) (decimal.Decimal, error) {
	if len(text) > 32 {
		return decimal.Zero, fmt.Errorf("has %d characters, more than 32", len(text))
	}
	for _, c := range text {
		if (c < '0' || c > '9') && c != '.' {
			return decimal.Zero, fmt.Errorf("%q is no plain decimal such as 700.50", text)
		}
	}
	amount, err := decimal.NewFromString(text)
	if err != nil {
		return decimal.Zero, fmt.Errorf("%q is no plain decimal such as 700.50", text)
	}
	return amount, nil
}
