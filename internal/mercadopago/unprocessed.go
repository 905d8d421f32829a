package mercadopago

import "regexp"

// unprocessed reports whether the server did not process a failed call for certain,
// although a connection was open: over HTTP/2 the server refused the stream
// (REFUSED_STREAM), or announced by GOAWAY that it handles no stream as late as this
// one, or the connection could take no request any more (RFC 9113, sections 6.8 and
// 8.7).
//
// net/http has no exported error for these, and wraps the cause as text, because
// the request has no GetBody by which it could be sent again (see
// [Client.request]). So the whole text is compared. After any other text, also one
// with a server's words in it, the request may have been processed.
func unprocessed(err error) bool { return unprocessedText.MatchString(err.Error()) }

var unprocessedText = regexp.MustCompile(`^(?:` +
	`http2: Transport: cannot retry err \[(?:` +
	`stream error: stream ID \d+; REFUSED_STREAM; received from peer` +
	`|http2: Transport received Server's graceful shutdown GOAWAY` +
	`)\] after Request\.Body was written; define Request\.GetBody to avoid this error` +
	// To the first stream of a connection, when the GOAWAY names an error.
	`|http2: Transport received GOAWAY from server ErrCode:[A-Za-z0-9_ ]+` +
	`|http2: client conn not usable` +
	`)$`)
