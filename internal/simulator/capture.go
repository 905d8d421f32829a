package simulator

import (
	"cmp"
	"crypto/sha256"
	"net/http"
	"time"
)

// keyRecord is what is known of an idempotency key.
type keyRecord struct {
	fingerprint [sha256.Size]byte
	firstSeen   time.Time
	// inFlight and readyAt say how long the first request runs: until it is
	// answered, and never less than its latency, even when its client hangs up.
	inFlight bool
	readyAt  time.Time
	burned   bool
	payment  *payment
	body     []byte // as first answered
}

func (k *keyRecord) running(now time.Time) bool {
	return k != nil && (k.inFlight || now.Before(k.readyAt))
}

// serveCapture is POST /v1/advanced_payments.
func (s *Simulator) serveCapture(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.book.enter()
	s.mu.Unlock()
	var p *post
	var held *keyRecord
	left := false
	leave := func() {
		if left {
			return
		}
		left = true
		s.mu.Lock()
		defer s.mu.Unlock()
		if held != nil {
			held.inFlight = false
		}
		s.book.leave(p)
	}
	defer leave()

	incoming, err := readPost(r, s.scale)
	if err != nil {
		panic(http.ErrAbortHandler) // an incomplete request has no effect
	}
	s.mu.Lock()
	p = incoming
	p.try = s.book.arrive(p)
	answer, record := s.decide(p, time.Now())
	held = record
	s.mu.Unlock()
	answer.deliver(w, r, leave)
}

// decide decides the whole request at one instant; the rest is waiting. It returns the
// record of a charge made by this request, else nil. The caller holds the lock.
func (s *Simulator) decide(p *post, now time.Time) (plan, *keyRecord) {
	early := func(a reply) (plan, *keyRecord) { return plan{reply: a, wait: s.cfg.Latency}, nil }
	style := s.switches.CauseCodes
	if refused, ok := s.checkBearer(p.authorization); !ok {
		return early(refused)
	}
	if p.key == "" {
		return early(missingKey().reply(style))
	}
	if len(p.key) > maxKey {
		return early(badRequest("Invalid idempotency key.", "400058").reply(style))
	}
	if p.mediaType != "application/json" {
		return early(wrongMediaType().reply(style))
	}
	if p.tooLarge {
		return early(bodyTooLarge().reply(style))
	}
	record := s.keys[p.key]
	if record.running(now) {
		return early(stillRunning().reply(style))
	}
	if record != nil && s.cfg.KeyRetention > 0 && now.Sub(record.firstSeen) >= s.cfg.KeyRetention {
		delete(s.keys, p.key)
		record = nil
	}
	return s.handle(p, record, now)
}

// handle applies a fault to the request, or none.
func (s *Simulator) handle(p *post, record *keyRecord, now time.Time) (plan, *keyRecord) {
	about := subject{on: OnCapture, reference: p.request.reference, dice: p.key, try: p.try, capture: p}
	refusal := s.refusal(p)
	wanted := anyKind
	if record != nil || refusal != nil {
		wanted = onlyFault // there is nothing to charge, so no outcome applies
	}
	rule := s.match(about, wanted)
	if rule == nil || rule.Action.kind() == outcome {
		answer, charged := s.process(p, record, refusal, rule, now)
		wait := s.cfg.Latency
		if rule != nil {
			wait += rule.wait()
		}
		return s.sealed(plan{reply: answer, wait: wait}, charged, now)
	}
	var honest reply
	var charged *keyRecord
	switch {
	case rule.Charge || rule.Action.kind() == garble:
		var next *scriptedRule
		if record == nil && refusal == nil {
			next = s.match(about, outcomes)
		}
		honest, charged = s.process(p, record, refusal, next, now)
	case rule.Burn && record == nil:
		s.keys[p.key] = &keyRecord{fingerprint: p.fingerprint, firstSeen: now, burned: true}
	}
	answer := s.faultPlan(rule, honest)
	answer.wait += s.cfg.Latency
	return s.sealed(answer, charged, now)
}

// sealed marks the charge of this request as running for as long as its answer
// takes.
func (s *Simulator) sealed(p plan, charged *keyRecord, now time.Time) (plan, *keyRecord) {
	if charged != nil {
		charged.inFlight = true
		charged.readyAt = now.Add(p.wait)
		charged.payment.visibleAt = charged.readyAt.Add(s.cfg.SearchDelay)
	}
	return p, charged
}

// refusal is what is wrong with the request itself, or with its payer.
func (s *Simulator) refusal(p *post) *problem {
	if p.request.refusal != nil {
		return p.request.refusal
	}
	who, known := s.payers[p.request.payerToken]
	if (known && who.cancelled) || (!known && s.switches.UnknownPayers == "refuse") {
		refused := invalidPayerToken(cmp.Or(s.switches.CancelledTokenStatus, http.StatusUnauthorized))
		return &refused
	}
	return nil
}

// process handles a request as the API does when nothing fails: a known key is
// answered from memory, a new one is charged as rule, or the payer's account, has it.
// It returns the new record if it made one with a payment.
func (s *Simulator) process(
	p *post, record *keyRecord, refusal *problem, rule *scriptedRule, now time.Time,
) (reply, *keyRecord) {
	style := s.switches.CauseCodes
	switch {
	case record != nil && record.burned:
		return keyAlreadyUsed().reply(style), nil
	case record != nil && record.fingerprint != p.fingerprint:
		return s.keyConflict(), nil
	case record != nil:
		return s.replay(record, now), nil
	case refusal != nil:
		if s.switches.FailedKeys == "burned" {
			s.keys[p.key] = &keyRecord{fingerprint: p.fingerprint, firstSeen: now, burned: true}
		}
		return refusal.reply(style), nil
	}
	made := s.charge(p, rule, now)
	answer := s.created(made, rule)
	record = &keyRecord{fingerprint: p.fingerprint, firstSeen: now, payment: made, body: answer.body}
	s.keys[p.key] = record
	return answer, record
}

func (s *Simulator) keyConflict() reply {
	if s.switches.KeyConflict == "orders" {
		return ordersError(http.StatusConflict, "idempotency_key_already_used",
			"The idempotency key was already used with another request.")
	}
	return keyAlreadyUsed().reply(s.switches.CauseCodes)
}

// replay is the answer to a key that is done: 200, where the first was 201.
func (s *Simulator) replay(record *keyRecord, now time.Time) reply {
	if s.switches.Replay == "current" {
		return s.garbled(jsonReply(http.StatusOK, s.render(record.payment, asAnswer, now)))
	}
	return reply{status: http.StatusOK, body: record.body}
}

// checkBearer refuses a request whose access token is not good. The caller holds
// the lock.
func (s *Simulator) checkBearer(header string) (refused reply, ok bool) {
	token, err := bearer(header)
	if err != nil {
		return unauthorized(cmp.Or(s.switches.UnauthorizedShape, ShapeMissing)), false
	}
	if (s.token != "" && token != s.token) || s.tokenState == TokenExpired {
		return unauthorized(cmp.Or(s.switches.UnauthorizedShape, Shape401000)), false
	}
	if s.tokenState == TokenBlocked {
		return forbidden(s.switches.ForbiddenBody == "empty"), false
	}
	return reply{}, true
}
