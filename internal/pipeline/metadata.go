package pipeline

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// What the metadata of a committed offset L says: which offsets at and above L
// are settled, so that a restart, or another owner, does not handle them
// again. It is base64 of
//
//	1 byte   version, 2
//	16 bytes id of the input topic: of another topic, offset and map are void
//	16 bytes id of the ledger topic, zero for none
//	8 bytes  a number of this commit alone
//	1 byte   run: 0 no run of invalid events, 1 a run, 2 a run that is held, 3 a
//	         run whose hold has ended without a valid event
//	1 byte   form: 0 nothing above L is settled, 1 bitmap, 2 deltas
//	         1: bit i (of byte i/8, lowest first) is set when L+i is settled
//	         2: uvarints: the span (all from L+span on is unsettled), then for
//	            each unsettled offset in it its distance from the one before
//
// Before the form's bytes, if there is a run, stand uvarints: how many records it
// has, and the distance from L to the offset up to which they are counted; if the run
// is held also the Unix second in which that began, and the distance from L to the
// offset from which on records are held.
//
// The shorter form is written. A bitmap is short when little is settled above
// L, deltas when little is not: one stuck capture under thousands of settled
// ones costs a few bytes.
const (
	metadataVersion = 2
	metadataHeader  = 1 + 16 + 16 + 8 + 1 + 1
	// MetadataLimit is the broker's default limit for the metadata of an
	// offset (offset.metadata.max.bytes), in UTF-16 units; base64 has one a
	// byte.
	MetadataLimit = 4096

	formNone, formBitmap, formDeltas = 0, 1, 2

	runNone, runCounted, runHeld, runSpent = 0, 1, 2, 3

	// maxRunBytes is the most that a run takes: maxRunLength and maxRunSecond take
	// five bytes, maxSpan six.
	maxRunBytes  = 5 + 6 + 5 + 6
	maxRunLength = 1<<35 - 1
	maxRunSecond = 1<<35 - 1

	// maxSpan bounds what is read, so that damaged metadata cannot ask for
	// much memory.
	maxSpan = 1 << 40
)

// topicID is Kafka's id of a topic; a topic that is deleted and made anew has
// another one.
type topicID = [16]byte

// settledMap says which offsets from a committed one on are settled: those
// below end that are not in unsettled.
type settledMap struct {
	end       int64
	unsettled []int64 // ascending
}

func (m settledMap) has(offset int64) bool {
	if offset >= m.end {
		return false
	}
	_, found := slices.BinarySearch(m.unsettled, offset)
	return !found
}

// metadata is the decoded form.
type metadata struct {
	topic   topicID
	ledger  topicID
	token   uint64
	run     runState
	settled settledMap
}

// payloadLimit gives how many bytes of map fit under MetadataLimit.
func payloadLimit() int {
	return base64.RawStdEncoding.DecodedLen(MetadataLimit) - metadataHeader - maxRunBytes
}

// encode gives the metadata text for the committed offset low.
func (m metadata) encode(low int64) string {
	form, payload := m.settled.encode(low)
	run, counts := m.run.encode(low)
	buf := make([]byte, 0, metadataHeader+len(counts)+len(payload))
	buf = append(buf, metadataVersion)
	buf = append(buf, m.topic[:]...)
	buf = append(buf, m.ledger[:]...)
	buf = binary.BigEndian.AppendUint64(buf, m.token)
	buf = append(buf, run, form)
	buf = append(buf, counts...)
	buf = append(buf, payload...)
	return base64.RawStdEncoding.EncodeToString(buf)
}

func (r runState) encode(low int64) (kind byte, counts []byte) {
	if r.length == 0 {
		return runNone, nil
	}
	// What is below low needs no distance: it is not read again.
	above := func(offset int64) uint64 { return uint64(min(max(offset-low, 0), maxSpan)) }
	counts = binary.AppendUvarint(counts, uint64(min(r.length, maxRunLength))) //nolint:gosec // G115: not negative
	counts = binary.AppendUvarint(counts, above(r.noted))
	switch {
	case r.since > 0:
		counts = binary.AppendUvarint(counts, uint64(min(r.since, maxRunSecond)))
		return runHeld, binary.AppendUvarint(counts, above(r.from))
	case r.spent:
		return runSpent, counts
	}
	return runCounted, counts
}

