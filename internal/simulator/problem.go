package simulator

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
)

// problem is an error object of the API. Which words, codes and texts go together
// follows the samples of the guide; note that they are not of one style.
type problem struct {
	status     int
	httpStatus int // 0: the same
	word       string
	message    string
	code       string // empty: no cause
	detail     string // the cause's text; empty: the message without its full stop
}

type causeText struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Data    *string `json:"data"`
}

type causeNumber struct {
	Code        int     `json:"code"`
	Description string  `json:"description"`
	Data        *string `json:"data"`
}

type problemText struct {
	Status  string      `json:"status"`
	Error   string      `json:"error,omitempty"`
	Message string      `json:"message"`
	Cause   []causeText `json:"cause,omitempty"`
}

type problemNumber struct {
	Error   string        `json:"error,omitempty"`
	Message string        `json:"message"`
	Status  int           `json:"status"`
	Cause   []causeNumber `json:"cause,omitempty"`
}

func (p problem) reply(style CodeStyle) reply {
	status := cmp.Or(p.httpStatus, p.status)
	detail := cmp.Or(p.detail, strings.TrimSuffix(p.message, "."))
	if style == CodeInt {
		body := problemNumber{Error: p.word, Message: p.message, Status: p.status}
		if code, err := strconv.Atoi(p.code); err == nil {
			body.Cause = []causeNumber{{Code: code, Description: detail}}
		}
		return jsonReply(status, body)
	}
	body := problemText{Status: strconv.Itoa(p.status), Error: p.word, Message: p.message}
	if p.code != "" && style != CodeNone {
		body.Cause = []causeText{{Code: p.code, Message: detail}}
	}
	return jsonReply(status, body)
}

// Documented for this API.

func invalidPayerToken(httpStatus int) problem {
	return problem{
		status: http.StatusUnauthorized, httpStatus: httpStatus,
		word: "unauthorized", message: "Invalid payer token.", code: "401003",
	}
}

func stillRunning() problem {
	const text = "The process has not been completed yet. Try again later."
	return problem{status: http.StatusConflict, word: "Conflict", message: text, code: "401001", detail: text}
}

func keyAlreadyUsed() problem {
	const text = "Idempotency key already used."
	return problem{
		status: http.StatusUnprocessableEntity, word: "Unprocessable entity",
		message: text, code: "422001", detail: text,
	}
}

func missingKey() problem {
	return badRequest("Missing header parameter", "")
}

func badRequest(message, code string) problem {
	return problem{status: http.StatusBadRequest, word: "bad_request", message: message, code: code}
}

func advancedPaymentNotFound() problem {
	return problem{
		status: http.StatusNotFound, word: "not_found",
		message: "Advanced payment not found.", code: "404002",
	}
}

func invalidSplitterID() problem { return badRequest("Invalid splitter id.", "400048") }

func badSearch() problem {
	return badRequest("Some parameters are invalid for search.", "400047")
}

// Our choice: undocumented, or of another API of the host.

func paymentNotFound() problem {
	return problem{status: http.StatusNotFound, word: "not_found", message: "Payment not found", code: "2000"}
}

func agreementNotFound() problem {
	return problem{status: http.StatusNotFound, word: "not_found", message: "Agreement not found."}
}

func noSuchResource() problem {
	return problem{status: http.StatusNotFound, word: "not_found", message: "Resource not found."}
}

func wrongMediaType() problem {
	return problem{
		status: http.StatusUnsupportedMediaType, word: "unsupported_media_type",
		message: "Content-Type must be application/json.",
	}
}

func bodyTooLarge() problem {
	return problem{
		status: http.StatusRequestEntityTooLarge, word: "request_entity_too_large",
		message: "Request body is too large.",
	}
}

// unauthorized is the 401 about the bearer, in one of the forms seen.
func unauthorized(shape Shape) reply {
	switch shape {
	case Shape401002:
		return problem{
			status: http.StatusUnauthorized, word: "unauthorized",
			message: "Invalid access token.", code: "401002",
		}.reply(CodeString)
	case ShapeMissing:
		return problem{
			status: http.StatusUnauthorized, word: "unauthorized",
			message: "Must provide your access_token to proceed", code: "5",
		}.reply(CodeInt)
	case ShapeLive:
		return problem{
			status:  http.StatusUnauthorized,
			message: "Unauthorized use of live credentials", code: "7",
		}.reply(CodeInt)
	case ShapeEdge:
		return reply{
			status: http.StatusUnauthorized,
			body:   []byte(`{"code":"unauthorized","message":"invalid access token"}`),
		}
	case Shape401000:
	}
	return problem{
		status: http.StatusUnauthorized, word: "unauthorized",
		message: "Invalid access token.", code: "401000",
	}.reply(CodeString)
}

// forbidden is the policy agent's answer to a barred application or account.
func forbidden(empty bool) reply {
	if empty {
		return reply{status: http.StatusForbidden}
	}
	return reply{
		status: http.StatusForbidden,
		body: []byte(`{"message":"At least one policy returned UNAUTHORIZED.",` +
			`"code":"PA_UNAUTHORIZED_RESULT_FROM_POLICIES","status":403,"blocked_by":"PolicyAgent"}`),
	}
}

// ordersError is the form of the Orders API, the successor of this one.
func ordersError(status int, code, message string) reply {
	type entry struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	return jsonReply(status, map[string][]entry{"errors": {{code, message}}})
}
