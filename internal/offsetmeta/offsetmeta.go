// Package offsetmeta encodes the metadata of a committed offset of the input topic,
// by which the next owner of a partition knows which records above the offset are
// completed and does not handle them again. The service and verify read it.
//
// The text is base64 of
//
//	1 byte   version, 3
//	16 bytes id of the input topic: of another topic, offset and metadata are void
//	16 bytes id of the ledger topic, zero for none
//	8 bytes  the committed offset L: a tool may copy the text to another offset
//	8 bytes  a number of this commit alone
//	1 byte   run: 0 no run of invalid events, 1 a run, 2 a run that is held, 3 a
//	         run whose hold has ended without a valid event
//	1 byte   form: 0 nothing above L is completed, 1 bitmap, 2 deltas
//	         1: bit i (of byte i/8, lowest first) is set when L+i is completed
//	         2: uvarints: the span (from L+span on nothing is completed), then the
//	            distance of each open offset in it from the one before
//
// If there is a run, its uvarints stand before the form's bytes: the number of its
// records, and the distance from L to the offset below which records are counted; if
// the run is held also the Unix second in which the hold began, and the distance from
// L to the offset from which on records are held.
//
// Encode writes the shorter form. A bitmap is short when little above L is completed,
// deltas when little is open: one stuck capture under thousands of completed ones
// costs a few bytes.
package offsetmeta

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

const (
	version     = 3
	headerBytes = 1 + 16 + 16 + 8 + 8 + 1 + 1
	// Limit is the broker's default limit for the metadata of an offset
	// (offset.metadata.max.bytes), in UTF-16 units; base64 has one a byte.
	Limit = 4096

	formNone, formBitmap, formDeltas = 0, 1, 2

	runNone, runCounted, runHeld, runReleased = 0, 1, 2, 3

	// maxRunBytes is the most that a run takes: maxRunLength and maxRunSecond take
	// five bytes, maxSpan six.
	maxRunBytes  = 5 + 6 + 5 + 6
	maxRunLength = 1<<35 - 1
	maxRunSecond = 1<<35 - 1

	// maxSpan bounds distances, so that damaged metadata cannot take much memory.
	maxSpan = 1 << 40
)

// ErrInvalid means that a text is not metadata of this service.
var ErrInvalid = errors.New("not metadata of this service")

// TopicID is Kafka's id of a topic; a recreated topic has another one.
type TopicID = [16]byte

// Metadata is the decoded metadata of a committed offset.
type Metadata struct {
	Input, Ledger TopicID
	Token         uint64 // differs from commit to commit
	Run           Run
	Completed     Completed
}

// Completed is the set of completed offsets from a committed one on: those below End that
// are not Open.
type Completed struct {
	End  int64
	Open []int64 // ascending
}

// Has reports whether an offset at or above the committed one is completed.
func (c Completed) Has(offset int64) bool {
	if offset >= c.End {
		return false
	}
	_, open := slices.BinarySearch(c.Open, offset)
	return !open
}

// Count returns how many offsets above a committed one are completed.
func (c Completed) Count(committed int64) int64 {
	return max(0, c.End-committed-int64(len(c.Open)))
}

// Run is the state of a run of invalid events that the next owner of a partition
// continues.
type Run struct {
	Length    int64 // suspicious records in a row, without a good one between
	CountedTo int64 // records below this offset are counted
	HeldSince int64 // when the hold began, in Unix seconds; 0: nothing is held
	HeldFrom  int64 // suspicious records below this offset are not held
	Released  bool  // the hold ended without a good record: the rest of the run is not held
}

// MapLimit returns how many bytes of completed offsets fit under [Limit].
func MapLimit() int {
	return base64.RawStdEncoding.DecodedLen(Limit) - headerBytes - maxRunBytes
}

// Encode returns the metadata text for a committed offset.
func (m Metadata) Encode(offset int64) string {
	form, payload := m.Completed.encode(offset)
	run, counts := m.Run.encode(offset)
	buf := make([]byte, 0, headerBytes+len(counts)+len(payload))
	buf = append(buf, version)
	buf = append(buf, m.Input[:]...)
	buf = append(buf, m.Ledger[:]...)
	buf = binary.BigEndian.AppendUint64(buf, uint64(offset)) //nolint:gosec // G115: not negative
	buf = binary.BigEndian.AppendUint64(buf, m.Token)
	buf = append(buf, run, form)
	buf = append(buf, counts...)
	buf = append(buf, payload...)
	return base64.RawStdEncoding.EncodeToString(buf)
}

func (r Run) encode(committed int64) (kind byte, counts []byte) {
	if r.Length == 0 {
		return runNone, nil
	}
	// Offsets below the committed one need no distance: they are not read again.
	above := func(offset int64) uint64 { return uint64(min(max(offset-committed, 0), maxSpan)) }
	counts = binary.AppendUvarint(counts, uint64(min(r.Length, maxRunLength))) //nolint:gosec // G115: not negative
	counts = binary.AppendUvarint(counts, above(r.CountedTo))
	switch {
	case r.HeldSince > 0:
		counts = binary.AppendUvarint(counts, uint64(min(r.HeldSince, maxRunSecond)))
		return runHeld, binary.AppendUvarint(counts, above(r.HeldFrom))
	case r.Released:
		return runReleased, counts
	}
	return runCounted, counts
}

