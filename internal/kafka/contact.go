package kafka

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/contact"
)

// contactHook records which requests of a client the brokers answer.
type contactHook struct{ watch *contact.Watch }

// OnBrokerConnect implements [kgo.HookBrokerConnect].
func (h contactHook) OnBrokerConnect(broker kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	h.record(broker, "Connect", err)
}

// OnBrokerE2E implements [kgo.HookBrokerE2E].
func (h contactHook) OnBrokerE2E(broker kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	h.record(broker, kmsg.Key(key).Name(), e2e.Err())
}

func (h contactHook) record(broker kgo.BrokerMetadata, request string, err error) {
	// The library asks another one instead of a bootstrap address, whose id is negative,
	// and a request that this process cancelled shows nothing.
	if broker.NodeID < 0 || errors.Is(err, context.Canceled) {
		return
	}
	peer := contact.Peer{Kind: contact.KindBroker, Broker: broker.NodeID, Request: request}
	if err == nil {
		h.watch.Answered(peer)
	} else {
		h.watch.Unanswered(peer, err)
	}
}
