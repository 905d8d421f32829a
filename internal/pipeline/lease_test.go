package pipeline

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A lease is current for the session timeout after the group was heard from, and no
// longer, whatever else a broker answers.
func TestLeaseIsCurrentForTheSessionTimeout(t *testing.T) {
	t.Parallel()
	const session = 10 * time.Second
	ok := kgo.BrokerE2E{TimeToWrite: time.Second, ReadWait: 2 * time.Second}
	for name, test := range map[string]struct {
		key   kmsg.Key
		e2e   kgo.BrokerE2E
		until time.Duration // how long it is current; 0: it never is
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
				var c groupContact
				l := lease{contact: &c, timeout: session, member: func() string { return "" }}
				if l.Current() {
					t.Error("current before the group was heard from")
				}
				c.OnBrokerE2E(kgo.BrokerMetadata{}, test.key.Int16(), test.e2e)
				if test.until == 0 {
					if l.Current() {
						t.Error("current though the group was not heard from")
					}
					return
				}
				<-time.After(test.until - time.Millisecond)
				if !l.Current() {
					t.Errorf("not current within %s", test.until)
				}
				<-time.After(time.Millisecond)
				if l.Current() {
					t.Errorf("current after %s", test.until)
				}
			})
		})
	}
}

// After a machine was suspended, its monotonic clock is where it was, and the wall clock
// far ahead.
func TestContactBeforeASuspension(t *testing.T) {
	t.Parallel()
	var c groupContact
	at := time.Now().Add(-time.Hour).Round(0) // without the monotonic reading
	c.at.Store(&at)
	if c.within(time.Minute) {
		t.Error("recent though an hour has passed by the wall clock")
	}
}

// An instance that the group expelled and took back as another member hears from the
// group as before, but its lease is that of the earlier member.
func TestLeaseOfAnEarlierMember(t *testing.T) {
	t.Parallel()
	var c groupContact
	member := "member-1"
	l := lease{contact: &c, timeout: 10 * time.Second, member: func() string { return member }, assigned: "member-1"}
	c.OnBrokerE2E(kgo.BrokerMetadata{}, kmsg.Heartbeat.Int16(), kgo.BrokerE2E{})
	if !l.Current() {
		t.Fatal("not current")
	}
	for _, member = range []string{"", "member-2"} {
		if l.Current() {
			t.Errorf("current though the member id is %q", member)
		}
	}
}
