package kafka

import (
	"cmp"
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

// TopicInfo describes a topic.
type TopicInfo struct {
	ID                [16]byte
	Partitions        int
	ReplicationFactor int
	Config            map[string]string
	MaxMessageBytes   int32 // the largest record batch
}

// defaultMaxMessageBytes is the broker's default of max.message.bytes. It applies if
// the principal may not read the configuration.
const defaultMaxMessageBytes = 1048588

var (
	// ErrUnfit reports a topic whose settings the service cannot work with.
	ErrUnfit = errors.New("the topic is unfit")
	// ErrRecreated reports that a topic was deleted and created again. Offsets of the
	// earlier one mean nothing any more.
	ErrRecreated = errors.New("the topic was deleted and created again, so the offsets of the earlier one mean nothing")
)

// Inspect returns the descriptions of topics. The error names those that are missing
// or cannot be described. Inspect waits a moment for a topic that was just created,
// because not every broker knows it at once.
func Inspect(ctx context.Context, admin *kadm.Client, topics ...string) (map[string]TopicInfo, error) {
	const attempts, pause = 10, 300 * time.Millisecond
	var details kadm.TopicDetails
	for attempt := 1; ; attempt++ {
		var err error
		if details, err = describe(ctx, admin, topics...); err != nil {
			return nil, err
		}
		if details.Error() == nil || attempt == attempts {
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
			err := cmp.Or[error](d.Err, kerr.UnknownTopicOrPartition)
			if errors.Is(err, kerr.TopicAuthorizationFailed) {
				wrong = append(wrong, fmt.Errorf("topic %q: %w", name, NeedsTopic(err, "Describe, which Read and Write include,", name)))
				continue
			}
			wrong = append(wrong, fmt.Errorf("topic %q: %w; create it (payment-capture topics does), or name another one", name, err))
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
	// A principal that may not read the configuration gets the defaults.
	if err != nil && !errors.Is(err, kerr.TopicAuthorizationFailed) && !errors.Is(err, kerr.ClusterAuthorizationFailed) {
		return nil, fmt.Errorf("describe the configuration of the topics: %w", err)
	}
	for _, c := range configs {
		t, ok := info[c.Name]
		if !ok || c.Err != nil {
			continue
		}
		for _, kv := range c.Configs {
			if kv.Value != nil { // otherwise the broker does not report it
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

// describe describes each topic with a request of its own: if one of a request may not be
// described, kadm reports none of them.
func describe(ctx context.Context, admin *kadm.Client, topics ...string) (kadm.TopicDetails, error) {
	all := make(kadm.TopicDetails, len(topics))
	for _, name := range topics {
		one, err := admin.ListTopics(ctx, name)
		switch {
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			all[name] = kadm.TopicDetail{Topic: name, Err: err}
		case err != nil:
			return nil, fmt.Errorf("describe topic %q: %w", name, err)
		default:
			maps.Copy(all, one)
		}
	}
	return all, nil
}

// CheckTopic returns nil if a topic still has the id, [ErrRecreated] if it has another
// one, and [kerr.UnknownTopicOrPartition] if it was deleted. Any other error means that
// the cluster did not answer. A zero id is unknown and equals any other: brokers before
// Kafka 2.8 have no topic ids.
func CheckTopic(ctx context.Context, client *kgo.Client, topic string, id [16]byte) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &topic
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return fmt.Errorf("describe topic %q: %w", topic, err)
	}
	for _, t := range resp.Topics {
		if t.Topic == nil || *t.Topic != topic {
			continue
		}
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("describe topic %q: %w", topic, err)
		}
		if !SameTopic(t.TopicID, id) {
			return fmt.Errorf("%w: topic %q", ErrRecreated, topic)
		}
		return nil
	}
	return fmt.Errorf("describe topic %q: the broker did not answer for it", topic)
}

// SameTopic reports whether two topic ids may belong to one topic. A zero id is
// unknown, so it may belong to any.
func SameTopic(a, b [16]byte) bool {
	unknown := [16]byte{}
	return a == b || a == unknown || b == unknown
}

// TopicSpec describes a topic as it should be.
type TopicSpec struct {
	Name              string
	Partitions        int32
	ReplicationFactor int16
	Config            map[string]string
	// AnyPartitions and AnyReplication: the number applies only when the topic is
	// created; an existing one may have any.
	AnyPartitions, AnyReplication bool
}

// TopicResult is what [EnsureTopics] found or did for a topic.
type TopicResult struct {
	Spec    TopicSpec
	Created bool     // or would be created, in a dry run
	Differs []string // how an existing topic differs from the spec
	// Unknown lists the settings that the broker does not report. They are not
	// differences, because the service works without knowing them.
	Unknown []string
	Err     error
}

// EnsureTopics creates the topics that are missing, unless it is a dry run, and returns
// how the others differ from their specs. It never changes an existing topic, because
// more partitions would move keys to other partitions.
func EnsureTopics(ctx context.Context, admin *kadm.Client, dryRun bool, specs ...TopicSpec) ([]TopicResult, error) {
	var results []TopicResult
	for _, spec := range specs {
		details, err := admin.ListTopics(ctx, spec.Name)
		if err != nil {
			return nil, fmt.Errorf("describe topic %q: %w", spec.Name, err)
		}
		r := TopicResult{Spec: spec, Created: !details.Has(spec.Name)}
		if r.Created && !dryRun {
			r.Err = create(ctx, admin, spec)
			r.Created = !errors.Is(r.Err, kerr.TopicAlreadyExists) // unless another process was faster
		}
		if !r.Created {
			r.Err = r.compare(ctx, admin)
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

// compare fills in how an existing topic differs, and which settings are unknown.
func (r *TopicResult) compare(ctx context.Context, admin *kadm.Client) error {
	spec := r.Spec
	info, err := Inspect(ctx, admin, spec.Name)
	if err != nil {
		return err
	}
	t := info[spec.Name]
	if !spec.AnyPartitions && t.Partitions != int(spec.Partitions) {
		r.Differs = append(r.Differs, fmt.Sprintf("%d partitions instead of %d", t.Partitions, spec.Partitions))
	}
	if !spec.AnyReplication && t.ReplicationFactor != int(spec.ReplicationFactor) {
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
