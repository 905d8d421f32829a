package store

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"
	"github.com/cockroachdb/pebble/v2"
	"github.com/google/uuid"
)

// The keys of the store. The first byte is the kind of the rest.
const (
	attemptPrefix   = 'a' // and the length of the event id, the event id, the owner: the attempt
	decisionPrefix  = 'd' // and the compact event id: the decision
	parkedPrefix    = 'k' // and the compact event id, of events that were parked: nothing
	positionPrefix  = 'p' // and the partition in four bytes: the position
	referencePrefix = 'r' // and a hash of the reference, the charge in two bytes, the compact event id: nothing
)

// tagsKey is the key of the tags, before all others.
const tagsKey = "\x00tags"

// A compact id begins with its kind.
const (
	idText = 't' // the id itself
	idUUID = 'u' // the 16 bytes of a canonical lower-case UUID
)

// appendID appends an event id in its compact form.
func appendID(to []byte, id string) []byte {
	if u, err := uuid.Parse(id); err == nil && len(id) == 36 && isLower(id) {
		return append(append(to, idUUID), u[:]...)
	}
	return append(append(to, idText), id...)
}

func isLower(id string) bool {
	for i := range len(id) {
		if id[i] >= 'A' && id[i] <= 'Z' {
			return false
		}
	}
	return true
}

// readID returns the event id of a compact one.
func readID(compact []byte) (string, error) {
	switch {
	case len(compact) == 1+len(uuid.UUID{}) && compact[0] == idUUID:
		return uuid.UUID(compact[1:]).String(), nil
	case len(compact) > 0 && compact[0] == idText:
		return string(compact[1:]), nil
	}
	return "", fmt.Errorf("%w: an event id of %d bytes", errDamaged, len(compact))
}

func decisionKey(to []byte, id string) []byte { return appendID(append(to, decisionPrefix), id) }

func parkedKey(to []byte, id string) []byte { return appendID(append(to, parkedPrefix), id) }

// hashBytes is the size of the hash of a reference in a key. Of a hundred million
// references, one lookup in forty finds an event of another reference, whose reference the
// reader compares anyway.
const hashBytes = 4

// appendReference appends what all keys of a reference begin with.
func appendReference(to []byte, reference string) []byte {
	var hash [8]byte
	binary.BigEndian.PutUint64(hash[:], xxhash.Sum64String(reference))
	return append(append(to, referencePrefix), hash[:hashBytes]...)
}

// chargeBytes is the size of the charge in a key.
const chargeBytes = 2

// appendIndex appends what all keys of an index begin with.
func appendIndex(to []byte, under Index) []byte {
	return binary.BigEndian.AppendUint16(appendReference(to, under.Reference), under.Charge)
}

func indexKey(to []byte, under Index, id string) []byte { return appendID(appendIndex(to, under), id) }

// readIndexed returns the charge and the event id of a key of the index.
func readIndexed(key []byte) (charge uint16, id string, err error) {
	const begin = 1 + hashBytes
	if len(key) < begin+chargeBytes {
		return 0, "", fmt.Errorf("%w: an index entry of %d bytes", errDamaged, len(key))
	}
	id, err = readID(key[begin+chargeBytes:])
	return binary.BigEndian.Uint16(key[begin:]), id, err
}

func attemptKey(to []byte, id, owner string) []byte {
	to = binary.AppendUvarint(append(to, attemptPrefix), uint64(len(id)))
	return append(append(to, id...), owner...)
}

func positionKey(partition int32) []byte {
	return binary.BigEndian.AppendUint32([]byte{positionPrefix}, uint32(partition)) //nolint:gosec // G115: no partition is negative
}

// bounds returns the options of an iterator over the keys with a prefix. Its last byte is
// not 0xff.
func bounds(prefix ...byte) *pebble.IterOptions {
	upper := slices.Clone(prefix)
	upper[len(upper)-1]++
	return &pebble.IterOptions{LowerBound: prefix, UpperBound: upper}
}

// splitKey returns the length of the part of a key that the Bloom filters have: of the
// index the reference, and of everything else the whole key.
func splitKey(key []byte) int {
	if len(key) > 0 && key[0] == referencePrefix {
		return min(len(key), 1+hashBytes)
	}
	return len(key)
}

// newComparer returns the order of the keys, which is that of their bytes.
func newComparer() *pebble.Comparer {
	c := *pebble.DefaultComparer
	c.Name = "payment-capture.ledger"
	c.Split = splitKey
	c.ImmediateSuccessor = nil // only range keys need it
	return &c
}
