package simulator

// Action is what a rule does.
type Action string

// Outcomes: the result of a new capture. A key that is already done is answered from
// memory whatever the outcome of the rule is.
const (
	// ActionUsual handles the request as without the rule; with a delay, slowly.
	ActionUsual Action = "usual"
	// ActionApprove approves although the payer's decline or balance says otherwise.
	ActionApprove Action = "approve"
	// ActionDecline rejects with StatusDetail.
	ActionDecline Action = "decline"
	// ActionInsufficientMoney rejects as an empty account does, child id null.
	ActionInsufficientMoney Action = "insufficient_money"
	// ActionInProcess leaves the payment in process despite binary_mode; no money
	// moves, unless Then makes it approved.
	ActionInProcess Action = "in_process"
	// ActionAuthorized only reserves: no money moves.
	ActionAuthorized Action = "authorized"
	// ActionTwoChildren approves by card after the account's money was rejected; with
	// StatusDetail the card is rejected too.
	ActionTwoChildren Action = "two_children"
	// ActionContradict reports the statuses Top and Child, on every read too. Charge
	// says whether the money moved.
	ActionContradict Action = "contradict"
	// ActionMissingStatus leaves the top status out of the answer to the POST.
	ActionMissingStatus Action = "missing_status"
	// ActionWrongEcho falsifies what the answer to the POST echoes.
	ActionWrongEcho Action = "wrong_echo"
)

// Faults: they precede validation and ignore what is known of the key, except whether a
// charge under it is in flight.
const (
	// ActionAnswer writes Status, Headers and Body as they are.
	ActionAnswer Action = "answer"
	// ActionError is an error object made of Status, Code and Message.
	ActionError Action = "error"
	// ActionUnauthorized is a 401 about the access token.
	ActionUnauthorized Action = "unauthorized"
	// ActionForbidden is the policy agent's 403.
	ActionForbidden Action = "forbidden"
	// ActionInvalidPayerToken is 401003, as for a cancelled agreement.
	ActionInvalidPayerToken Action = "invalid_payer_token"
	// ActionTooManyRequests is 429.
	ActionTooManyRequests Action = "too_many_requests"
	// ActionLocked is 423 resource_locked, of the Orders API.
	ActionLocked Action = "locked"
	// ActionBusy is 409/401001; with Charge it lasts after the success.
	ActionBusy Action = "busy"
	// ActionKeyUsed is 422/422001.
	ActionKeyUsed Action = "key_used"
	// ActionHTML is a proxy's HTML page.
	ActionHTML Action = "html"
	// ActionTruncated handles the request and cuts the JSON of its answer.
	ActionTruncated Action = "truncated"
	// ActionSlowBody handles the request and pauses for Delay amid the answer.
	ActionSlowBody Action = "slow_body"
	// ActionDrop closes the connection without an answer.
	ActionDrop Action = "drop"
	// ActionHang sends no answer until the client cancels, or Delay passes and the
	// connection is closed.
	ActionHang Action = "hang"
)

// kind sorts actions by when they are taken.
type kind int

const (
	unknownAction kind = iota
	outcome            // decides a new capture
	fault              // takes the place of an answer
	garble             // a fault that needs the real answer, so always handles the request
)

func (a Action) kind() kind {
	switch a {
	case ActionUsual, ActionApprove, ActionDecline, ActionInsufficientMoney, ActionInProcess,
		ActionAuthorized, ActionTwoChildren, ActionContradict, ActionMissingStatus, ActionWrongEcho:
		return outcome
	case ActionAnswer, ActionError, ActionUnauthorized, ActionForbidden, ActionInvalidPayerToken,
		ActionTooManyRequests, ActionLocked, ActionBusy, ActionKeyUsed, ActionHTML, ActionDrop, ActionHang:
		return fault
	case ActionTruncated, ActionSlowBody:
		return garble
	}
	return unknownAction
}

// fields names the optional fields of a Rule that the action uses, apart from
// delay, which all do.
func (a Action) fields() []string {
	switch a {
	case ActionDecline, ActionAuthorized, ActionTwoChildren:
		return []string{"status_detail"}
	case ActionInProcess:
		return []string{"status_detail", "then"}
	case ActionContradict:
		return []string{"charge", "status_detail", "top", "child"}
	case ActionWrongEcho:
		return []string{"echo"}
	case ActionAnswer:
		return []string{"charge", "burn", "status", "headers", "body"}
	case ActionError:
		return []string{"charge", "burn", "status", "code", "message", "code_style"}
	case ActionUnauthorized:
		return []string{"charge", "burn", "shape"}
	case ActionForbidden:
		return []string{"charge", "burn", "empty"}
	case ActionTooManyRequests:
		return []string{"charge", "burn", "retry_after", "plain"}
	case ActionHTML:
		return []string{"charge", "burn", "status"}
	case ActionInvalidPayerToken, ActionLocked, ActionBusy, ActionKeyUsed, ActionDrop, ActionHang:
		return []string{"charge", "burn"}
	case ActionTruncated:
		return []string{"abort"}
	case ActionUsual, ActionApprove, ActionInsufficientMoney, ActionMissingStatus, ActionSlowBody:
	}
	return nil
}

// setFields names the optional fields that r sets, apart from delay.
func (r Rule) setFields() []string {
	var set []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"charge", r.Charge},
		{"burn", r.Burn},
		{"status_detail", r.StatusDetail != ""},
		{"then", r.Then != nil},
		{"top", r.Top != ""},
		{"child", r.Child != ""},
		{"echo", r.Echo != ""},
		{"status", r.Status != 0},
		{"headers", len(r.Headers) > 0},
		{"body", r.Body != ""},
		{"code", r.Code != ""},
		{"message", r.Message != ""},
		{"code_style", r.CodeStyle != ""},
		{"shape", r.Shape != ""},
		{"empty", r.Empty},
		{"retry_after", r.RetryAfter != nil},
		{"plain", r.Plain},
		{"abort", r.Abort},
	} {
		if f.set {
			set = append(set, f.name)
		}
	}
	return set
}
