//go:build synctests || integration

package acceptance

import (
	"slices"
	"time"

	"payment-capture/internal/simulator"
)

// brokerScenarios are those whose result depends on the broker: on its transactions,
// groups, offsets and topics. "make integration-old" runs them on an older broker.
func brokerScenarios() []scenario {
	slow := simulator.Config{Latency: 20 * time.Millisecond}
	return slices.Concat([]scenario{
		{"instances join and leave", 3, slow, joinAndLeave},
		{"an instance dies", 3, slow, instanceDies},
		{"an instance dies while one capture is stuck", 1, simulator.Config{Script: simulator.Script{Rules: []simulator.Rule{
			{Match: simulator.Match{Key: "stuck", ToTry: 1}, Action: simulator.ActionHang},
		}}}, deathDuringStuckCapture},
		{"a stop finishes the captures in flight", 1, simulator.Config{Latency: 500 * time.Millisecond}, gracefulStop},
		{"aborted input is not charged", 1, simulator.Config{}, abortedInput},
		{"a new group needs KAFKA_START_AT", 1, simulator.Config{}, startAt},
		{"an order behind thousands of tombstones is captured", 1, simulator.Config{}, behindTombstones},
		{"a partition whose records were deleted halts", 2, simulator.Config{}, outOfRange},
		{"verify names the orders that a foreign offset skipped", 3, simulator.Config{}, foreignOffsetSkips},
		{"verify proves nothing without offsets or a ledger", 1, simulator.Config{}, offsetsExpired},
		{"the offsets are reset to zero", 2, simulator.Config{}, offsetsReset},
		{"a replay after the API has forgotten the keys", 6, simulator.Config{}, fullReplay},
		{"the ledger is recreated before the first commit of a partition", 2, simulator.Config{}, ledgerRecreatedBeforeACommit},
		{"the ledger is recreated while the service is stopped", 2, simulator.Config{}, ledgerRecreatedWhileStopped},
		{"the ledger is recreated while the service runs", 2, simulator.Config{}, ledgerRecreatedWhileRunning},
		{"a rolling restart", 6, restless(), rollingRestartDynamic},
		{"a rolling restart of static members", 6, restless(), rollingRestartStatic},
		{"slow calls in flight during a handover", 2, slowAnswers(4 * time.Second), slowHandover},
		{"a zombie whose connections were cut", 2, slowAnswers(20 * time.Second), zombieCut},
		{"a zombie whose packets were lost", 2, slowAnswers(20 * time.Second), zombieSilent},
		{"an outcome topic is missing at the start", 1, slow, outcomeTopicMissing},
		{"an outcome topic is deleted", 1, goneBuyer(), outcomeTopicDeleted},
		{"the input is recreated while the service is stopped", 3, slow, inputRecreatedWhileStopped},
		{"the input is recreated while the service runs", 3, slow, inputRecreatedWhileRunning},
		{"a record too large to park", 1, slow, recordTooLargeToPark},
		{"an outcome too large for its topic", 1, slow, outcomeTooLarge},
		{"a transaction times out", 2, slow, transactionTimesOut},
		{"ends of transactions are not answered", 2, slow, endsUnanswered},
		{"ends of transactions are not answered for long", 2, slow, endsUnansweredForLong},
		{"offsets expired and KAFKA_START_AT would skip events", 2, simulator.Config{}, expiredOffsets},
		{"offsets that others moved before any decision are held", 1, simulator.Config{}, movedBeforeAnyDecision},
		{"offsets that others moved with our metadata are held", 1, simulator.Config{}, movedWithMetadata},
		{"offsets that others moved past events are held and reset", 2, simulator.Config{}, skippedAndReset},
		{"offsets that others moved past events are held and accepted", 2, simulator.Config{}, skippedAndAccepted},
		{"checking offsets that others moved takes long", 2, simulator.Config{}, checkTakesLong},
		{"offsets reset to the middle", 1, simulator.Config{}, resetToTheMiddle},
		{"a group starts at the offsets that an operator committed", 2, simulator.Config{}, startedByAnOperator},
		{"a consumer of another program joins the group", 6, slow, strangerJoins},
		{"a consumer of another program is in the group first", 3, slow, strangerIsFirst},
		{"offsets committed without topic ids", 3, slow, zeroTopicIDs},
		{"offsets committed for another topic", 2, slow, otherTopicID},
	}, commitScenarios(), partitionerScenarios())
}
