package simulator

import (
	"cmp"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// wait is how long the rule holds back the answer.
func (r *scriptedRule) wait() time.Duration {
	if r.Action == ActionHang || r.Action == ActionSlowBody {
		return 0 // there the delay comes later
	}
	return time.Duration(r.Delay)
}

// faultPlan returns what the client gets instead of honest, which is empty if the
// request was not handled. The caller holds the lock.
func (s *Simulator) faultPlan(rule *scriptedRule, honest reply) plan {
	p := plan{wait: rule.wait(), pause: time.Duration(rule.Delay)}
	// Not all actions: the others differ in the reply only.
	//exhaustive:ignore
	switch rule.Action {
	case ActionDrop:
		p.delivery = deliverNever
	case ActionHang:
		p.delivery = deliverHang
	case ActionSlowBody:
		p.reply, p.delivery = honest, deliverSlowly
	case ActionTruncated:
		p.reply = honest
		if rule.Abort {
			p.delivery = deliverHalf
			break
		}
		p.reply.body = honest.body[:len(honest.body)/2]
	default:
		p.reply = s.faultReply(rule)
	}
	return p
}

func (s *Simulator) faultReply(rule *scriptedRule) reply {
	style := s.switches.CauseCodes
	// Not all actions: outcomes do not reach this, and faultPlan has handled the rest.
	//exhaustive:ignore
	switch rule.Action {
	case ActionAnswer:
		return reply{status: rule.Status, headers: rule.Headers, body: []byte(rule.Body)}
	case ActionError:
		return errorReply(rule, cmp.Or(rule.CodeStyle, style))
	case ActionUnauthorized:
		return unauthorized(cmp.Or(rule.Shape, s.switches.UnauthorizedShape))
	case ActionForbidden:
		return forbidden(rule.Empty)
	case ActionInvalidPayerToken:
		return invalidPayerToken(s.switches.CancelledTokenStatus).reply(style)
	case ActionTooManyRequests:
		return tooManyRequests(rule)
	case ActionLocked:
		return ordersError(http.StatusLocked, "resource_locked", "The resource is locked. Try again later.")
	case ActionBusy:
		return stillRunning().reply(style)
	case ActionKeyUsed:
		return keyAlreadyUsed().reply(style)
	case ActionHTML:
		status := cmp.Or(rule.Status, http.StatusBadGateway)
		page := fmt.Sprintf("<html><head><title>%d</title></head><body><h1>%s</h1></body></html>\n",
			status, html.EscapeString(http.StatusText(status)))
		return reply{status: status, contentType: "text/html", body: []byte(page)}
	default:
		return reply{status: http.StatusInternalServerError}
	}
}

// errorReply is an error object. Its word is that of the HTTP status, in the
// spelling most samples have.
func errorReply(rule *scriptedRule, style CodeStyle) reply {
	text := cmp.Or(http.StatusText(rule.Status), "Error")
	return problem{
		status:  rule.Status,
		word:    strings.ReplaceAll(strings.ToLower(text), " ", "_"),
		message: cmp.Or(rule.Message, text),
		code:    rule.Code,
	}.reply(style)
}

func tooManyRequests(rule *scriptedRule) reply {
	a := reply{
		status: http.StatusTooManyRequests,
		body: []byte(`{"status":429,"error":"too_many_requests",` +
			`"message":"Rate limit exceeded. Retry after the indicated number of seconds."}`),
	}
	if rule.Plain {
		a.contentType, a.body = "text/plain", []byte("local_rate_limited")
	}
	if rule.RetryAfter != nil {
		a.headers = map[string]string{"Retry-After": strconv.Itoa(*rule.RetryAfter)}
	}
	return a
}
