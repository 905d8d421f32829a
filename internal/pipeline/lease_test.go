package pipeline

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A claim is good for the session time-out after the group was heard of, and no
// longer, whatever else a broker answers.
func TestHeard(t *testing.T) {
	t.Parallel()
	const session = 10 * time.Second
	ok := kgo.BrokerE2E{TimeToWrite: time.Second, ReadWait: 2 * time.Second}
	for name, test := range map[string]struct {
		key   kmsg.Key
		e2e   kgo.BrokerE2E
		until time.Duration // how long it is good; 0: it never is
	}{
		"heartbeat":        {kmsg.Heartbeat, ok, session - 3*time.Second}, // from when it was sent
		"join":             {kmsg.JoinGroup, ok, session},
		"sync":             {kmsg.SyncGroup, ok, session},
		"failed heartbeat": {kmsg.Heartbeat, kgo.BrokerE2E{ReadErr: errors.New("the connection broke")}, 0},
		"fetch":            {kmsg.Fetch, ok, 0},
		"offset commit":    {kmsg.OffsetCommit, ok, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var h heard
				claim := lease{heard: &h, within: session, member: func() string { return "" }}
				if claim.Current() {
					t.Error("good before the group was heard of")
				}
				h.OnBrokerE2E(kgo.BrokerMetadata{}, test.key.Int16(), test.e2e)
				if test.until == 0 {
					if claim.Current() {
						t.Error("good though the group was not heard of")
					}
					return
				}
				<-time.After(test.until - time.Millisecond)
				if !claim.Current() {
					t.Errorf("not good within %s", test.until)
				}
				<-time.After(time.Millisecond)
				if claim.Current() {
					t.Errorf("good after %s", test.until)
				}
			})
		})
	}
}

// A machine that was suspended finds its monotonic clock where it was, and the
// wall clock far ahead.
func TestHeardBeforeASuspension(t *testing.T) {
	t.Parallel()
	var h heard
	at := time.Now().Add(-time.Hour).Round(0) // without the monotonic reading, as far as comparing goes
	h.at.Store(&at)
	if h.within(time.Minute) {
		t.Error("good though the wall clock says that an hour has passed")
	}
}
