//go:build synctests

package simtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// decision is a record of an outcome topic or of the dead-letter topic.
type decision struct {
	kind        string // captured, rejected, parked
	reason      string
	event       string
	outcomeID   string
	content     string // of an outcome, without the fields that say how it was obtained
	paymentID   string
	amount      string
	from        position // of a parked record: its position in the input
	at          position
	showsSecret bool // it contains a planted secret
	replayed    bool // it is marked as published before
	written     time.Time
}

type position struct {
	partition int32
	offset    int64
}

// word returns the decision as plans name it.
func (v decision) word() string { return strings.TrimSpace(v.kind + " " + v.reason) }

func (v decision) String() string {
	s := fmt.Sprintf("%s %s at %s/%d@%d", v.event, v.word(), v.kind, v.at.partition, v.at.offset)
	if v.kind == "parked" {
		return s + fmt.Sprintf(", from %d@%d", v.from.partition, v.from.offset)
	}
	if v.replayed {
		s += ", replayed"
	}
	return s + fmt.Sprintf(", id %s, payment %s", v.outcomeID, v.paymentID)
}

// readDecisions reads the outcome and dead-letter topics as a read-committed
// consumer does.
func (h *harness) readDecisions(ctx context.Context) {
	for _, topic := range []string{topicCaptured, topicRejected, topicParked} {
		for _, r := range h.read(ctx, topic) {
			v, err := parseDecision(r)
			if err != nil {
				h.violate("read %s/%d@%d: %v", r.Topic, r.Partition, r.Offset, err)
			}
			h.decisions = append(h.decisions, v)
		}
	}
}

// read reads all committed records of a topic.
func (h *harness) read(ctx context.Context, topic string) (all []*kgo.Record) {
	for _, p := range h.cluster.PartitionInfos(topic) {
		for at := p.LogStartOffset; at < p.LastStableOffset; {
			records, next, err := h.fetch(ctx, topic, p.Leader, p.Partition, at)
			for try := 0; err != nil && try < 5; try++ { // a fault of the plan has hit the reader
				records, next, err = h.fetch(ctx, topic, p.Leader, p.Partition, at)
			}
			if err != nil || next <= at {
				h.violate("read %s/%d at %d: %v", topic, p.Partition, at, err)
				return all
			}
			all = append(all, records...)
			at = next
		}
	}
	return all
}

// fetch reads committed records of a partition from an offset on.
func (h *harness) fetch(ctx context.Context, topic string, leader, partition int32, at int64) ([]*kgo.Record, int64, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.IsolationLevel, req.SessionEpoch, req.MaxWaitMillis = 8<<20, 1, -1, 0
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = topic, h.cluster.TopicInfo(topic).TopicID
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, at, 8<<20
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	answer, err := h.client.Broker(int(leader)).Request(ctx, req)
	if err != nil {
		return nil, 0, err
	}
	resp := answer.(*kmsg.FetchResponse)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, 0, fmt.Errorf("%d topics in the answer", len(resp.Topics))
	}
	fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		IsolationLevel: kgo.ReadCommitted(), Topic: topic, Partition: partition, Offset: at,
	}, &resp.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
	return fetched.Records, next, fetched.Err
}

func parseDecision(r *kgo.Record) (decision, error) {
	v := decision{kind: r.Topic, at: position{r.Partition, r.Offset}, written: r.Timestamp}
	if r.Topic == topicParked {
		for _, header := range r.Headers {
			n, _ := strconv.ParseInt(string(header.Value), 10, 64)
			switch header.Key {
			case "parked_reason":
				v.reason = string(header.Value)
			case "parked_partition":
				v.from.partition = int32(n)
			case "parked_offset":
				v.from.offset = n
			}
		}
		return v, nil
	}
	v.showsSecret = bytes.Contains(r.Value, []byte(payerTokens)) || bytes.Contains(r.Value, []byte(accessToken))
	var doc map[string]any
	if err := json.Unmarshal(r.Value, &doc); err != nil {
		return v, err
	}
	data, _ := doc["data"].(map[string]any)
	v.outcomeID, _ = doc["id"].(string)
	v.event, _ = data["event_id"].(string)
	v.reason, _ = data["reason"].(string)
	v.paymentID, _ = data["payment_id"].(string)
	v.amount, _ = data["amount"].(string)
	v.replayed, _ = data["replayed"].(bool)
	delete(data, "provider_replayed")
	delete(data, "replayed")
	if r.Topic == topicRejected {
		delete(doc, "time") // the API dates no rejection, so it has the time of the answer
	}
	content, err := json.Marshal(doc)
	v.content = string(content)
	return v, err
}
