package verify

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka"
)

// nothingBetween reports whether no record of a partition, committed or not,
// has an offset in [from, to). The consumer cannot tell: it gives no fetch in
// which there is nothing.
func nothingBetween(ctx context.Context, client *kgo.Client, t *topic, n int32, from, to int64) (bool, error) {
	leader, err := leaderOf(ctx, client, t.name, n)
	if err != nil {
		return false, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = -1, 0, 0, fetchPartition
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = t.name, t.id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = n, from, fetchPartition
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	answer, err := client.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return false, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return false, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return false, fmt.Errorf("%s/%d: the fetch was not answered", t.name, n)
	}
	is := resp.Topics[0].Partitions[0]
	if len(is.RecordBatches) == 0 { // the log ends before from
		return is.HighWatermark >= to, kerr.ErrorForCode(is.ErrorCode)
	}
	return kafka.EmptyUntil(is.RecordBatches, to), kerr.ErrorForCode(is.ErrorCode)
}

func leaderOf(ctx context.Context, client *kgo.Client, name string, n int32) (int32, error) {
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &name
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return 0, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.Partition == n {
				return p.Leader, kerr.ErrorForCode(p.ErrorCode)
			}
		}
	}
	return 0, fmt.Errorf("%s/%d: the cluster names no leader", name, n)
}
