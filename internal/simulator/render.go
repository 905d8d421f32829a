package simulator

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/shopspring/decimal"
)

// The bodies below have the fields of the guide's samples, in their order.

type walletJSON struct {
	TransactionAmount json.RawMessage `json:"transaction_amount"`
	Description       string          `json:"description"`
	ExternalReference string          `json:"external_reference,omitempty"`
}

type childJSON struct {
	ID                *int64          `json:"id"`
	Status            string          `json:"status,omitempty"`
	StatusDetail      string          `json:"status_detail"`
	PaymentTypeID     string          `json:"payment_type_id"`
	PaymentMethodID   string          `json:"payment_method_id"`
	TransactionAmount json.RawMessage `json:"transaction_amount"`
	Installments      int             `json:"installments,omitempty"`
	IssuerID          int             `json:"issuer_id,omitempty"`
	Description       string          `json:"description"`
	Capture           bool            `json:"capture"`
	ExternalReference string          `json:"external_reference,omitempty"`
}

type payerJSON struct {
	ID int64 `json:"id"`
}

type collectorJSON struct {
	CollectorID string `json:"collector_id"`
}

type advancedJSON struct {
	ID              json.RawMessage `json:"id"`
	Status          string          `json:"status,omitempty"`
	WalletPayment   walletJSON      `json:"wallet_payment"`
	Payments        []childJSON     `json:"payments"`
	Disbursements   any             `json:"disbursements"`
	Payer           payerJSON       `json:"payer"`
	SiteID          string          `json:"site_id"`
	BinaryMode      bool            `json:"binary_mode"`
	Capture         *bool           `json:"capture,omitempty"`
	DateCreated     string          `json:"date_created,omitempty"`
	DateLastUpdated string          `json:"date_last_updated,omitempty"`
}

// collector is the seller.
const collector = "446566691"

// accountZone is the offset of the samples' dates; searches count days in it too.
// (One zone for all sites is our choice.)
func accountZone() *time.Location { return time.FixedZone("", -4*60*60) }

func dateText(t time.Time) string {
	return t.In(accountZone()).Format("2006-01-02T15:04:05.000-07:00")
}

// use is the purpose of a body, because the same payment is rendered in several ways.
type use int

const (
	asAnswer use = iota // to the POST: rejections lack reference and dates
	asRead              // GET by id and search: all there is; disbursements is an object
)

// render shows a payment. The caller holds the lock.
func (s *Simulator) render(p *payment, how use, now time.Time) advancedJSON {
	status, refunded := p.statusAt(now)
	full := how == asRead || p.status != "rejected"
	body := advancedJSON{
		ID:     strconv.AppendInt(nil, p.id, 10),
		Status: status,
		WalletPayment: walletJSON{
			TransactionAmount: json.RawMessage(p.amountText),
			Description:       p.description,
		},
		Disbursements: []collectorJSON{{collector}},
		Payer:         payerJSON{ID: p.payerID},
		SiteID:        s.cfg.Site,
		BinaryMode:    true,
	}
	if s.switches.IDs == "string" {
		body.ID = strconv.AppendQuote(nil, strconv.FormatInt(p.id, 10))
	}
	if how == asRead {
		body.Disbursements = collectorJSON{collector}
	}
	if full {
		body.WalletPayment.ExternalReference = p.reference
		body.DateCreated, body.DateLastUpdated = dateText(p.created), dateText(p.updated)
	}
	if p.reserveOnly {
		body.Capture = new(bool)
	}
	for _, c := range p.children {
		body.Payments = append(body.Payments, p.renderChild(c, full, refunded))
	}
	return body
}

