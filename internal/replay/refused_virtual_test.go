//go:build synctests

package replay

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestBrokerTrouble: what passes is waited out, and nothing is sent twice or left
// out.
func TestBrokerTrouble(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.many(30)
		before := w.all(input)
		w.broker.Fake.Fault(
			kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: input, Err: kerr.NotLeaderForPartition, Count: 3},
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: input, Err: kerr.NotLeaderForPartition, Count: 2},
		)
		plan, _ := w.replay(w.config(Selection{All: true}))
		got := counts(w.sent(before))
		if plan.Send != 30 || len(got) != 30 {
			t.Errorf("planned %d, sent %d", plan.Send, len(got))
		}
		for key, n := range got {
			if n != 1 {
				t.Errorf("%s came %d times", key, n)
			}
		}
	})
}

// TestRefused: what the broker refuses for good ends the run and names the topic;
// the state is there to go on with.
func TestRefused(t *testing.T) {
	for name, test := range map[string]struct {
		err  *kerr.Error
		want string
	}{
		"permission": {kerr.TopicAuthorizationFailed, input},
		"time":       {kerr.InvalidTimestamp, "message.timestamp.before.max.ms"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				w.many(30)
				before := w.all(input)
				c := w.config(Selection{All: true})
				c.Rate = 10
				fault := w.broker.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: input, Err: test.err, Count: -1})
				_, result, err := w.try(t.Context(), c)
				if err == nil || errors.Is(err, ErrInterrupted) || !strings.Contains(err.Error(), test.want) || result.Sent != 0 {
					t.Fatalf("sent %d, %v", result.Sent, err)
				}
				fault.Remove()
				c.Resume = true
				w.replay(c)
				if got := counts(w.sent(before)); len(got) != 30 {
					t.Errorf("%d of 30 came", len(got))
				}
			})
		})
	}
}

// TestTooLarge: a record that the topic does not take does not stop the others.
func TestTooLarge(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		large := fresh(0, "large")
		large.Headers = append(large.Headers, kgo.RecordHeader{Key: "pad", Value: make([]byte, 3000)})
		w.produce(fresh(0, "a"), large, fresh(0, "b"))
		before := w.all(input)
		_, err := w.admin.AlterTopicConfigs(t.Context(), setting("max.message.bytes", "2000"), input)
		if err != nil {
			t.Fatal(err)
		}
		_, result := w.replay(w.config(Selection{All: true}))
		if got := keys(w.sent(before)); got != "0:a 0:b" || result.TooLarge != 1 || result.Sent != 2 {
			t.Errorf("sent %q, %+v", got, result)
		}
		// Nor is it tried again by a run that is resumed.
		c := w.config(Selection{Partitions: []int32{0}, To: new(int64(3))})
		c.Rate = 0.1
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		if _, _, err := w.try(ctx, c); !errors.Is(err, ErrInterrupted) {
			t.Fatal(err)
		}
		if s, err := readState(w.state); err != nil || s.Spans[0].Next != 2 {
			t.Errorf("%v; the state says %+v", err, s.Spans)
		}
		if !strings.Contains(w.log.String(), "max.message.bytes") || !strings.Contains(w.log.String(), "offset=1") {
			t.Errorf("the log says\n%s", w.log)
		}
	})
}
