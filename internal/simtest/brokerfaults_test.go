//go:build synctests

package simtest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"payment-capture/internal/simulator"
)

// injectFaults injects the faults that concern no single process: those of the
// broker, of transactional ids and of the access token.
func (h *harness) injectFaults(ctx context.Context) {
	var all sync.WaitGroup
	for _, f := range h.plan.broker {
		all.Go(func() {
			time.Sleep(f.at)
			err := kerr.TypedErrorForCode(f.code)
			fault := h.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{f.key}, Err: err, Count: f.count})
			defer fault.Remove() // it must not hit the reader of the outcomes
			defer func() { <-h.over }()
			h.annotate(nil, fmt.Sprintf("broker: %s to %s, %d times", err.Message, f.key.Name(), f.count))
		})
	}
	for _, f := range h.plan.fences {
		all.Go(func() {
			time.Sleep(f.at)
			req := kmsg.NewPtrInitProducerIDRequest()
			id := h.group + "/" + f.instance
			req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = &id, 10_000, -1, -1
			_, err := req.RequestWith(ctx, h.client)
			h.annotate(nil, fmt.Sprintf("another process initialises the transactional id %s: %v", id, err))
		})
	}
	if e := h.plan.expiry; e != nil {
		all.Go(func() {
			time.Sleep(e.at)
			h.annotate(nil, "the API refuses the access token")
			h.sim.SetAccessToken("", simulator.TokenExpired)
			time.Sleep(e.lasts)
			h.annotate(nil, "the API accepts the access token again")
			h.sim.SetAccessToken("", simulator.TokenOK)
		})
	}
	if h.plan.brokers > 1 {
		all.Go(func() {
			time.Sleep(h.plan.latency * 10)
			// Not those of the input: the library and the fake broker would fetch
			// without a pause, and virtual time would not pass.
			for _, topic := range []string{topicCaptured, topicRejected, topicParked} {
				for _, info := range h.cluster.PartitionInfos(topic) {
					leader := int32(0)
					if h.cluster.LeaderFor(topic, info.Partition) == 0 {
						leader = 1
					}
					if err := h.cluster.MoveTopicPartition(topic, info.Partition, leader); err != nil {
						h.violate("moving a leader of %s: %v", topic, err)
					}
				}
			}
			h.cluster.RehashCoordinators()
			h.annotate(nil, "leaders and coordinators move")
		})
	}
	all.Wait()
}

// brokerVersions returns the API versions of the broker: those of a current
// release, or of one without transaction.version 2. Client metrics are left out
// because they take more time than everything else.
func brokerVersions(old bool) *kversion.Versions {
	if old {
		return oldVersions()
	}
	return newVersions()
}

var (
	newVersions = sync.OnceValue(func() *kversion.Versions { return withoutMetrics(kversion.Stable()) })
	oldVersions = sync.OnceValue(func() *kversion.Versions { return withoutMetrics(kversion.V3_7_0()) })
)

func withoutMetrics(v *kversion.Versions) *kversion.Versions {
	v.SetMaxKeyVersion(int16(kmsg.GetTelemetrySubscriptions), -1)
	v.SetMaxKeyVersion(int16(kmsg.PushTelemetry), -1)
	return v
}
