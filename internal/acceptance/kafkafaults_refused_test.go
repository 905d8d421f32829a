//go:build synctests

package acceptance

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/kafka"
)

// TestVirtualRefusals revokes a permission while the service runs, and grants it again.
func TestVirtualRefusals(t *testing.T) {
	t.Parallel()
	for _, s := range []struct {
		name string
		run  func(w *world)
	}{
		{"writing to one outcome topic", func(w *world) {
			w.refusedCommit(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: w.topics.captured, Err: kerr.TopicAuthorizationFailed},
				w.topics.captured)
		}},
		{"one outcome topic is too small", func(w *world) {
			w.refusedCommit(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: w.topics.captured, Err: kerr.MessageTooLarge}, w.topics.captured)
		}},
		{"adding offsets of the group to a transaction", func(w *world) {
			w.refusedCommit(kfake.Fault{Keys: []kmsg.Key{kmsg.AddOffsetsToTxn}, Group: w.group, Err: kerr.GroupAuthorizationFailed}, w.group)
		}},
		{"offsets of the group", func(w *world) {
			w.refusedCommit(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Group: w.group, Err: kerr.GroupAuthorizationFailed}, w.topics.input)
		}},
		{"offsets of the input topic", func(w *world) {
			w.refusedCommit(kfake.Fault{
				Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Topic: w.topics.input,
				Err: kerr.TopicAuthorizationFailed,
			}, w.topics.input)
		}},
		{"offsets alone", offsetsAloneRefused},
		{"one commit because of an instance id without static membership", notStatic},
		{"settings that the broker does not report", settingsNotReported},
		{"reading the input", inputNotReadable},
		{"the group", groupNotJoinable},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			virtually(t, 2, s.run)
		})
	}
}

// refusedCommit refuses commits until the service has reported it.
func (w *world) refusedCommit(fault kfake.Fault, names ...string) {
	in := w.start("a")
	w.send(numbered(20, nil)...)
	w.want(w.awaitDecisions(), map[string]int{"captured": 20})
	fault.Count = -1
	refused := w.broker.Fake.Fault(fault)
	w.send(order{id: "refused"})
	w.surviveRefusal(in, refused.Remove, fault.Err, names...)
	w.send(order{id: "after"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 22})
}

// settingsNotReported hides the settings of topics, as some hosted services do. That is no
// difference to `topics`, and the service works.
func settingsNotReported(w *world) {
	w.broker.Fake.ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.broker.Fake.KeepControl()
		resp := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, asked := range r.(*kmsg.DescribeConfigsRequest).Resources {
			resource := kmsg.NewDescribeConfigsResponseResource()
			resource.ResourceType, resource.ResourceName = asked.ResourceType, asked.ResourceName
			resp.Resources = append(resp.Resources, resource)
		}
		return resp, nil, true
	})
	results, err := kafka.EnsureTopics(w.t.Context(), w.admin, false, kafka.TopicSpec{
		Name: w.topics.captured, Config: map[string]string{"min.insync.replicas": "2"}, AnyPartitions: true, AnyReplication: true,
	})
	if err != nil || results[0].Err != nil || len(results[0].Differs) > 0 || len(results[0].Unknown) != 1 {
		w.t.Errorf("got %+v, %v", results, err)
	}
	w.start("a")
	w.send(order{id: "e1"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
}

// notStatic answers one commit and one heartbeat as if the instance were a static member
// that another one replaced, which it cannot be.
func notStatic(w *world) {
	in := w.start("a")
	w.send(order{id: "e1"})
	w.awaitDecisions()
	for _, key := range []kmsg.Key{kmsg.TxnOffsetCommit, kmsg.Heartbeat} {
		w.broker.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{key}, Group: w.group, Err: kerr.FencedInstanceID, Count: 1, TopLevel: key == kmsg.Heartbeat,
		})
	}
	w.send(order{id: "e2"})
	<-time.After(time.Minute)
	w.send(order{id: "e3"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 3})
	w.wantOneCallPerEvent()
	select {
	case err := <-in.ended:
		w.t.Errorf("the service ended with: %v", err)
	default:
	}
}

// offsetsAloneRefused refuses commits of records without an outcome.
func offsetsAloneRefused(w *world) {
	in := w.start("a")
	w.send(order{id: "e1"})
	w.awaitDecisions()
	refused := w.broker.Fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: w.group,
		Err: kerr.GroupAuthorizationFailed, Count: -1,
	})
	w.send(order{id: "e2", kind: "order.shipped", skipped: true})
	w.surviveRefusal(in, refused.Remove, kerr.GroupAuthorizationFailed, w.topics.input)
	w.want(w.awaitDecisions(), map[string]int{"captured": 1})
}

// inputNotReadable refuses to fetch the input. The service reports it and retries with
// pauses.
func inputNotReadable(w *world) {
	in := w.start("a")
	w.send(order{id: "e1"})
	w.awaitDecisions()
	refused := w.broker.Fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Fetch}, Topic: w.topics.input,
		Err: kerr.TopicAuthorizationFailed, Count: -1,
	})
	w.send(order{id: "e2"})
	<-time.After(time.Minute)
	ready, body := in.readyz()
	if ready || !containsAll(body, w.topics.input, kerr.TopicAuthorizationFailed.Message) || refused.Hits() > 100 {
		w.t.Errorf("after %d refused fetches in a minute ready is %v: %s", refused.Hits(), ready, body)
	}
	refused.Remove()
	w.want(w.awaitDecisions(), map[string]int{"captured": 2})
	w.wantOneCallPerEvent()
	if ready, body := in.readyz(); !ready { // records arrived, so nothing prevents reading
		w.t.Errorf("not ready: %s", body)
	}
}

// groupNotJoinable refuses to let a member join the group.
func groupNotJoinable(w *world) {
	in := w.start("a")
	w.send(order{id: "e1"})
	w.awaitDecisions()
	refused := w.broker.Fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Heartbeat, kmsg.JoinGroup}, Group: w.group, Err: kerr.GroupAuthorizationFailed, Count: -1, TopLevel: true,
	})
	w.send(order{id: "e2"})
	<-time.After(time.Minute)
	if ready, body := in.readyz(); ready || !strings.Contains(body, kerr.GroupAuthorizationFailed.Message) {
		w.t.Errorf("ready is %v: %s", ready, body)
	}
	refused.Remove()
	w.want(w.awaitDecisions(), map[string]int{"captured": 2})
}
