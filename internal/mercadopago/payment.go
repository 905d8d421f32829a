package mercadopago

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/money"
)

// maxTransactions bounds how many children of a payment are kept. Every sample of
// a wallet payment has one.
const maxTransactions = 32

// payment returns the payment in the answer, or nil.
func (x *exchange) payment() *Payment {
	b := &x.body
	if b.ID == "" && len(b.Payments) == 0 {
		return nil
	}
	p := &Payment{
		ID:        x.scrub.word(string(b.ID)),
		Status:    x.scrub.word(b.Status),
		PayerID:   x.scrub.word(b.Payer.ID),
		CreatedAt: parseTime(b.Created),
		UpdatedAt: parseTime(b.Updated),
		Replayed:  !x.read && x.status == http.StatusOK,
	}
	kept := b.Payments[:min(len(b.Payments), maxTransactions)]
	p.Transactions = slices.Grow(p.Transactions, len(kept))
	for _, c := range kept {
		amount := c.Amount
		if a, err := money.Parse(c.Amount, x.request.Amount.Currency()); err == nil {
			amount = a.String()
		}
		p.Transactions = append(p.Transactions, event.Transaction{
			ID:            x.scrub.word(c.ID),
			Status:        x.scrub.word(c.Status),
			StatusDetail:  x.scrub.word(c.Detail),
			PaymentMethod: x.scrub.word(c.Method),
			Amount:        x.scrub.word(amount),
		})
	}
	return p
}

// parseTime parses the API's dates, ISO 8601 with milliseconds and an offset. It
// returns the zero time for all else, because no date decides anything.
func parseTime(text string) time.Time {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	return time.Time{}
}

// contradiction returns how the payment in the answer contradicts itself or the
// request, or "". A rejected payment with another amount is no more ours than an
// approved one.
func (x *exchange) contradiction() string {
	if why := x.wrongEcho(); why != "" {
		return why
	}
	b := &x.body
	if b.problem.present {
		return "it has a payment and an error in one"
	}
	switch b.Status {
	case "approved":
		return x.wrongApproval()
	case "rejected":
		for _, c := range b.Payments {
			// A child without a status shows nothing; any other word may be money taken,
			// or about to be.
			if c.Status != "rejected" && c.Status != "cancelled" && c.Status != "canceled" && c.Status != "" {
				return fmt.Sprintf("it is rejected, but a payment in it is %q", c.Status)
			}
		}
	}
	return ""
}

// wrongEcho returns how the parts of the request in the answer differ from the
// request, or "". Absent and null are no difference: the documented rejections have
// no reference, and the top-level one of wallet payments is null.
func (x *exchange) wrongEcho() string {
	b, want := &x.body, &x.request
	for r := range b.references() {
		if r != "" && r != want.ExternalReference {
			return fmt.Sprintf("its external_reference is %q, not %q", r, want.ExternalReference)
		}
	}
	if site, ok := money.SiteOf(want.Amount.Currency()); b.Site != "" && (!ok || b.Site != site.ID) {
		return fmt.Sprintf("its site_id is %q, not %q", b.Site, site.ID)
	}
	if b.Wallet.Amount == "" {
		return ""
	}
	if a, err := money.Parse(b.Wallet.Amount, want.Amount.Currency()); err != nil || a != want.Amount {
		return fmt.Sprintf("its transaction_amount is %s, not %s", b.Wallet.Amount, want.Amount)
	}
	return ""
}

// wrongApproval returns why an approved payment was not paid in full, or "". Its
// approved children have to sum up to the amount less the discount in the answer
// (page wallet-connect/process-payments-with-discounts: 550, discount 50, child
// 500), and no other child may be in a state in which money can still move.
func (x *exchange) wrongApproval() string {
	b, amount := &x.body, x.request.Amount
	if b.ID == "" {
		return "it is approved, but has no usable id"
	}
	discount, ok := minorUnits(b.Wallet.Discount.Amount, amount.Currency())
	if !ok || discount >= amount.Minor() {
		return fmt.Sprintf("its discount is %s of %s", b.Wallet.Discount.Amount, amount)
	}
	var sum int64
	approved := 0
	for _, c := range b.Payments {
		switch c.Status {
		case "approved":
			part, ok := minorUnits(c.Amount, amount.Currency())
			if !ok || c.Amount == "" {
				return fmt.Sprintf("the amount of an approved payment in it is %q", c.Amount)
			}
			approved++
			// This cannot overflow: maxBody bounds the children to some thousands of at
			// most 10^14 each.
			sum += part
		case "rejected", "cancelled", "canceled":
			// The API tries account money first, then the buyer's card: this may be the
			// first of the two.
		default:
			return fmt.Sprintf("it is approved, but a payment in it is %q", c.Status)
		}
	}
	if approved == 0 {
		return "it is approved, but no payment in it is"
	}
	if sum != amount.Minor()-discount {
		return fmt.Sprintf("its approved payments sum up to %d in the smallest unit, not %d", sum, amount.Minor()-discount)
	}
	return ""
}

// minorUnits parses an amount that may be absent or zero.
func minorUnits(text string, c money.Currency) (int64, bool) {
	if text == "" {
		return 0, true
	}
	a, err := money.Parse(text, c)
	if err == nil {
		return a.Minor(), true
	}
	if errors.Is(err, money.ErrPositive) && !strings.HasPrefix(text, "-") {
		return 0, true
	}
	return 0, false
}
