// Package simulator is a stateful stand-in for the part of Mercado Pago that a
// Wallet Connect capture touches: POST /v1/advanced_payments, the reads used
// to reconcile an unknown outcome, refunds and the end of an agreement.
//
// It answers with the bodies Mercado Pago documents, keeps idempotency keys as
// its documentation describes, and declines or fails, as a [Script] says, in every
// way seen on that host: before the money moved, or after it.
// [Simulator.Charges] returns what really happened. It is the oracle of the tests:
// it shows an idempotency key that was charged twice, whatever the client
// believes. For that reason it shares no code with the client.
//
// Facts come from the Wallet Connect guide (capture, idempotency, refunds) and
// Mercado Pago's published OpenAPI description. Where these are silent the
// choice is a switch in [Switches], or is named as a choice in a comment.
//
// A Simulator starts no goroutine. It waits on timers and on the request's
// context only, never with a lock held, so it works in virtual time too.
package simulator
