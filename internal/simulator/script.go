package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Script configures who pays and what goes wrong. Its JSON form has
// the same names in lower case; docs/simulator.md describes it with examples.
type Script struct {
	Payers   []Payer  `json:"payers,omitempty"`
	Rules    []Rule   `json:"rules,omitempty"`
	Switches Switches `json:"switches,omitzero"`
}

// Payer is a buyer with an agreement. Applying a payer again replaces it.
type Payer struct {
	// Token is the payer token of the agreement; required.
	Token string `json:"token"`
	// Balance is the money in the account, a decimal; empty is unlimited. A capture
	// above it is rejected with insufficient_money.
	Balance string `json:"balance,omitempty"`
	// State is "active" (or empty) or "cancelled", which answers 401003.
	State string `json:"state,omitempty"`
	// Agreement is the id under which the agreement can be cancelled.
	Agreement string `json:"agreement,omitempty"`
	// Decline is a status_detail with which every capture is rejected.
	Decline string `json:"decline,omitempty"`
}

// Rule is one thing that happens to requests that match. Of all rules the first
// that matches is taken. Fields that an action does not use must be empty.
type Rule struct {
	// Name is for the reader only.
	Name  string `json:"name,omitempty"`
	Match Match  `json:"match,omitzero"`
	// Times is how often the rule is taken before it is spent; 0 is no limit.
	Times  int    `json:"times,omitempty"`
	Action Action `json:"action"`

	// Charge, for a fault: the request is handled as if the rule were not there,
	// money, key and all, and only then the fault takes the place of the answer.
	// Without it nothing happens but the fault, and the key stays unused.
	Charge bool `json:"charge,omitempty"`
	// Burn, for a fault without charge: the key is used up, further tries get 422.
	Burn bool `json:"burn,omitempty"`
	// Delay is added to the latency. For hang it is how long to wait before the
	// connection is closed, for slow_body the pause between the halves.
	Delay Duration `json:"delay,omitempty"`

	// StatusDetail is the reason: required by decline; optional for in_process,
	// authorized, contradict, and two_children (which it turns into a rejection).
	StatusDetail string `json:"status_detail,omitempty"`
	// Then is the final state of an in_process payment.
	Then *Then `json:"then,omitempty"`
	// Top and Child are the statuses contradict reports for payment and child.
	Top   string `json:"top,omitempty"`
	Child string `json:"child,omitempty"`
	// Echo is what wrong_echo falsifies: "amount", "reference" or "site".
	Echo string `json:"echo,omitempty"`

	// Status is the HTTP status of answer, error and html (502 if empty).
	Status int `json:"status,omitempty"`
	// Headers and Body are the raw answer of action answer.
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
	// Code and Message are the cause of action error; CodeStyle says how the code
	// is written, and is that of the switches if empty.
	Code      string    `json:"code,omitempty"`
	Message   string    `json:"message,omitempty"`
	CodeStyle CodeStyle `json:"code_style,omitempty"`
	// Shape is the form of an unauthorized answer.
	Shape Shape `json:"shape,omitempty"`
	// Empty, for forbidden: the answer has no body.
	Empty bool `json:"empty,omitempty"`
	// RetryAfter, in seconds, and Plain (bare text, no JSON) are for too_many_requests.
	RetryAfter *int `json:"retry_after,omitempty"`
	Plain      bool `json:"plain,omitempty"`
	// Abort, for truncated: the connection breaks in the middle of the body. Without it
	// the body is complete for HTTP, and only its JSON is cut.
	Abort bool `json:"abort,omitempty"`
}

// Match selects the requests that a rule applies to. All fields that are set must match.
type Match struct {
	// On is the kind of request; empty is OnCapture. OnGet and OnSearch can only be
	// matched by reference and probability.
	On                      Operation `json:"on,omitempty"`
	PayerToken              string    `json:"payer_token,omitempty"`
	Amount                  string    `json:"amount,omitempty"`
	ExternalReference       string    `json:"external_reference,omitempty"`
	ExternalReferencePrefix string    `json:"external_reference_prefix,omitempty"`
	Key                     string    `json:"key,omitempty"`
	Description             string    `json:"description,omitempty"`
	// FromTry and ToTry bound the number of the POST among those of its key, from
	// one, both inclusive; 0 is no bound. POSTs answered 401 or 409 count too.
	FromTry int `json:"from_try,omitempty"`
	ToTry   int `json:"to_try,omitempty"`
	// Probability is above 0 and at most 1. Whether it hits depends on the seed, the
	// rule's place, the key and the number of the try, not on the order of requests.
	Probability *float64 `json:"probability,omitempty"`
}

// Operation is a kind of request that a rule can be for.
type Operation string

// The kinds of requests.
const (
	// OnCapture is POST /v1/advanced_payments.
	OnCapture Operation = "capture"
	// OnGet is a read by id of an advanced payment or an inner one.
	OnGet Operation = "get"
	// OnSearch is either search.
	OnSearch Operation = "search"
)

// Then is the state an in_process payment reaches.
type Then struct {
	// Status is "approved", which moves the money, "rejected" or "cancelled".
	Status       string `json:"status"`
	StatusDetail string `json:"status_detail,omitempty"`
	// AfterGets is the number of the GET by id that first shows it; at least one.
	AfterGets int `json:"after_gets"`
}

// Duration is a time.Duration that is written "1m30s" in JSON.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) {
	return []byte(time.Duration(d).String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration such as 250ms or 1m30s", text)
	}
	*d = Duration(parsed)
	return nil
}

// maxScript bounds the JSON of a script, in bytes.
const maxScript = 16 << 20

// ParseScript reads a script from JSON. It is strict: a field it does not know,
// a value out of range and anything after the object are errors that name what
// is wrong and where.
func ParseScript(r io.Reader) (Script, error) {
	var script Script
	if err := decodeStrict(r, &script); err != nil {
		return Script{}, fmt.Errorf("script: %w", err)
	}
	if err := script.validate(); err != nil {
		return Script{}, fmt.Errorf("script: %w", err)
	}
	return script, nil
}

func decodeStrict(r io.Reader, into any) error {
	limited := &io.LimitedReader{R: r, N: maxScript + 1}
	dec := json.NewDecoder(limited)
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if limited.N <= 0 {
		return fmt.Errorf("is longer than %d bytes", maxScript)
	}
	if err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("something follows the JSON object at byte %d", dec.InputOffset())
	}
	return nil
}

// Apply checks script and adds it: payers are added or replaced, rules are put
// behind those present, switches that are set replace the present ones. On an
// error, which names the field, nothing changes.
func (s *Simulator) Apply(script Script) error {
	if err := script.validate(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range script.Payers {
		s.addPayer(p)
	}
	for _, r := range script.Rules {
		s.rules = append(s.rules, newScriptedRule(r, len(s.rules)))
	}
	s.switches = s.switches.with(script.Switches)
	return nil
}

// ClearScript removes all rules, switches and payers, those of Config.Script
// too. Payments, keys and charges stay.
func (s *Simulator) ClearScript() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
	s.switches = Switches{}
	clear(s.payers)
	clear(s.agreements)
}
