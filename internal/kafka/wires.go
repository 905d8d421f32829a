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
)

// wires watches over the connections of a producing client.
type wires struct {
	lost    atomic.Bool // a request of a transaction was not answered, or the client may not know enough
	cutOffs cutOffs

	mu     sync.Mutex
	client *kgo.Client
	holder *holder
	giveUp context.CancelCauseFunc // of the transaction under way
}

// errHangs ends a transaction before it has begun for the broker.
var errHangs = errors.New("the transaction before hangs")

// watch looks from now on at what the client's identity has open before a new
// connection is used.
//
// A broker that starts again may have left the transaction before in part: the
// client was told that it is committed, and the broker has put its marker in the
// offsets, say, but in no topic. Whatever is begun now takes the rest with it, and
// commits or aborts it. All that a client sends to such a broker goes over a
// connection that is new.
func (w *wires) watch(client *kgo.Client, h *holder) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.client, w.holder = client, h
}

// during says how to give up the transaction that begins; nil: it has ended.
func (w *wires) during(giveUp context.CancelCauseFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.giveUp = giveUp
}

// OnBrokerConnect implements [kgo.HookBrokerConnect]. It is called before
// anything is sent; a connection that is closed in it is made again.
func (w *wires) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, conn net.Conn, err error) {
	w.mu.Lock()
	client, h := w.client, w.holder
	w.mu.Unlock()
	if err != nil || h == nil {
		return
	}
	w.cutOffs.connected(meta.NodeID)
	ctx, cancel := context.WithTimeout(client.Context(), TransactionTimeout)
	defer cancel()
	unsure, err := h.clean(ctx)
	if unsure {
		w.lost.Store(true) // it is replaced, and looks again
	}
	if err != nil {
		_ = conn.Close()
		if !errors.Is(err, errHangs) {
			return
		}
		// After an abort a client is not used again: it was told of a commit.
		h.told.Store(true)
		w.end(err)
	}
}

// end gives up the transaction under way.
func (w *wires) end(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.giveUp != nil {
		w.giveUp(cause)
	}
}

// OnBrokerE2E implements [kgo.HookBrokerE2E].
func (w *wires) OnBrokerE2E(meta kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if kmsg.Key(key) == kmsg.Produce && w.cutOffs.answered(meta.NodeID, e2e.Err()) {
		w.end(errCutOff)
	}
	switch about := kmsg.Key(key); {
	case e2e.Err() == nil:
	case about == kmsg.Produce, about == kmsg.AddPartitionsToTxn, about == kmsg.AddOffsetsToTxn,
		about == kmsg.TxnOffsetCommit, about == kmsg.EndTxn:
		w.lost.Store(true)
	}
}
