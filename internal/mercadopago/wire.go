package mercadopago

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// unmarshal parses JSON leniently, see [lenientText], with two exceptions to the
// usual rules: a duplicate member is an error, because nobody knows which of two
// statuses holds, and invalid UTF-8 is accepted, because it is in texts that do not
// decide.
func unmarshal(raw []byte, into any) bool {
	return json.Unmarshal(raw, into, lenient) == nil
}

//nolint:gochecknoglobals // immutable, and the library caches by it
var lenient = json.JoinOptions(jsontext.AllowInvalidUTF8(true), json.WithUnmarshalers(json.UnmarshalFromFunc(lenientText)))

// lenientText sets text to a string, or to a number or boolean as written, so that
// a member of an unexpected type does not make the others unreadable. Null is "". An
// object or array becomes its opening bracket, which no check takes for a known word
// or for nothing.
func lenientText(d *jsontext.Decoder, text *string) error {
	switch kind := d.PeekKind(); kind {
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		*text = kind.String()
		return d.SkipValue()
	case jsontext.KindNull:
		*text = ""
		return d.SkipValue()
	}
	token, err := d.ReadToken()
	if err == nil {
		*text = token.String()
	}
	return err
}

// childList is the elements of payments: an array of objects, one object, or null;
// null in the array is none.
type childList []child

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (c *childList) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	one := d.PeekKind() != jsontext.KindBeginArray
	if !one {
		if _, err := d.ReadToken(); err != nil {
			return err
		}
	}
	for one || d.PeekKind() != jsontext.KindEndArray {
		if d.PeekKind() == jsontext.KindNull {
			if err := d.SkipValue(); err != nil {
				return err
			}
		} else {
			*c = append(*c, child{})
			if err := json.UnmarshalDecode(d, &(*c)[len(*c)-1]); err != nil {
				return err
			}
		}
		if one {
			return nil
		}
	}
	_, err := d.ReadToken()
	return err
}

// payer is an object with an id, or anything else, because it decides nothing.
type payer struct {
	ID string `json:"id"`
}

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (p *payer) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() != jsontext.KindBeginObject {
		return d.SkipValue()
	}
	type object payer // without this method
	return json.UnmarshalDecode(d, (*object)(p))
}

// identifier is a text or number that can stand in a URL's path, or "".
type identifier string

// UnmarshalJSONFrom implements [json.UnmarshalerFrom].
func (i *identifier) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if kind := d.PeekKind(); kind != jsontext.KindString && kind != jsontext.KindNumber {
		return d.SkipValue()
	}
	token, err := d.ReadToken()
	if err == nil {
		*i = identifier(pathSegment(token.String()))
	}
	return err
}