func (m settledMap) encode(low int64) (form byte, payload []byte) {
	if m.end <= low {
		return formNone, nil
	}
	deltas := binary.AppendUvarint(nil, uint64(m.end-low)) //nolint:gosec // G115: end is above low
	before := low
	for _, o := range m.unsettled {
		deltas = binary.AppendUvarint(deltas, uint64(o-before)) //nolint:gosec // G115: ascending from low
		before = o
	}
	span := m.end - low
	if (span+7)/8 >= int64(len(deltas)) {
		return formDeltas, deltas
	}
	bits := make([]byte, (span+7)/8)
	for i := range span {
		bits[i/8] |= 1 << (i % 8)
	}
	for _, o := range m.unsettled {
		i := o - low
		bits[i/8] &^= 1 << (i % 8)
	}
	return formBitmap, bits
}

var errMetadata = errors.New("not metadata of this service")

// decodeMetadata reads the metadata of the committed offset low.
func decodeMetadata(text string, low int64) (metadata, error) {
	buf, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return metadata{}, fmt.Errorf("%w: %w", errMetadata, err)
	}
	if len(buf) < metadataHeader {
		return metadata{}, fmt.Errorf("%w: %d bytes", errMetadata, len(buf))
	}
	if buf[0] != metadataVersion {
		return metadata{}, fmt.Errorf("%w: version %d", errMetadata, buf[0])
	}
	m := metadata{topic: topicID(buf[1:17]), ledger: topicID(buf[17:33]), token: binary.BigEndian.Uint64(buf[33:41])}
	payload := buf[metadataHeader:]
	if m.run, payload, err = decodeRun(buf[metadataHeader-2], payload, low); err != nil {
		return metadata{}, err
	}
	switch buf[metadataHeader-1] {
	case formNone:
		m.settled = settledMap{end: low}
	case formBitmap:
		m.settled = bitmapToMap(payload, low)
	case formDeltas:
		m.settled, err = deltasToMap(payload, low)
	default:
		err = fmt.Errorf("%w: form %d", errMetadata, buf[metadataHeader-1])
	}
	return m, err
}

// decodeRun reads a run and returns what follows it.
func decodeRun(kind byte, payload []byte, low int64) (r runState, rest []byte, err error) {
	if kind == runNone {
		return r, payload, nil
	}
	next := func(least, most int64) (v int64) {
		u, n := binary.Uvarint(payload)
		if n <= 0 || u > uint64(most) || u < uint64(least) { //nolint:gosec // G115: not negative
			err = fmt.Errorf("%w: bad run", errMetadata)
			return 0
		}
		payload = payload[n:]
		return int64(u) //nolint:gosec // G115: at most most
	}
	r.length, r.noted = next(1, maxRunLength), low+next(0, maxSpan)
	switch kind {
	case runCounted:
	case runHeld:
		r.since, r.from = next(1, maxRunSecond), low+next(0, maxSpan)
	case runSpent:
		r.spent = true
	default:
		err = fmt.Errorf("%w: run %d", errMetadata, kind)
	}
	return r, payload, err
}

func bitmapToMap(bits []byte, low int64) settledMap {
	m := settledMap{end: low}
	for i := range int64(len(bits)) * 8 {
		if bits[i/8]&(1<<(i%8)) != 0 {
			m.end = low + i + 1
		}
	}
	for i := range m.end - low {
		if bits[i/8]&(1<<(i%8)) == 0 {
			m.unsettled = append(m.unsettled, low+i)
		}
	}
	return m
}

func deltasToMap(payload []byte, low int64) (settledMap, error) {
	next := func() (int64, error) {
		v, n := binary.Uvarint(payload)
		if n <= 0 || v > maxSpan {
			return 0, fmt.Errorf("%w: bad delta", errMetadata)
		}
		payload = payload[n:]
		return int64(v), nil
	}
	span, err := next()
	if err != nil {
		return settledMap{}, err
	}
	m := settledMap{end: low + span}
	for before, first := low, true; len(payload) > 0; first = false {
		d, err := next()
		if err != nil {
			return settledMap{}, err
		}
		before += d
		if before >= m.end || (d == 0 && !first) {
			return settledMap{}, fmt.Errorf("%w: deltas do not ascend within the span", errMetadata)
		}
		m.unsettled = append(m.unsettled, before)
	}
	return m, nil
}