func (p *payment) renderChild(c child, full bool, refunded string) childJSON {
	body := childJSON{
		Status:            c.status,
		StatusDetail:      c.detail,
		PaymentTypeID:     typeOf(c.method),
		PaymentMethodID:   c.method,
		TransactionAmount: json.RawMessage(p.amountText),
		Description:       p.description,
		Capture:           !p.reserveOnly,
	}
	if c.id != 0 {
		body.ID = &c.id
		body.Installments = 1
	}
	if c.status == "rejected" && c.method == visaCard {
		body.IssuerID = 25
	}
	if full {
		body.ExternalReference = p.reference
	}
	if c.status == "approved" && refunded != "" {
		body.StatusDetail = refunded
		if refunded == "refunded" {
			body.Status = refunded
		}
	}
	return body
}

func typeOf(method string) string {
	if method == accountMoney {
		return accountMoney
	}
	return "credit_card"
}

// created is the answer to the POST that made the payment: 201, with the lie of
// the rule if it wants one.
func (s *Simulator) created(p *payment, rule *scriptedRule) reply {
	body := s.render(p, asAnswer, p.created)
	if rule != nil {
		switch {
		case rule.Action == ActionMissingStatus:
			body.Status = ""
		case rule.Action == ActionWrongEcho && rule.Echo == "amount":
			more := json.RawMessage(p.amount.Add(decimal.New(1, 0)).String())
			body.WalletPayment.TransactionAmount = more
			for i := range body.Payments {
				body.Payments[i].TransactionAmount = more
			}
		case rule.Action == ActionWrongEcho && rule.Echo == "reference":
			body.WalletPayment.ExternalReference = p.reference + "x"
			for i := range body.Payments {
				body.Payments[i].ExternalReference = p.reference + "x"
			}
		case rule.Action == ActionWrongEcho && rule.Echo == "site":
			body.SiteID = "MLB"
			if s.cfg.Site == "MLB" {
				body.SiteID = "MLA"
			}
		}
	}
	return s.garbled(jsonReply(http.StatusCreated, body))
}

// garbled writes a trailing comma, as some samples of the guide have it, if the switch
// is set.
func (s *Simulator) garbled(a reply) reply {
	if s.switches.JSON == "malformed" {
		a.body = append(bytes.TrimSuffix(a.body, []byte("}")), ",}"...)
	}
	return a
}

// innerJSON is an inner payment as the Payments API shows it.
type innerJSON struct {
	ID                int64           `json:"id"`
	Status            string          `json:"status"`
	StatusDetail      string          `json:"status_detail"`
	DateCreated       string          `json:"date_created"`
	DateApproved      *string         `json:"date_approved"`
	DateLastUpdated   string          `json:"date_last_updated"`
	PaymentTypeID     string          `json:"payment_type_id"`
	PaymentMethodID   string          `json:"payment_method_id"`
	TransactionAmount json.RawMessage `json:"transaction_amount"`
	RefundedAmount    json.RawMessage `json:"transaction_amount_refunded"`
	Installments      int             `json:"installments"`
	Description       string          `json:"description"`
	ExternalReference string          `json:"external_reference"`
	Captured          bool            `json:"captured"`
	CollectorID       json.RawMessage `json:"collector_id"`
	Payer             payerJSON       `json:"payer"`
}

func (p *payment) renderInner(c child, now time.Time) innerJSON {
	_, refunded := p.statusAt(now)
	shown := p.renderChild(c, true, refunded)
	body := innerJSON{
		ID:                c.id,
		Status:            shown.Status,
		StatusDetail:      shown.StatusDetail,
		DateCreated:       dateText(p.created),
		DateLastUpdated:   dateText(p.updated),
		PaymentTypeID:     shown.PaymentTypeID,
		PaymentMethodID:   shown.PaymentMethodID,
		TransactionAmount: shown.TransactionAmount,
		RefundedAmount:    json.RawMessage(p.refundedAt(now).String()),
		Installments:      cmp.Or(shown.Installments, 1),
		Description:       p.description,
		ExternalReference: p.reference,
		Captured:          shown.Capture,
		CollectorID:       json.RawMessage(collector),
		Payer:             payerJSON{ID: p.payerID},
	}
	if c.status == "approved" {
		body.DateApproved = new(dateText(p.updated))
	}
	return body
}
