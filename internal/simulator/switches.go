package simulator

import "cmp"

// Switches choose where Mercado Pago's documentation contradicts itself or is
// silent. An empty field is the default, and in Apply leaves the present choice.
type Switches struct {
	// CancelledTokenStatus is the HTTP status of a cancelled payer token's answer:
	// 401 (default; English and Spanish guide) or 201 (Portuguese guide).
	CancelledTokenStatus int `json:"cancelled_token_status,omitempty"`
	// UnknownPayers is what becomes of a payer token nobody named: "accept"
	// (default) makes a payer with the default balance, "refuse" answers 401003.
	UnknownPayers string `json:"unknown_payers,omitempty"`
	// KeyConflict is the answer to a key used with another body: "wallet_connect"
	// (default) 422/422001, "orders" 409 idempotency_key_already_used.
	KeyConflict string `json:"key_conflict,omitempty"`
	// FailedKeys is what becomes of the key of a request answered 400 or 401003:
	// "unused" (default) or "burned", whereupon further tries get 422.
	FailedKeys string `json:"failed_keys,omitempty"`
	// CauseCodes is how cause codes are written.
	CauseCodes CodeStyle `json:"cause_codes,omitempty"`
	// UnauthorizedShape is the form of every 401 about the bearer. Unset, a missing
	// bearer returns ShapeMissing and a wrong or expired one Shape401000.
	UnauthorizedShape Shape `json:"unauthorized_shape,omitempty"`
	// ForbiddenBody is what a blocked token's 403 carries: "json" (default) or "empty".
	ForbiddenBody string `json:"forbidden_body,omitempty"`
	// Replay is the body of a known key: "stored" (default), as first answered, or
	// "current", the payment as it is now.
	Replay string `json:"replay,omitempty"`
	// IDs selects how advanced payment ids are written: "number" (default) or "string".
	IDs string `json:"ids,omitempty"`
	// GetShape is the body of GET by id: "full" (default), or "documented": without
	// status at top and child, as in the guide's sample.
	GetShape string `json:"get_shape,omitempty"`
	// SearchBy selects which reference filter of the advanced search finds wallet
	// payments: "both" (default), "inner" (payment.external_reference), "outer"
	// (external_reference) or "none".
	SearchBy string `json:"search_by,omitempty"`
	// JSON is "valid" (default) or "malformed": trailing commas, as in the guide.
	JSON string `json:"json,omitempty"`
}

// CodeStyle selects how the code of a cause is written. Both forms occur.
type CodeStyle string

// The ways to write a cause.
const (
	// CodeString writes "status" and "code" as strings: the guide's samples.
	CodeString CodeStyle = "string"
	// CodeInt writes both as numbers, the text under "description": the older form.
	CodeInt CodeStyle = "int"
	// CodeNone leaves the cause out.
	CodeNone CodeStyle = "none"
)

// Shape is a form of the 401 answer about the access token.
type Shape string

// The forms of 401 seen for an access token. The first two are documented for
// advanced payments, the others reported by integrators.
const (
	// Shape401000 carries cause 401000.
	Shape401000 Shape = "401000"
	// Shape401002 carries cause 401002.
	Shape401002 Shape = "401002"
	// ShapeMissing carries numeric cause 5, "Must provide your access_token".
	ShapeMissing Shape = "missing"
	// ShapeLive carries numeric cause 7, "Unauthorized use of live credentials".
	ShapeLive Shape = "live_credentials"
	// ShapeEdge has no status and no cause, only a code and a message.
	ShapeEdge Shape = "edge"
)

// with returns w with the fields that o sets.
func (w Switches) with(o Switches) Switches {
	return Switches{
		CancelledTokenStatus: cmp.Or(o.CancelledTokenStatus, w.CancelledTokenStatus),
		UnknownPayers:        cmp.Or(o.UnknownPayers, w.UnknownPayers),
		KeyConflict:          cmp.Or(o.KeyConflict, w.KeyConflict),
		FailedKeys:           cmp.Or(o.FailedKeys, w.FailedKeys),
		CauseCodes:           cmp.Or(o.CauseCodes, w.CauseCodes),
		UnauthorizedShape:    cmp.Or(o.UnauthorizedShape, w.UnauthorizedShape),
		ForbiddenBody:        cmp.Or(o.ForbiddenBody, w.ForbiddenBody),
		Replay:               cmp.Or(o.Replay, w.Replay),
		IDs:                  cmp.Or(o.IDs, w.IDs),
		GetShape:             cmp.Or(o.GetShape, w.GetShape),
		SearchBy:             cmp.Or(o.SearchBy, w.SearchBy),
		JSON:                 cmp.Or(o.JSON, w.JSON),
	}
}

func (w Switches) validate() error {
	if err := oneOf("switches.cancelled_token_status", w.CancelledTokenStatus, 0, 401, 201); err != nil {
		return err
	}
	if err := oneOf("switches.cause_codes", w.CauseCodes, "", CodeString, CodeInt, CodeNone); err != nil {
		return err
	}
	if err := oneOf("switches.unauthorized_shape", w.UnauthorizedShape,
		"", Shape401000, Shape401002, ShapeMissing, ShapeLive, ShapeEdge); err != nil {
		return err
	}
	for _, c := range []struct {
		field, value string
		words        []string
	}{
		{"unknown_payers", w.UnknownPayers, []string{"accept", "refuse"}},
		{"key_conflict", w.KeyConflict, []string{"wallet_connect", "orders"}},
		{"failed_keys", w.FailedKeys, []string{"unused", "burned"}},
		{"forbidden_body", w.ForbiddenBody, []string{"json", "empty"}},
		{"replay", w.Replay, []string{"stored", "current"}},
		{"ids", w.IDs, []string{"number", "string"}},
		{"get_shape", w.GetShape, []string{"full", "documented"}},
		{"search_by", w.SearchBy, []string{"both", "inner", "outer", "none"}},
		{"json", w.JSON, []string{"valid", "malformed"}},
	} {
		if c.value == "" {
			continue
		}
		if err := oneOf("switches."+c.field, c.value, c.words...); err != nil {
			return err
		}
	}
	return nil
}
