package pipeline

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// An instance that the group expelled and took back as another member hears from
// it as before; but its claim is that of the member that it was.
func TestClaimOfAnEarlierMember(t *testing.T) {
	t.Parallel()
	var h heard
	member := "member-1"
	claim := lease{heard: &h, within: 10 * time.Second, member: func() string { return member }, assigned: "member-1"}
	h.OnBrokerE2E(kgo.BrokerMetadata{}, kmsg.Heartbeat.Int16(), kgo.BrokerE2E{})
	if !claim.Current() {
		t.Fatal("not good")
	}
	for _, member = range []string{"", "member-2"} {
		if claim.Current() {
			t.Errorf("good though the group calls it %q", member)
		}
	}
}