func (c Completed) encode(committed int64) (form byte, payload []byte) {
	if c.End <= committed {
		return formNone, nil
	}
	deltas := binary.AppendUvarint(nil, uint64(c.End-committed)) //nolint:gosec // G115: End is above the offset
	before := committed
	for _, o := range c.Open {
		deltas = binary.AppendUvarint(deltas, uint64(o-before)) //nolint:gosec // G115: ascending from the offset
		before = o
	}
	span := c.End - committed
	if (span+7)/8 >= int64(len(deltas)) {
		return formDeltas, deltas
	}
	bits := make([]byte, (span+7)/8)
	for i := range span {
		bits[i/8] |= 1 << (i % 8)
	}
	for _, o := range c.Open {
		i := o - committed
		bits[i/8] &^= 1 << (i % 8)
	}
	return formBitmap, bits
}

// Decode reads the metadata text of a committed offset. Its error is an [ErrInvalid].
func Decode(text string, offset int64) (Metadata, error) {
	buf, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return Metadata{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(buf) < headerBytes {
		return Metadata{}, fmt.Errorf("%w: %d bytes", ErrInvalid, len(buf))
	}
	if buf[0] != version {
		return Metadata{}, fmt.Errorf("%w: version %d", ErrInvalid, buf[0])
	}
	if at := binary.BigEndian.Uint64(buf[33:41]); at != uint64(offset) { //nolint:gosec // G115: not negative
		return Metadata{}, fmt.Errorf("%w: it belongs to offset %d", ErrInvalid, at)
	}
	m := Metadata{Input: TopicID(buf[1:17]), Ledger: TopicID(buf[17:33]), Token: binary.BigEndian.Uint64(buf[41:49])}
	payload := buf[headerBytes:]
	if m.Run, payload, err = decodeRun(buf[headerBytes-2], payload, offset); err != nil {
		return Metadata{}, err
	}
	switch buf[headerBytes-1] {
	case formNone:
		m.Completed = Completed{End: offset}
	case formBitmap:
		m.Completed = decodeBitmap(payload, offset)
	case formDeltas:
		m.Completed, err = decodeDeltas(payload, offset)
	default:
		err = fmt.Errorf("%w: form %d", ErrInvalid, buf[headerBytes-1])
	}
	return m, err
}

// decodeRun reads a run and returns what follows it.
func decodeRun(kind byte, payload []byte, committed int64) (r Run, rest []byte, err error) {
	if kind == runNone {
		return r, payload, nil
	}
	next := func(least, most int64) (v int64) {
		u, n := binary.Uvarint(payload)
		if n <= 0 || u > uint64(most) || u < uint64(least) { //nolint:gosec // G115: not negative
			err = fmt.Errorf("%w: bad run", ErrInvalid)
			return 0
		}
		payload = payload[n:]
		return int64(u) //nolint:gosec // G115: at most most
	}
	r.Length, r.CountedTo = next(1, maxRunLength), committed+next(0, maxSpan)
	switch kind {
	case runCounted:
	case runHeld:
		r.HeldSince, r.HeldFrom = next(1, maxRunSecond), committed+next(0, maxSpan)
	case runReleased:
		r.Released = true
	default:
		err = fmt.Errorf("%w: run %d", ErrInvalid, kind)
	}
	return r, payload, err
}

func decodeBitmap(bits []byte, committed int64) Completed {
	c := Completed{End: committed}
	for i := range int64(len(bits)) * 8 {
		if bits[i/8]&(1<<(i%8)) != 0 {
			c.End = committed + i + 1
		}
	}
	for i := range c.End - committed {
		if bits[i/8]&(1<<(i%8)) == 0 {
			c.Open = append(c.Open, committed+i)
		}
	}
	return c
}

func decodeDeltas(payload []byte, committed int64) (Completed, error) {
	next := func() (int64, error) {
		v, n := binary.Uvarint(payload)
		if n <= 0 || v > maxSpan {
			return 0, fmt.Errorf("%w: bad delta", ErrInvalid)
		}
		payload = payload[n:]
		return int64(v), nil
	}
	span, err := next()
	if err != nil {
		return Completed{}, err
	}
	c := Completed{End: committed + span}
	for before, first := committed, true; len(payload) > 0; first = false {
		d, err := next()
		if err != nil {
			return Completed{}, err
		}
		before += d
		if before >= c.End || (d == 0 && !first) {
			return Completed{}, fmt.Errorf("%w: deltas do not ascend within the span", ErrInvalid)
		}
		c.Open = append(c.Open, before)
	}
	return c, nil
}
