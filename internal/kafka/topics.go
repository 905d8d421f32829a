package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TopicInfo is what a topic is like.
type TopicInfo struct {
	ID                [16]byte
	Partitions        int
	ReplicationFactor int
	Config            map[string]string
	MaxMessageBytes   int32 // the largest record batch that it takes
}

// defaultMaxMessageBytes is the broker's default of max.message.bytes, used
// where the configuration may not be read.
const defaultMaxMessageBytes = 1048588

// Inspect looks at topics. The error names those that are not there, or that
// cannot be read. A topic that was just created is waited for a moment: not
// every broker knows it at once.
func Inspect(ctx context.Context, admin *kadm.Client, topics ...string) (map[string]TopicInfo, error) {
	const looks, pause = 10, 300 * time.Millisecond
	var details kadm.TopicDetails
	for look := 1; ; look++ {
		var err error
		if details, err = admin.ListTopics(ctx, topics...); err != nil {
			return nil, fmt.Errorf("look at the topics: %w", err)
		}
		if details.Error() == nil || look == looks {
			break
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	info := make(map[string]TopicInfo)
	var wrong []error
	for _, name := range topics {
		d, ok := details[name]
		if !ok || d.Err != nil {
			wrong = append(wrong, fmt.Errorf("topic %q: %w: create it (payment-capture topics does), or name another one", name, orMissing(d.Err)))
			continue
		}
		info[name] = TopicInfo{
			ID: d.ID, Partitions: len(d.Partitions), ReplicationFactor: d.Partitions.NumReplicas(),
			Config: make(map[string]string), MaxMessageBytes: defaultMaxMessageBytes,
		}
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, topics...)
	// Not to be allowed to read the configuration is no fault: the defaults
	// stand then.
	if err != nil && !errors.Is(err, kerr.TopicAuthorizationFailed) && !errors.Is(err, kerr.ClusterAuthorizationFailed) {
		return nil, fmt.Errorf("read the configuration of the topics: %w", err)
	}
	for _, c := range configs {
		t, ok := info[c.Name]
		if !ok || c.Err != nil {
			continue
		}
		for _, kv := range c.Configs {
			if kv.Value != nil { // a setting without a value is not known
				t.Config[kv.Key] = *kv.Value
			}
		}
		if n, err := strconv.ParseInt(t.Config["max.message.bytes"], 10, 32); err == nil {
			t.MaxMessageBytes = int32(n)
		}
		info[c.Name] = t
	}
	return info, nil
}

// TopicState is what has become of a topic that was there.
type TopicState uint8

// The states of a topic.
const (
	TopicThere    TopicState = iota + 1 // as it was
	TopicReplaced                       // deleted and made anew: it has another id
	TopicGone                           // deleted
	TopicNotKnown                       // the cluster does not say
)

// CheckTopic asks what has become of the topic that had an id. A zero id, of either,
// is not known: brokers before Kafka 2.8 have none.
func CheckTopic(ctx context.Context, client *kgo.Client, topic string, id [16]byte) TopicState {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return TopicNotKnown
	}
	for _, t := range resp.Topics {
		switch {
		case t.Topic == nil || *t.Topic != topic:
		case t.ErrorCode == kerr.UnknownTopicOrPartition.Code:
			return TopicGone
		case t.ErrorCode == 0 && !SameTopic(t.TopicID, id):
			return TopicReplaced
		case t.ErrorCode == 0:
			return TopicThere
		}
	}
	return TopicNotKnown
}

// SameTopic reports whether two topic ids may be of one topic. A zero id is not
// known, so it may be of any.
func SameTopic(a, b [16]byte) bool {
	unknown := [16]byte{}
	return a == b || a == unknown || b == unknown
}

var errNotThere = errors.New("is not there")

func orMissing(err error) error {
	if err == nil {
		return errNotThere
	}
	return err
}

// Absent reports whether an error says that a topic is not there.
func Absent(err error) bool {
	return errors.Is(err, errNotThere) || errors.Is(err, kerr.UnknownTopicOrPartition)
}

// TopicSpec is a topic as the service wants it.
type TopicSpec struct {
	Name              string
	Partitions        int32
	ReplicationFactor int16
	Config            map[string]string
}

// TopicResult is what [EnsureTopics] found or did.
type TopicResult struct {
	Spec    TopicSpec
	Created bool     // made now, or to be made where it is a dry run
	Differs []string // how an existing topic differs; it is not changed
	// Unknown has remarks about settings that the broker does not report. They are
	// no differences: the service works without knowing them.
	Unknown []string
	Err     error
}

// EnsureTopics creates the topics that are missing, unless it is a dry run,
// and says how the others differ from what they should be. Existing topics are
// never changed: more partitions would move keys to other partitions.
func EnsureTopics(ctx context.Context, admin *kadm.Client, dryRun bool, specs ...TopicSpec) ([]TopicResult, error) {
	var results []TopicResult
	for _, spec := range specs {
		r := TopicResult{Spec: spec}
		details, err := admin.ListTopics(ctx, spec.Name)
		if err != nil {
			return nil, fmt.Errorf("look at topic %q: %w", spec.Name, err)
		}
		if d, ok := details[spec.Name]; ok && d.Err == nil {
			r.Err = r.compare(ctx, admin)
		} else {
			r.Created = true
			if !dryRun {
				r.Err = create(ctx, admin, spec)
			}
			if errors.Is(r.Err, kerr.TopicAlreadyExists) { // somebody else was quicker
				r.Created = false
				r.Err = r.compare(ctx, admin)
			}
		}
		results = append(results, r)
	}
	return results, nil
}

func create(ctx context.Context, admin *kadm.Client, spec TopicSpec) error {
	configs := make(map[string]*string, len(spec.Config))
	for k, v := range spec.Config {
		configs[k] = &v
	}
	resp, err := admin.CreateTopic(ctx, spec.Partitions, spec.ReplicationFactor, configs, spec.Name)
	if err != nil {
		if resp.ErrMessage != "" {
			return fmt.Errorf("create topic %q: %w: %s", spec.Name, err, resp.ErrMessage)
		}
		return fmt.Errorf("create topic %q: %w", spec.Name, err)
	}
	return nil
}

// compare notes how an existing topic differs, and which of its settings are
// unknown.
func (r *TopicResult) compare(ctx context.Context, admin *kadm.Client) error {
	spec := r.Spec
	info, err := Inspect(ctx, admin, spec.Name)
	if err != nil {
		return err
	}
	t := info[spec.Name]
	if spec.Partitions > 0 && t.Partitions != int(spec.Partitions) {
		r.Differs = append(r.Differs, fmt.Sprintf("%d partitions instead of %d", t.Partitions, spec.Partitions))
	}
	if spec.ReplicationFactor > 0 && t.ReplicationFactor != int(spec.ReplicationFactor) {
		r.Differs = append(r.Differs, fmt.Sprintf("replication factor %d instead of %d", t.ReplicationFactor, spec.ReplicationFactor))
	}
	for _, key := range slices.Sorted(maps.Keys(spec.Config)) {
		got, ok := t.Config[key]
		switch want := spec.Config[key]; {
		case !ok:
			r.Unknown = append(r.Unknown, fmt.Sprintf("%s is not reported by the broker; it should be %s", key, want))
		case got != want:
			r.Differs = append(r.Differs, fmt.Sprintf("%s=%s instead of %s", key, got, want))
		}
	}
	return nil
}
