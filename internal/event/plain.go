package event

import "payment-capture/internal/secret"

// texts are members that are strings or null, by number: those that are there, and
// those that are not null.
type texts struct {
	text        [8]string
	seen, given uint16
}

// pointer is nil where the member is absent or null.
func (t *texts) pointer(number int) *string {
	if t.given&(1<<number) == 0 {
		return nil
	}
	return &t.text[number]
}

// kept gives a text that outlives the record, and of those that all events have alike
// none of its own.
func kept(text []byte) string {
	switch string(text) {
	case "1.0":
		return "1.0"
	case TypeReadyToCapture:
		return TypeReadyToCapture
	case "application/json":
		return "application/json"
	}
	return string(text)
}

// once marks a member as seen.
func (s *scanner) once(t *texts, number int) {
	if t.seen&(1<<number) != 0 {
		s.unsure = true
	}
	t.seen |= 1 << number
}

func (s *scanner) optionalInto(t *texts, number int) {
	s.once(t, number)
	if text, given := s.optional(); given {
		t.text[number] = kept(text)
		t.given |= 1 << number
	}
}

// The attributes by number.
const (
	attrSpecVersion = iota
	attrID
	attrSource
	attrType
	attrSubject
	attrTime
	attrDataContentType
	attrTraceParent
	attrData // no text
	attrUnknown
)

// attributeNames returns the names of those that are texts, by number.
func attributeNames() [attrData]string {
	return [...]string{"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "traceparent"}
}

// requiredAttributes returns those that CloudEvents require.
func requiredAttributes() [4]int { return [...]int{attrSpecVersion, attrID, attrSource, attrType} }

func attributeNumber[text string | []byte](name text) int {
	switch string(name) {
	case "specversion":
		return attrSpecVersion
	case "id":
		return attrID
	case "source":
		return attrSource
	case "type":
		return attrType
	case "subject":
		return attrSubject
	case "time":
		return attrTime
	case "datacontenttype":
		return attrDataContentType
	case "traceparent":
		return attrTraceParent
	case "data":
		return attrData
	}
	return attrUnknown
}

// decodePlain reads an event in structured mode. It is ok only if [Decoder.decodeAny]
// returns the same.
func (d Decoder) decodePlain(m Message, h *headerAttributes) (e *ReadyToCapture, err error, ok bool) {
	s := scanner{text: m.Value}
	e = &ReadyToCapture{}
	var dataErr error
	var t texts
	var unknown others
	for name, more := s.member('{'); more; name, more = s.member(',') {
		switch number := attributeNumber(name); number {
		case attrUnknown:
			s.unsure = s.unsure || string(name) == "data_base64"
			s.other(&unknown, name)
		case attrData:
			s.once(&t, attrData)
			dataErr = s.data(e)
		default:
			s.optionalInto(&t, number)
		}
	}
	s.end()
	if s.unsure || t.seen&(1<<attrData) == 0 {
		return nil, nil, false
	}
	env := t.envelope()
	if err := d.takeStructured(e, &env, m, h); err != nil {
		return nil, err, true
	}
	if dataErr != nil {
		return nil, dataErr, true
	}
	return e, nil, true
}

// envelope returns the attributes. It shares the texts.
func (t *texts) envelope() envelope {
	return envelope{
		SpecVersion: t.pointer(attrSpecVersion), ID: t.pointer(attrID), Source: t.pointer(attrSource), Type: t.pointer(attrType),
		Subject: t.pointer(attrSubject), Time: t.pointer(attrTime), DataContentType: t.pointer(attrDataContentType),
		TraceParent: t.pointer(attrTraceParent),
	}
}

// The members of the data by number.
const (
	dataOrderID = iota
	dataCurrency
	dataDescription
	dataExternalReference
	dataAccount
	dataDeviceSessionID
	dataAmount      // no text
	dataPayer       // no text
	dataSubMerchant // no text
	dataUnknown
)

func dataNumber(name []byte) int {
	switch string(name) {
	case "order_id":
		return dataOrderID
	case "currency":
		return dataCurrency
	case "description":
		return dataDescription
	case "external_reference":
		return dataExternalReference
	case "account":
		return dataAccount
	case "device_session_id":
		return dataDeviceSessionID
	case "amount":
		return dataAmount
	case "payer":
		return dataPayer
	case "sub_merchant":
		return dataSubMerchant
	}
	return dataUnknown
}

// data reads the event's data into it; the error is about their content.
func (s *scanner) data(e *ReadyToCapture) error {
	var d wireData
	var t texts
	var unknown others
	var token secret.Text
	for name, more := s.member('{'); more; name, more = s.member(',') {
		switch number := dataNumber(name); number {
		case dataUnknown:
			s.other(&unknown, name)
		case dataAmount:
			s.once(&t, dataAmount)
			d.Amount = s.scalar()
		case dataPayer:
			s.once(&t, dataPayer)
			token = s.payer()
		case dataSubMerchant:
			s.once(&t, dataSubMerchant)
			s.peek()
			s.word("null")
		default:
			s.optionalInto(&t, number)
		}
	}
	if s.unsure {
		return nil
	}
	d.OrderID, d.Currency, d.Description = t.pointer(dataOrderID), t.pointer(dataCurrency), t.pointer(dataDescription)
	d.ExternalReference, d.Account, d.DeviceSessionID = t.pointer(dataExternalReference), t.pointer(dataAccount), t.pointer(dataDeviceSessionID)
	if t.seen&(1<<dataPayer) != 0 {
		d.Payer = &wirePayer{Token: &token}
	}
	return e.takeMembers(&d)
}

// payer reads an object with a token and no other member.
func (s *scanner) payer() secret.Text {
	name, _ := s.member('{')
	if string(name) != "token" {
		s.unsure = true
		return secret.Text{}
	}
	token := s.string()
	s.take('}')
	return secret.New(string(token))
}
