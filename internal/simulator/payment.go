package simulator

import (
	"cmp"
	"hash/fnv"
	"time"

	"github.com/shopspring/decimal"
)

// payer is a buyer with an agreement, as the simulator keeps it.
type payer struct {
	id        int64
	balance   *decimal.Decimal // nil is unlimited
	cancelled bool
	decline   string
}

// payment is an advanced payment: what one capture made.
type payment struct {
	id          int64
	key         string
	reference   string
	description string
	payerToken  string
	payerID     int64
	amountText  string
	amount      decimal.Decimal
	status      string
	children    []child
	created     time.Time
	updated     time.Time
	visibleAt   time.Time // to the searches
	reserveOnly bool
	then        *Then
	gets        int // reads by id, for then
	refunds     []refund
}

// child is an inner payment; an id of 0 is written null.
type child struct {
	id     int64
	status string
	detail string
	method string // account_money or visa
}

const (
	accountMoney = "account_money"
	visaCard     = "visa"
)

// paymentStore finds payments. It forgets none, some two kilobytes for each.
type paymentStore struct {
	all         []*payment
	byID        map[int64]*payment
	byChild     map[int64]*payment
	byReference map[string][]*payment
}

func newPaymentStore() paymentStore {
	return paymentStore{
		byID:        map[int64]*payment{},
		byChild:     map[int64]*payment{},
		byReference: map[string][]*payment{},
	}
}

func (store *paymentStore) add(p *payment) {
	store.all = append(store.all, p)
	store.byID[p.id] = p
	store.byReference[p.reference] = append(store.byReference[p.reference], p)
	for _, c := range p.children {
		if c.id != 0 {
			store.byChild[c.id] = p
		}
	}
}

// addPayer puts a scripted payer in force. The caller holds the lock.
func (s *Simulator) addPayer(p Payer) {
	balance, _ := parseBalance(p.Balance) // validate has seen it
	s.payers[p.Token] = &payer{
		id:        payerID(p.Token),
		balance:   balance,
		cancelled: p.State == "cancelled",
		decline:   p.Decline,
	}
	if p.Agreement != "" {
		s.agreements[p.Agreement] = p.Token
	}
}

// payerOf finds the payer of a valid request, or makes a fresh one.
func (s *Simulator) payerOf(token string) *payer {
	who, known := s.payers[token]
	if !known {
		who = &payer{id: payerID(token)}
		if s.defaultBalance != nil {
			who.balance = new(*s.defaultBalance)
		}
		s.payers[token] = who
	}
	return who
}

// payerID is the same for a token in every run.
func payerID(token string) int64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(token)) // a hash takes all
	return 700_000_000 + int64(h.Sum32()%100_000_000)
}

// decision is the result of a new capture.
type decision struct {
	status   string
	children []child
	moved    bool // the money
	then     *Then
}

func one(status, detail, method string) []child {
	return []child{{status: status, detail: detail, method: method}}
}

func rejection(detail string) decision {
	method := visaCard
	if detail == "insufficient_money" || detail == "insufficient_amount" {
		method = accountMoney
	}
	return decision{status: "rejected", children: one("rejected", detail, method)}
}

// decideCapture decides by rule, or by the payer's account if rule is nil.
func decideCapture(p *post, who *payer, rule *scriptedRule) decision {
	if rule != nil {
		if v, decided := decideByRule(rule); decided {
			return v
		}
	}
	switch {
	case who.decline != "":
		return rejection(who.decline)
	case who.balance != nil && who.balance.LessThan(p.request.amount):
		return rejection("insufficient_money")
	case p.request.reserveOnly:
		return decision{status: "authorized", children: one("authorized", "pending_capture", visaCard)}
	}
	return decision{status: "approved", children: one("approved", "accredited", visaCard), moved: true}
}

func decideByRule(rule *scriptedRule) (v decision, decided bool) {
	// Not all actions: for the other outcomes the account decides, and faults do not
	// reach this.
	//exhaustive:ignore
	switch rule.Action {
	case ActionApprove:
		return decision{status: "approved", children: one("approved", "accredited", visaCard), moved: true}, true
	case ActionDecline:
		return rejection(rule.StatusDetail), true
	case ActionInsufficientMoney:
		return rejection("insufficient_money"), true
	case ActionInProcess:
		detail := cmp.Or(rule.StatusDetail, "pending_contingency")
		return decision{status: "in_process", children: one("in_process", detail, visaCard), then: rule.Then}, true
	case ActionAuthorized:
		detail := cmp.Or(rule.StatusDetail, "pending_capture")
		return decision{status: "authorized", children: one("authorized", detail, visaCard)}, true
	case ActionTwoChildren:
		v = decision{status: "approved", children: one("rejected", "insufficient_money", accountMoney), moved: true}
		card := child{status: "approved", detail: "accredited", method: visaCard}
		if rule.StatusDetail != "" {
			v.status, v.moved = "rejected", false
			card.status, card.detail = "rejected", rule.StatusDetail
		}
		v.children = append(v.children, card)
		return v, true
	case ActionContradict:
		detail := cmp.Or(rule.StatusDetail, "accredited")
		return decision{status: rule.Top, children: one(rule.Child, detail, visaCard), moved: rule.Charge}, true
	default:
		return decision{}, false
	}
}

// charge makes the payment of a new capture and moves its money, or not. The
// caller holds the lock.
func (s *Simulator) charge(p *post, rule *scriptedRule, now time.Time) *payment {
	who := s.payerOf(p.request.payerToken)
	v := decideCapture(p, who, rule)
	n := int64(len(s.payments.all)) + 1
	made := &payment{
		id:          10_458_724 + n,
		key:         p.key,
		reference:   p.request.reference,
		description: p.request.description,
		payerToken:  p.request.payerToken,
		payerID:     who.id,
		amountText:  p.request.amountText,
		amount:      p.request.amount,
		status:      v.status,
		children:    v.children,
		created:     now,
		updated:     now,
		reserveOnly: v.status == "authorized",
		then:        v.then,
	}
	for i := range made.children {
		if made.children[i].method != accountMoney || made.children[i].status == "approved" {
			made.children[i].id = 3_870_106_238 + 2*n + int64(i)
		}
	}
	s.payments.add(made)
	if v.moved {
		s.moveMoney(made, now)
	}
	if v.status == "rejected" {
		s.book.rejected++
	}
	return made
}

// moveMoney takes the amount from the payer and records the charge.
func (s *Simulator) moveMoney(p *payment, now time.Time) {
	if who := s.payers[p.payerToken]; who != nil && who.balance != nil {
		*who.balance = who.balance.Sub(p.amount)
	}
	s.book.charge(p, now)
}

// countRead counts a read by id, which may be the one that shows the end of an
// in_process payment. The caller holds the lock.
func (s *Simulator) countRead(p *payment, now time.Time) {
	p.gets++
	if p.then == nil || p.gets < p.then.AfterGets {
		return
	}
	then := p.then
	p.then = nil
	detail := then.StatusDetail
	switch then.Status {
	case "approved":
		detail = cmp.Or(detail, "accredited")
		s.moveMoney(p, now)
	case "rejected":
		detail = cmp.Or(detail, "cc_rejected_other_reason")
		s.book.rejected++
	case "cancelled":
		detail = cmp.Or(detail, "expired")
	}
	p.status, p.updated = then.Status, now
	for i := range p.children {
		p.children[i].status, p.children[i].detail = then.Status, detail
	}
}
