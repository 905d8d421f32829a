package capture

import (
	"crypto/sha256"

	lru "github.com/hashicorp/golang-lru/v2"
)

// seen is what this process has learned from answers that decided: whose each
// payment is, and which payer each token is of. It bounds what a search may
// attribute to an event, and forgets the oldest.
type seen struct {
	owners *lru.Cache[string, string]            // payment id to event id
	payers *lru.Cache[[sha256.Size]byte, string] // digest of the payer token to payer id
}

// seenSize bounds each of the two. An entry takes some 200 bytes.
const seenSize = 1 << 14

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

// claim notes that a payment is an event's, unless it is another's.
func (s *seen) claim(paymentID, eventID string) (owner string, ours bool) {
	if paymentID == "" {
		return "", true
	}
	owner, known, _ := s.owners.PeekOrAdd(paymentID, eventID)
	return owner, !known || owner == eventID
}

// payerOf notes which payer a token is of.
func (s *seen) payerOf(payer [sha256.Size]byte, id string) {
	if id != "" {
		s.payers.Add(payer, id)
	}
}

func (s *seen) owner(paymentID string) (eventID string, known bool) { return s.owners.Get(paymentID) }

func (s *seen) payerID(payer [sha256.Size]byte) (id string, known bool) { return s.payers.Get(payer) }
