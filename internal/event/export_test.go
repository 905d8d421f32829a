package event

// DecodePlain is decodePlain, for the records that are in structured mode.
func DecodePlain(m Message) (e *ReadyToCapture, err error, ok bool) {
	if inHeaders, _, modeErr := modeOf(m); !inHeaders && modeErr == nil {
		return decodePlain(m)
	}
	return nil, nil, false
}

// DecodeAny is decodeAny.
func DecodeAny(m Message) (*ReadyToCapture, error) { return decodeAny(m) }
