// Package entry converts between attempts and decisions and the records of the
// ledger topic. schemas/ledger.proto describes the values.
package entry

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// ErrUnreadable reports that this version cannot read a record of the ledger: a
// newer version or another program wrote it. Such a record is never skipped, because
// it may be the decision on a charged event.
var ErrUnreadable = errors.New("a record of the ledger cannot be read")

// Kind is the kind of an entry of the ledger.
type Kind uint8

// The kinds of entry.
const (
	KindAttempt  Kind = 'a'
	KindDecision Kind = 'd'
)

const separator = '/'

// AttemptKey returns the key of the attempt of an owner on an event. An owner has no
// slash, while an event id may have some.
func AttemptKey(id, owner string) []byte {
	key := make([]byte, 0, 3+len(id)+len(owner))
	key = append(key, byte(KindAttempt), separator)
	key = append(key, id...)
	key = append(key, separator)
	return append(key, owner...)
}

// DecisionKey returns the key of the decision on an event.
func DecisionKey(id string) []byte {
	key := make([]byte, 0, 2+len(id))
	key = append(key, byte(KindDecision), separator)
	return append(key, id...)
}

// ParseKey parses the key of a record. A decision has no owner. The error is
// [ErrUnreadable].
func ParseKey(key []byte) (kind Kind, id, owner string, err error) {
	if len(key) > 2 && key[1] == separator {
		switch kind, rest := Kind(key[0]), key[2:]; kind {
		case KindDecision:
			return kind, string(rest), "", nil
		case KindAttempt:
			if i := bytes.LastIndexByte(rest, separator); i > 0 && i < len(rest)-1 {
				return kind, string(rest[:i]), string(rest[i+1:]), nil
			}
		}
	}
	return 0, "", "", fmt.Errorf("%w: its key is not that of an attempt or a decision", ErrUnreadable)
}

// Partition returns the partition of the ledger that has everything about an external
// reference, or about an event id if there is no reference: xxHash64, seed 0, of the
// text, modulo the number of partitions. It may never change, because attempts under a
// reference are ordered by their offsets in one partition.
func Partition(reference, id string, partitions int32) int32 {
	text := reference
	if text == "" {
		text = id
	}
	return int32(xxhash.Sum64String(text) % uint64(partitions)) //nolint:gosec // G115: there is at least one partition
}
