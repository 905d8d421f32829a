package event

import "fmt"

// InvalidError reports which field of a record is wrong, and how. It never
// quotes the payer token.
type InvalidError struct {
	Field   string // such as "data.amount", or "" for the record's value as a whole
	Problem string
	// OrderID and ClaimedEventID are the names in the record, if they can be read:
	// for an operator, printable and bounded. Nothing else may rely on them.
	OrderID        string
	ClaimedEventID string
}

func (e *InvalidError) Error() string {
	if e.Field == "" {
		return "the record's value " + e.Problem
	}
	return e.Field + " " + e.Problem
}

func invalid(field, format string, args ...any) *InvalidError {
	return &InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// SkipError reports that a record is not meant for this service. The caller counts
// skipped records by reason and shows their types.
type SkipError struct {
	Reason SkipReason
	Type   string // the CloudEvents type as it was written; "" for a tombstone
}

func (e *SkipError) Error() string {
	if e.Reason == SkipTombstone {
		return "record without a value (tombstone)"
	}
	return fmt.Sprintf("event of type %q", Printable(e.Type, 64))
}

// SkipReason is why a record is skipped: a closed list.
type SkipReason string

// The reasons for skipping a record. [Decode] returns the first two.
const (
	SkipOtherType    SkipReason = "other_type"    // a CloudEvent of another type
	SkipTombstone    SkipReason = "tombstone"     // no value, and no header that claims our type
	SkipOtherAccount SkipReason = "other_account" // an event that names another account
)

// SkipReasons returns every reason for skipping a record.
func SkipReasons() []SkipReason { return []SkipReason{SkipOtherType, SkipTombstone, SkipOtherAccount} }

// OtherSourceError reports that a record has the type of an outcome, but another
// service wrote it.
type OtherSourceError struct{ Type, Source string }

func (e *OtherSourceError) Error() string {
	return fmt.Sprintf("%s of source %q", e.Type, Printable(e.Source, 128))
}
