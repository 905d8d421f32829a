// Package schemas holds the JSON Schemas (2020-12) of the events, examples of
// each, and the AsyncAPI description of the topics. It embeds them, so that
// the service and its tests read the very files that integrators do. The values of
// the ledger are in ledger.proto.
package schemas

import "embed"

// FS holds every schema, the AsyncAPI description and the examples:
// examples/<event type>/valid/*.json and examples/<event type>/invalid/*.json.
//
//go:embed *.json asyncapi.yaml examples
var FS embed.FS

// BaseURI is what a file's name is appended to for its $id. It only names the
// schemas: nothing is served there.
const BaseURI = "https://payment-capture.example/schemas/"

// The files that are not of one event type.
const (
	Common        = "common.schema.json"         // definitions that the others refer to
	ParkedHeaders = "parked.headers.schema.json" // the parked_* headers, as an object of strings
	ResendHeaders = "resend.headers.schema.json" // those of a parked record that is sent again, likewise
	AsyncAPI      = "asyncapi.yaml"
)

// Envelope names the schema of an event type's whole document, as structured
// mode carries it.
func Envelope(eventType string) string { return eventType + ".schema.json" }

// Data names the schema of an event type's data, which is a record's whole
// value in binary mode.
func Data(eventType string) string { return eventType + ".data.schema.json" }
