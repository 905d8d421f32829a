package mercadopago

import "payment-capture/internal/event"

// The reasons of our own for a rejection. All others are the API's
// status_detail, an open list.
const (
	reasonPayerToken      = "invalid_payer_token" // the buyer cancelled the agreement
	reasonPayerNotFound   = "payer_not_found"
	reasonPayerPermission = "payer_permission"
	reasonUnspecified     = "rejected_unspecified" // rejected without a status_detail
)

// ReasonDuplicatedPayment is the API's statement that it took the same value
// before. It is a rejection of this call. After a call for the same event whose
// effect is unknown it is evidence that the earlier call took the money, so the
// caller searches for that payment. If the search finds only the declined payment,
// the caller parks the event and never rejects it: a payment may be missing from
// the index, and after a rejection the shop would ask for the money again.
const ReasonDuplicatedPayment = "cc_rejected_duplicated_payment"

// Classify returns the category of a rejection, and whether a new event could
// succeed (pages web-tokenize-checkout/handling-responses and the OpenAPI
// status_detail enum). RetryBuyerAction means that the buyer has to act first,
// by other means of payment too; RetryLater that the same agreement may succeed
// later by itself.
//
// The list is open. A detail that it does not have is declined, and never
// retried: nothing shows that a new event would do better, and repeated charges
// can get a payer blocked (devsite-docs issue 2615).
func Classify(reason string) (event.Category, event.Retry) {
	switch reason {
	case "insufficient_money", "insufficient_amount", "cc_rejected_insufficient_amount":
		return event.CategoryInsufficientFunds, event.RetryLater
	case "cc_rejected_other_reason", "rejected_other_reason", "rejected_by_bank", "bank_error",
		"cc_rejected_time_out", "cc_rejected_card_error":
		return event.CategoryDeclined, event.RetryLater
	case "cc_rejected_call_for_authorize", "cc_rejected_max_attempts", "cc_amount_rate_limit_exceeded",
		"cc_rejected_3ds_challenge", "cc_rejected_3ds_mandatory":
		return event.CategoryDeclined, event.RetryBuyerAction
	case "cc_rejected_card_disabled", "cc_rejected_card_type_not_allowed",
		"cc_rejected_bad_filled_card_number", "cc_rejected_bad_filled_date",
		"cc_rejected_bad_filled_security_code", "cc_rejected_bad_filled_other",
		"cc_rejected_invalid_installments":
		return event.CategoryInvalidPaymentMethod, event.RetryBuyerAction
	case "cc_rejected_high_risk", "rejected_high_risk", "cc_rejected_blacklist":
		return event.CategoryFraud, event.RetryBuyerAction
	case ReasonDuplicatedPayment,
		"rejected_by_regulations", "rejected_by_biz_rule", "rejected_insufficient_data":
		return event.CategoryOther, event.RetryNever
	case reasonPayerToken:
		return event.CategoryAgreementCancelled, event.RetryBuyerAction
	case reasonPayerNotFound:
		return event.CategoryOther, event.RetryBuyerAction
	case reasonPayerPermission:
		return event.CategoryOther, event.RetryNever
	}
	return event.CategoryDeclined, event.RetryNever
}
