package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// groupBalancer is a balancer of the library under a protocol name of this
// service's own. All members of a group must have a protocol in common, so the
// coordinator refuses a consumer of another program, which would take partitions
// and commit offsets past their events.
type groupBalancer struct{ kgo.GroupBalancer }

// groupProtocol is the name of the protocol.
const groupProtocol = "payment-capture"

// ProtocolName implements [kgo.GroupBalancer].
func (groupBalancer) ProtocolName() string { return groupProtocol }

// readFault returns what an error of reading, or of the group, means.
func (p *Pipeline) readFault(err error) string {
	if errors.Is(err, kerr.InconsistentGroupProtocol) {
		return fmt.Sprintf("join group %q: consumers of another program are its members (%v); "+
			"stop them, or set KAFKA_GROUP to a group that only payment-capture uses", p.conf.Group, err)
	}
	return fmt.Sprintf("reading topic %q fails: %v", p.conf.Topics.Input, err)
}

// groupWatch looks at the group now and then, for what its members are not told.
type groupWatch struct {
	p     *Pipeline
	admin *kadm.Client
	// unassigned is since when partitions have been nobody's; zero: none are.
	unassigned time.Time
}

const (
	// consumerProtocolMember is the type of a member that joined by KIP-848.
	consumerProtocolMember = 1
	// unassignedLimit is how long partitions may be nobody's: longer than a member
	// may take to hand them over.
	unassignedLimit = RebalanceTimeout + 30*time.Second
)

func (g *groupWatch) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	g.lookForStrangers(ctx)
	if g.p.conf.Static {
		g.lookForUnassigned(ctx)
	}
}

// lookForStrangers looks whether consumers of KIP-848 are in the group. A
// coordinator of Kafka 4 does not refuse these: it converts the group, and gives
// them partitions whatever protocol the other members have. A broker without such
// groups, or without the permission to describe this one, does not say.
func (g *groupWatch) lookForStrangers(ctx context.Context) {
	groups, err := g.admin.DescribeConsumerGroups(ctx, g.p.conf.Group)
	if err != nil {
		return
	}
	for _, m := range groups[g.p.conf.Group].Members {
		if m.MemberType == consumerProtocolMember {
			g.p.send(groupShared{clientID: m.ClientID, host: m.ClientHost})
			return
		}
	}
}

// lookForUnassigned has the group rebalanced if partitions were added while its
// leader, a static member, restarted: such a leader gets its old assignment back
// and balances nothing (KIP-814). The library makes up for that by itself, but only
// for protocols whose names it knows.
func (g *groupWatch) lookForUnassigned(ctx context.Context) {
	group, topic := g.p.conf.Group, g.p.conf.Topics.Input
	groups, err := g.admin.DescribeGroups(ctx, group)
	if err != nil || groups[group].Err != nil {
		return
	}
	topics, err := g.admin.ListTopics(ctx, topic)
	if err != nil || topics[topic].Err != nil {
		return
	}
	described := groups[group]
	switch owned := described.AssignedPartitions(); {
	case len(owned[topic]) >= len(topics[topic].Partitions):
		g.unassigned = time.Time{}
	case g.unassigned.IsZero():
		g.unassigned = time.Now()
	case time.Since(g.unassigned) > unassignedLimit:
		g.unassigned = time.Time{}
		g.p.conf.Log.WarnContext(ctx, "partitions are assigned to no member; rejoining", slog.String("group", group),
			slog.String("topic", topic), slog.Int("partitions", len(topics[topic].Partitions)), slog.Int("assigned", len(owned[topic])))
		g.p.consumer.ForceRebalance()
	}
}

// groupShared says that a consumer of another program is a member of the group.
type groupShared struct{ clientID, host string }

func (m groupShared) apply(o *owner) {
	o.readErr, o.readErrAt = fmt.Sprintf("share group %q: client %q at %s is a member by the consumer protocol (KIP-848) and takes partitions; "+
		"stop it, and set group.consumer.migration.policy=disabled on the brokers", o.p.conf.Group, m.clientID, m.host), time.Now()
	o.log.ErrorContext(o.work, "consumer of another program shares the group", slog.String("group", o.p.conf.Group),
		slog.String("client_id", m.clientID), slog.String("host", m.host))
}
