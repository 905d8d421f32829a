package capture

import (
	"crypto/sha256"

	lru "github.com/hashicorp/golang-lru/v2"

	"payment-capture/internal/mercadopago"
)

// seen is what this process has learned from answers that decided: whose each
// payment is, and which payer each token is of. It bounds what a search may
// attribute to an event, and forgets the oldest.
type seen struct {
	owners *lru.Cache[string, string]            // payment id to event id
	payers *lru.Cache[[sha256.Size]byte, string] // digest of the payer token to payer id
}

// seenSize bounds each of the two. An entry takes some 200 bytes.
const seenSize = 1 << 16

func newSeen() *seen {
	owners, err := lru.New[string, string](seenSize)
	if err != nil {
		panic(err) // only a size below one is an error
	}
	payers, err := lru.New[[sha256.Size]byte, string](seenSize)
	if err != nil {
		panic(err)
	}
	return &seen{owners: owners, payers: payers}
}

// payment notes whose a payment is.
func (s *seen) payment(eventID string, payer [sha256.Size]byte, p *mercadopago.Payment) {
	if p.ID != "" {
		s.owners.Add(p.ID, eventID)
	}
	if p.PayerID != "" {
		s.payers.Add(payer, p.PayerID)
	}
}

func (s *seen) owner(paymentID string) (eventID string, known bool) { return s.owners.Get(paymentID) }

func (s *seen) payerID(payer [sha256.Size]byte) (id string, known bool) { return s.payers.Get(payer) }
