package verify

import (
	"strconv"
	"time"

	"payment-capture/internal/event"
)

// parkedRecord is a record of the parked topic, taken apart.
type parkedRecord struct {
	input  event.Message  // as it was, but for its timestamp
	at     event.Position // its ID is what the service took the record for; "": not given
	reason string
	first  time.Time // the first attempt; zero: none
	// tooLarge says that it stands for a record that the topic would not take:
	// there is nothing of it here but its position.
	tooLarge bool
}

// readParked takes apart what [event.EncodeParked] made; ok is false for any
// other record.
func readParked(m event.Message) (p parkedRecord, ok bool) {
	begin := -1
	for i, h := range m.Headers {
		if h.Key == "parked_reason" {
			begin = i // those before the last one were the input's own
		}
	}
	if begin < 0 {
		return p, false
	}
	p.input = m
	p.input.Headers = m.Headers[:begin:begin]
	var wrong error
	for _, h := range m.Headers[begin:] {
		value := string(h.Value)
		var n int64
		var err error
		switch h.Key {
		case "parked_reason":
			p.reason = value
		case "parked_topic":
			p.at.Topic = value
		case "parked_partition":
			n, err = strconv.ParseInt(value, 10, 32)
			p.at.Partition = int32(n)
		case "parked_offset":
			p.at.Offset, err = strconv.ParseInt(value, 10, 64)
		case "parked_event_id":
			p.at.ID = value
		case "parked_first_attempt":
			p.first, err = time.Parse(time.RFC3339Nano, value)
		}
		if err != nil {
			wrong = err
		}
	}
	for _, h := range p.input.Headers {
		p.tooLarge = p.tooLarge || (h.Key == "parked_value_sha256" && m.Value == nil)
	}
	return p, wrong == nil && p.at.Topic != "" && p.at.Partition >= 0 && p.at.Offset >= 0
}
