package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// groupBalancer is a balancer of the library under a protocol name of this service. All
// members of a group need a common protocol, so the coordinator refuses consumers of
// other programs, which would take partitions and commit offsets past their events.
type groupBalancer struct{ kgo.GroupBalancer }

// groupProtocol is the name of the protocol.
const groupProtocol = "payment-capture"

// ProtocolName implements [kgo.GroupBalancer].
func (groupBalancer) ProtocolName() string { return groupProtocol }

// groupWatch checks the group for what the coordinator does not report to its members.
type groupWatch struct {
	p     *Pipeline
	admin *kadm.Client
	// unassignedSince is since when partitions have had no member; zero: all have one.
	unassignedSince time.Time
}

const (
	// consumerProtocolMember is the type of a member that joined by KIP-848.
	consumerProtocolMember = 1
	// unassignedLimit is how long partitions may have no member: longer than a member
	// may take to hand them over.
	unassignedLimit = RebalanceTimeout + 30*time.Second
)

func (g *groupWatch) check(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	g.findOtherConsumers(ctx)
	if g.p.conf.Static {
		g.findUnassigned(ctx)
	}
}

// findOtherConsumers reports consumers that joined the group by KIP-848. A coordinator of
// Kafka 4 does not refuse these: it converts the group, and assigns them partitions
// whatever protocol the other members have. A broker without such groups, or without the
// permission to describe this one, returns an error, and nothing is reported.
func (g *groupWatch) findOtherConsumers(ctx context.Context) {
	groups, err := g.admin.DescribeConsumerGroups(ctx, g.p.conf.Group)
	if err != nil {
		return
	}
	for _, m := range groups[g.p.conf.Group].Members {
		if m.MemberType == consumerProtocolMember {
			g.p.send(func(o *owner) { o.groupShared(m.ClientID, m.ClientHost) })
			return
		}
	}
}

// findUnassigned has the group rebalanced if partitions were added while its leader, a
// static member, restarted: such a leader gets its old assignment back and balances
// nothing (KIP-814). The library handles that by itself, but only for protocols whose
// names it knows.
func (g *groupWatch) findUnassigned(ctx context.Context) {
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
	partitions, assigned := len(topics[topic].Partitions), len(described.AssignedPartitions()[topic])
	switch {
	case assigned >= partitions:
		g.unassignedSince = time.Time{}
	case g.unassignedSince.IsZero():
		g.unassignedSince = time.Now()
	case time.Since(g.unassignedSince) > unassignedLimit:
		g.unassignedSince = time.Time{}
		g.p.conf.Log.WarnContext(ctx, "partitions are assigned to no member; rejoining",
			slog.String("group", group), slog.String("topic", topic), slog.Int("partitions", partitions), slog.Int("assigned", assigned))
		g.p.consumer.ForceRebalance()
	}
}

// groupShared reports a consumer of another program.
func (o *owner) groupShared(clientID, host string) {
	o.fetch.set(groupFault, fmt.Sprintf("share group %q: client %q at %s is a member by the consumer protocol (KIP-848) and takes "+
		"partitions; stop it, and set group.consumer.migration.policy=disabled on the brokers", o.p.conf.Group, clientID, host))
	o.log.ErrorContext(o.work, "consumer of another program shares the group", slog.String("group", o.p.conf.Group),
		slog.String("client_id", clientID), slog.String("host", host))
}
