package simulator

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/shopspring/decimal"
)

// refund is money paid back; the payment shows it from effectiveAt on.
type refund struct {
	amount      decimal.Decimal
	effectiveAt time.Time
}

type refundRecord struct {
	fingerprint [sha256.Size]byte
	body        []byte
}

type refundJSON struct {
	ID          int64           `json:"id"`
	PaymentID   int64           `json:"payment_id"`
	Amount      json.RawMessage `json:"amount"`
	Source      refundSource    `json:"source"`
	DateCreated string          `json:"date_created"`
	Status      string          `json:"status"`
}

type refundSource struct {
	ID   json.RawMessage `json:"id"`
	Name string          `json:"name"`
	Type string          `json:"type"`
}

// refundedAt returns the amount that is paid back by now.
func (p *payment) refundedAt(now time.Time) decimal.Decimal {
	sum := decimal.Zero
	for _, r := range p.refunds {
		if !now.Before(r.effectiveAt) {
			sum = sum.Add(r.amount)
		}
	}
	return sum
}

// statusAt returns the payment's status and, if money was paid back, the status_detail
// of its child.
func (p *payment) statusAt(now time.Time) (status, refunded string) {
	back := p.refundedAt(now)
	switch {
	case !back.IsPositive():
		return p.status, ""
	case back.LessThan(p.amount):
		return "partially_refunded", "partially_refunded"
	}
	return "refunded", "refunded"
}

// createRefund is POST /v1/advanced_payments/{id}/refunds. Keys of refunds are
// apart from those of captures; what their scope really is, is undocumented.
func (s *Simulator) createRefund(r *http.Request, now time.Time) plan {
	body, tooLarge, err := readBody(r)
	if err != nil {
		return plan{delivery: deliverNever}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	style := s.switches.CauseCodes
	key := r.Header.Get("X-Idempotency-Key")
	fingerprint := sha256.Sum256([]byte(r.URL.Path + "\n" + string(body)))
	if key == "" {
		return plan{reply: missingKey().reply(style)}
	}
	if len(key) > maxKey {
		return plan{reply: badRequest("Invalid idempotency key.", "400058").reply(style)}
	}
	if tooLarge {
		return plan{reply: bodyTooLarge().reply(style)}
	}
	if done := s.refundKeys[key]; done != nil {
		if done.fingerprint != fingerprint {
			return plan{reply: s.keyConflict()}
		}
		return plan{reply: reply{status: http.StatusOK, body: done.body}}
	}
	answer, wrong := s.refund(r.PathValue("id"), body, now)
	if wrong != nil {
		return plan{reply: wrong.reply(style)}
	}
	s.refundKeys[key] = &refundRecord{fingerprint: fingerprint, body: answer.body}
	return plan{reply: answer}
}

func (s *Simulator) refund(id string, body []byte, now time.Time) (reply, *problem) {
	p, wrong := s.findAdvanced(id)
	if wrong != nil {
		return reply{}, wrong
	}
	left := p.amount
	for _, earlier := range p.refunds {
		left = left.Sub(earlier.amount)
	}
	amount, text, ok := refundAmount(body, left)
	if !ok || p.status != "approved" || amount.GreaterThan(left) || !amount.IsPositive() ||
		-amount.Exponent() > s.scale {
		return reply{}, new(badRequest("Invalid refund.", "400018"))
	}
	p.refunds = append(p.refunds, refund{amount: amount, effectiveAt: now.Add(s.cfg.RefundDelay)})
	p.updated = now
	s.book.refunds = s.book.refunds.add(amount)
	if who := s.payers[p.payerToken]; who != nil && who.balance != nil {
		*who.balance = who.balance.Add(amount)
	}
	status := "approved"
	if s.cfg.RefundDelay > 0 {
		status = "in_process"
	}
	return jsonReply(http.StatusOK, []refundJSON{{
		ID:          1_242_469_925 + int64(s.book.refunds.Count),
		PaymentID:   p.lastChild(),
		Amount:      json.RawMessage(text),
		Source:      refundSource{ID: json.RawMessage(collector), Name: "Seller", Type: "collector"},
		DateCreated: dateText(now),
		Status:      status,
	}}), nil
}

// refundAmount reads the body: nothing, or an amount of 0, is all that is left.
func refundAmount(body []byte, left decimal.Decimal) (amount decimal.Decimal, text string, ok bool) {
	if len(bytes.TrimSpace(body)) == 0 {
		return left, left.String(), true
	}
	o, ok := parseObject(body)
	if !ok {
		return decimal.Zero, "", false
	}
	if !o.present("amount") {
		return left, left.String(), true
	}
	text = string(o["amount"])
	amount, err := parseAmount(text)
	if err != nil {
		return decimal.Zero, "", false
	}
	if amount.IsZero() {
		return left, left.String(), true
	}
	return amount, text, true
}

func (p *payment) lastChild() int64 { return p.children[len(p.children)-1].id }

// cancelAgreement is DELETE /v2/wallet_connect/agreements/{id}: from then on the
// payer's token is answered 401003. The answer's body is our choice.
func (s *Simulator) cancelAgreement(r *http.Request, _ time.Time) plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := r.PathValue("id")
	token, known := s.agreements[id]
	if !known {
		return plan{reply: agreementNotFound().reply(s.switches.CauseCodes)}
	}
	if who := s.payers[token]; who != nil {
		who.cancelled = true
	}
	return plan{reply: jsonReply(http.StatusOK, map[string]string{"agreement_id": id, "status": "cancelled"})}
}

// findAdvanced finds a payment by the id of a path.
func (s *Simulator) findAdvanced(text string) (*payment, *problem) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, new(invalidSplitterID())
	}
	p := s.payments.byID[id]
	if p == nil {
		return nil, new(advancedPaymentNotFound())
	}
	return p, nil
}
