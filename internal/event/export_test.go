package event

// DecodePlain is decodePlain, for the records that are in structured mode.
func DecodePlain(m Message) (e *ReadyToCapture, err error, ok bool) {
	h := readHeaders(m.Headers)
	if valid := h.check() == nil; !valid || !h.inValue() {
		return nil, nil, false
	}
	e, err, ok = Decoder{}.decodePlain(m, &h)
	if err != nil {
		err = refuse(m, err)
	}
	return e, err, ok
}

// DecodeAny is decodeAny.
func DecodeAny(m Message) (*ReadyToCapture, error) {
	h := readHeaders(m.Headers)
	e, err := Decoder{}.decodeAny(m, &h)
	if err != nil {
		err = refuse(m, err)
	}
	return e, err
}
