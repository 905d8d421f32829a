//go:build synctests

package kafka

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestCommitAnsweredForFewerPartitions: an answer that leaves partitions out
// commits nothing, whatever it says of the others.
func TestCommitAnsweredForFewerPartitions(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]int{"one left out": 1, "none answered": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				member, c := w.member(), w.committer()
				answers := 0
				w.broker.Fake.ControlKey(int16(kmsg.TxnOffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
					w.broker.Fake.KeepControl()
					if answers++; answers > 1 {
						return nil, nil, false
					}
					req, ok := r.(*kmsg.TxnOffsetCommitRequest)
					resp, ok2 := r.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
					if !ok || !ok2 {
						t.Errorf("a %T", r)
						return nil, kerr.UnknownServerError, true
					}
					topic := kmsg.NewTxnOffsetCommitResponseTopic()
					topic.Topic, topic.TopicID = req.Topics[0].Topic, req.Topics[0].TopicID
					for _, p := range req.Topics[0].Partitions[:left] {
						answered := kmsg.NewTxnOffsetCommitResponseTopicPartition()
						answered.Partition = p.Partition
						topic.Partitions = append(topic.Partitions, answered)
					}
					resp.Topics = append(resp.Topics, topic)
					return resp, nil, true
				})
				err := c.Commit(t.Context(), batch(member, "one", 7))
				if !errors.Is(err, ErrNotCommitted) || !strings.Contains(err.Error(), "of 2 partitions were answered") {
					t.Errorf("error %v, want ErrNotCommitted that counts the partitions", err)
				}
				w.expect()
				w.commitsAfter(c, member)
			})
		})
	}
}

// TestCommitOffsetsAnsweredForFewerPartitions is the same without a transaction.
func TestCommitOffsetsAnsweredForFewerPartitions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		member, conf := w.member(), w.committerConfig()
		w.broker.Fake.ControlKey(int16(kmsg.OffsetCommit), func(r kmsg.Request) (kmsg.Response, error, bool) {
			return r.ResponseKind(), nil, true
		})
		err := CommitOffsets(t.Context(), member, conf, batch(member, "skipped", 7))
		if !errors.Is(err, ErrNotCommitted) || !strings.Contains(err.Error(), "0 of 2 partitions were answered") {
			t.Errorf("error %v, want ErrNotCommitted that counts the partitions", err)
		}
	})
}

// TestCommitOffsetsFails: an error means the same without a transaction as in one.
func TestCommitOffsetsFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err    *kerr.Error
		static bool
		want   error
	}{
		{kerr.RebalanceInProgress, false, ErrNotCommitted},
		{kerr.UnknownServerError, false, ErrNotCommitted},
		{kerr.FencedInstanceID, true, ErrFenced},
		{kerr.FencedInstanceID, false, ErrNotCommitted},
		{kerr.GroupAuthorizationFailed, false, ErrRefused},
		{kerr.UnknownTopicID, false, ErrRefused},
		{kerr.OffsetMetadataTooLarge, false, ErrRefused},
	} {
		t.Run(fmt.Sprintf("%s, static %t", tt.err.Message, tt.static), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				conf := w.committerConfig()
				var opts []kgo.Opt
				if tt.static {
					conf.GroupInstanceID = new("static")
					opts = append(opts, kgo.InstanceID("static"))
				}
				member := w.member(opts...)
				w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Partitions: []int32{2}, Err: tt.err, Count: -1})
				if err := CommitOffsets(t.Context(), member, conf, batch(member, "x", 7)); !errors.Is(err, tt.want) || !errors.Is(err, tt.err) {
					t.Errorf("error %v, want %v", err, tt.want)
				}
			})
		})
	}
}
