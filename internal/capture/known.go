package capture

import (
	"crypto/sha256"

	lru "github.com/hashicorp/golang-lru/v2"
)

// known is what this process learned from answers that decided: which event each
// payment belongs to, and which payer each token. It limits what a lookup may
// attribute to an event, and forgets the oldest.
type known struct {
	owners *lru.Cache[string, string]            // payment id to event id
	payers *lru.Cache[[sha256.Size]byte, string] // digest of the payer token to payer id
}

// knownSize bounds each of the two. An entry takes some 200 bytes.
const knownSize = 1 << 14

func newKnown() *known {
	owners, err := lru.New[string, string](knownSize)
	if err != nil {
		panic(err) // only a size below one is an error
	}
	payers, err := lru.New[[sha256.Size]byte, string](knownSize)
	if err != nil {
		panic(err)
	}
	return &known{owners: owners, payers: payers}
}

// claim assigns a payment to an event, unless it is another event's.
func (k *known) claim(paymentID, eventID string) (owner string, ours bool) {
	if paymentID == "" {
		return "", true
	}
	owner, taken, _ := k.owners.PeekOrAdd(paymentID, eventID)
	return owner, !taken || owner == eventID
}

// addPayer adds which payer a token belongs to.
func (k *known) addPayer(payer [sha256.Size]byte, id string) {
	if id != "" {
		k.payers.Add(payer, id)
	}
}

// contradicts reports whether a payment is known to be another event's or another
// payer's.
func (k *known) contradicts(paymentID, payerID, eventID string, payer [sha256.Size]byte) bool {
	if owner, taken := k.owners.Get(paymentID); taken && owner != eventID {
		return true
	}
	id, found := k.payers.Get(payer)
	return found && payerID != "" && payerID != id
}
