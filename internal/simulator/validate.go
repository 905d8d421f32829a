package simulator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// validate returns which field is wrong, by its path in the JSON. It never prints
// a payer token.
func (script Script) validate() error {
	tokens, agreements := map[string]bool{}, map[string]bool{}
	for i, p := range script.Payers {
		if err := p.validate(); err != nil {
			return fmt.Errorf("payers[%d].%w", i, err)
		}
		if tokens[p.Token] {
			return fmt.Errorf("payers[%d].token: is given twice", i)
		}
		if p.Agreement != "" && agreements[p.Agreement] {
			return fmt.Errorf("payers[%d].agreement: %q is given twice", i, p.Agreement)
		}
		tokens[p.Token], agreements[p.Agreement] = true, true
	}
	for i, r := range script.Rules {
		if err := r.validate(); err != nil {
			return fmt.Errorf("rules[%d].%w", i, err)
		}
	}
	return script.Switches.validate()
}

func (p Payer) validate() error {
	if p.Token == "" {
		return errors.New("token: is missing")
	}
	if _, err := parseBalance(p.Balance); err != nil {
		return fmt.Errorf("balance: %w", err)
	}
	return oneOf("state", p.State, "", "active", "cancelled")
}

func (r Rule) validate() error {
	if r.Action.kind() == unknownAction {
		return fmt.Errorf("action: %q is unknown", r.Action)
	}
	if err := r.Match.validate(); err != nil {
		return fmt.Errorf("match.%w", err)
	}
	if r.Times < 0 {
		return fmt.Errorf("times: %d is negative", r.Times)
	}
	if r.Delay < 0 {
		return errors.New("delay: is negative")
	}
	for _, field := range r.setFields() {
		if !slices.Contains(r.Action.fields(), field) {
			return fmt.Errorf("%s: has no meaning for action %q", field, r.Action)
		}
	}
	if r.Match.On == OnGet || r.Match.On == OnSearch {
		if r.Action.kind() == outcome && r.Action != ActionUsual {
			return fmt.Errorf("action: %q is for captures, not for %q", r.Action, r.Match.On)
		}
		if r.Charge || r.Burn {
			return fmt.Errorf("charge, burn: have no meaning for %q", r.Match.On)
		}
	}
	if r.Charge && r.Burn {
		return errors.New("burn: excludes charge, under which the key is done")
	}
	return r.validateAction()
}

// validateAction checks the values of the fields that the action uses.
func (r Rule) validateAction() error {
	// Not all actions: the other actions have no values to check.
	//exhaustive:ignore
	switch r.Action {
	case ActionDecline:
		if r.StatusDetail == "" {
			return errors.New("status_detail: is missing")
		}
	case ActionContradict:
		if r.Top == "" || r.Child == "" {
			return errors.New("top, child: both are needed")
		}
	case ActionInProcess:
		return r.Then.validate()
	case ActionWrongEcho:
		return oneOf("echo", r.Echo, "amount", "reference", "site")
	case ActionAnswer, ActionError:
		if r.Status < 200 || r.Status > 599 {
			return fmt.Errorf("status: %d is not within 200 and 599", r.Status)
		}
		return oneOf("code_style", r.CodeStyle, "", CodeString, CodeInt, CodeNone)
	case ActionHTML:
		if r.Status != 0 && (r.Status < 200 || r.Status > 599) {
			return fmt.Errorf("status: %d is not within 200 and 599", r.Status)
		}
	case ActionUnauthorized:
		return oneOf("shape", r.Shape, "", Shape401000, Shape401002, ShapeMissing, ShapeLive, ShapeEdge)
	case ActionTooManyRequests:
		if r.RetryAfter != nil && *r.RetryAfter < 0 {
			return fmt.Errorf("retry_after: %d is negative", *r.RetryAfter)
		}
	default:
	}
	return nil
}

func (t *Then) validate() error {
	if t == nil {
		return nil
	}
	if t.AfterGets < 1 {
		return fmt.Errorf("then.after_gets: %d is less than one", t.AfterGets)
	}
	return oneOf("then.status", t.Status, "approved", "rejected", "cancelled")
}

func (m Match) validate() error {
	if err := oneOf("on", m.On, "", OnCapture, OnGet, OnSearch); err != nil {
		return err
	}
	if m.Amount != "" {
		if _, err := parseAmount(m.Amount); err != nil {
			return fmt.Errorf("amount: %w", err)
		}
	}
	if m.FromTry < 0 || m.ToTry < 0 || (m.ToTry > 0 && m.ToTry < m.FromTry) {
		return fmt.Errorf("from_try, to_try: %d to %d is no range", m.FromTry, m.ToTry)
	}
	if p := m.Probability; p != nil && !(*p > 0 && *p <= 1) {
		return fmt.Errorf("probability: %v is not above 0 and at most 1", *p)
	}
	if (m.On == OnGet || m.On == OnSearch) &&
		(m.PayerToken != "" || m.Amount != "" || m.Key != "" || m.Description != "" || m.FromTry+m.ToTry > 0) {
		return fmt.Errorf("on: %q can be narrowed by reference and probability only", m.On)
	}
	return nil
}

// oneOf returns the error of a field with a value that it cannot have.
func oneOf[T comparable](field string, value T, allowed ...T) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	var words []string
	for _, a := range allowed {
		if text := fmt.Sprint(a); text != "" && text != "0" {
			words = append(words, text)
		}
	}
	return fmt.Errorf("%s: %v is none of %s", field, value, strings.Join(words, ", "))
}
