package kafka

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka/txnrecovery"
)

// connMonitor watches the connections of a producing client. It is a hook of the
// client.
type connMonitor struct {
	recovery *txnrecovery.Recovery
	// stale: the client must be replaced after the current transaction.
	stale  atomic.Bool
	resets connResets
	client atomic.Pointer[kgo.Client]              // nil until it owns its transactional id
	giveUp atomic.Pointer[context.CancelCauseFunc] // of the last transaction that began
}

// begin prepares for a transaction that produces so many bytes. giveUp ends it.
func (m *connMonitor) begin(bytes int, giveUp context.CancelCauseFunc) {
	m.resets.begin(bytes)
	m.giveUp.Store(&giveUp)
}

func (m *connMonitor) giveUpTransaction(cause error) {
	if giveUp := m.giveUp.Load(); giveUp != nil {
		(*giveUp)(cause)
	}
}

// OnBrokerConnect implements [kgo.HookBrokerConnect]. The client calls it before it
// sends anything, and opens another connection if this one is closed here. A client
// is never used after an abort, as Check requires.
func (m *connMonitor) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, conn net.Conn, err error) {
	client := m.client.Load()
	if err != nil || client == nil {
		return
	}
	m.resets.connected(meta.NodeID)
	ctx, cancel := context.WithTimeout(client.Context(), txnrecovery.TransactionTimeout)
	defer cancel()
	switch err := m.recovery.Check(ctx); {
	case err == nil:
	case errors.Is(err, txnrecovery.ErrIncomplete):
		m.stale.Store(true) // the next client checks again
	case errors.Is(err, txnrecovery.ErrHanging):
		_ = conn.Close()
		m.giveUpTransaction(err)
	default:
		_ = conn.Close()
	}
}

// OnBrokerE2E implements [kgo.HookBrokerE2E].
func (m *connMonitor) OnBrokerE2E(meta kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	request := kmsg.Key(key)
	if request == kmsg.Produce && m.resets.answered(meta.NodeID, e2e.Err()) {
		m.giveUpTransaction(errProduceReset)
	}
	ofTransaction := []kmsg.Key{kmsg.Produce, kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn}
	if e2e.Err() != nil && slices.Contains(ofTransaction, request) {
		m.stale.Store(true)
	}
}
