package kafka

import (
	"context"
	"errors"
	"net"
	"sync"
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

	mu     sync.Mutex              // guards what follows
	client *kgo.Client             // nil until start
	giveUp context.CancelCauseFunc // ends the current transaction; nil: there is none
}

// start begins to check new connections for a hanging transaction.
func (m *connMonitor) start(client *kgo.Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.client = client
}

// transactionBegins registers how to give up the transaction that begins, which
// produces so many bytes.
func (m *connMonitor) transactionBegins(bytes int, giveUp context.CancelCauseFunc) {
	m.resets.begin(bytes)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.giveUp = giveUp
}

func (m *connMonitor) transactionEnds() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.giveUp = nil
}

func (m *connMonitor) giveUpTransaction(cause error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.giveUp != nil {
		m.giveUp(cause)
	}
}

// OnBrokerConnect implements [kgo.HookBrokerConnect]. The client calls it before it
// sends anything, and opens another connection if this one is closed here. A client
// is never used after an abort, as Check requires.
func (m *connMonitor) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, conn net.Conn, err error) {
	m.mu.Lock()
	client := m.client
	m.mu.Unlock()
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
	if e2e.Err() == nil {
		return
	}
	switch request {
	case kmsg.Produce, kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn:
		m.stale.Store(true)
	}
}

// errProduceReset ends a transaction whose produce requests are too large for the
// broker or a proxy in front of it. The library would repeat them until the
// transaction times out.
var errProduceReset = errors.New("connections are closed at produce requests, twice in a row")

// connResets finds connections that a broker closes at produce requests of the
// current transaction, twice in a row.
type connResets struct {
	mu     sync.Mutex // guards what follows
	active bool
	// closed has the brokers whose last produce request closed its connection. The
	// value is true until the broker has a new connection, because several requests
	// may fail with the old one.
	closed map[int32]bool
}

// begin starts counting for a transaction of so many bytes. Small requests are not
// refused for their size.
func (c *connResets) begin(bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active, c.closed = bytes > LeastMaxRequestBytes, make(map[int32]bool)
}

// connected registers a new connection.
func (c *connResets) connected(broker int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.closed[broker]; ok {
		c.closed[broker] = false
	}
}

// answered registers the end of a produce request, and reports whether it is the
// second one in a row that closed a connection. The first one proves nothing, because
// every broker that stops closes its connections.
func (c *connResets) answered(broker int32, err error) (twice bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.active {
		return false
	}
	if err == nil {
		delete(c.closed, broker)
		return false
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return false
	}
	isOld, before := c.closed[broker]
	c.closed[broker] = true
	return before && !isOld
}
