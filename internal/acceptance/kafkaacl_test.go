//go:build integration

package acceptance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"payment-capture/internal/config"
	"payment-capture/internal/kafka"
	"payment-capture/internal/kafkatest"
	"payment-capture/internal/secret"
	"payment-capture/internal/simulator"
)

// authorizingBroker is a broker that allows the service's principal only what was granted.
// The tests' own clients and the broker itself use listeners without SASL, whose principal
// is a super user. The service's listener has no TLS, so that tests can inject faults.
type authorizingBroker struct{ *kafkatest.Container }

func newAuthorizingBroker(t *testing.T) authorizingBroker {
	t.Helper()
	return authorizingBroker{kafkatest.Run(t, kafkatest.ContainerOptions{SASL: true, Properties: map[string]string{
		"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":           "User:ANONYMOUS",
		"listener.name.main.sasl.enabled.mechanisms": "PLAIN",
		"listener.name.main.plain.sasl.jaas.config": fmt.Sprintf(
			`org.apache.kafka.common.security.plain.PlainLoginModule required user_%s="%s";`, saslUser, saslPassword),
	}})}
}

// newWorld returns a world whose instances have the permissions of docs/operating.md.
func (b authorizingBroker) newWorld(t *testing.T, partitions int32, sim simulator.Config) *world {
	t.Helper()
	w := newWorld(t, &b.Plain, partitions, sim, serveReal(t))
	w.secure = func(c *config.Config) {
		b.use(c)
		w.allow(permissions(c)...)
	}
	return w
}

// use configures an instance to authenticate.
func (b authorizingBroker) use(c *config.Config) {
	c.KafkaBrokers, c.KafkaSASLMechanism = b.Addresses, kafka.Plain
	c.KafkaSASLUser, c.KafkaSASLPassword = saslUser, secret.New(saslPassword)
}

// permission is an operation on a resource.
type permission struct {
	resource  kmsg.ACLResourceType
	name      string
	pattern   kmsg.ACLResourcePatternType
	operation kmsg.ACLOperation
	// remedy is what the service says without it; "" if it works without.
	remedy string
}

// permissions returns those of docs/operating.md that the service needs, and those that it
// does without.
func permissions(c *config.Config) []permission {
	on := func(operation kmsg.ACLOperation, topic, remedy string) permission {
		if remedy != "" {
			remedy = fmt.Sprintf("grant %s on topic %q", remedy, topic)
		}
		return permission{kmsg.ACLResourceTypeTopic, topic, kmsg.ACLResourcePatternTypeLiteral, operation, remedy}
	}
	const read, write = kmsg.ACLOperationRead, kmsg.ACLOperationWrite
	all := []permission{
		on(read, c.TopicInput, "Describe, which Read and Write include,"),
		on(read, c.TopicLedger, "Read"),
		on(write, c.TopicLedger, "Write"),
		on(read, "__consumer_offsets", ""),
		{
			kmsg.ACLResourceTypeGroup, c.KafkaGroup, kmsg.ACLResourcePatternTypeLiteral, read,
			"grant Read on the group KAFKA_GROUP",
		},
		{
			kmsg.ACLResourceTypeTransactionalId, c.KafkaGroup + "/", kmsg.ACLResourcePatternTypePrefixed, write,
			"grant Write and Describe on the transactional ids",
		},
	}
	// The producers' transactional ids, which the configuration does not have.
	all = append(all, permission{
		kmsg.ACLResourceTypeTransactionalId, "*", kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLOperationDescribe, "",
	})
	outcomes := []string{c.TopicCaptured, c.TopicRejected, c.TopicParked}
	for _, topic := range outcomes {
		all = append(all, on(write, topic, "Write"), on(read, topic, ""))
	}
	for _, topic := range append(outcomes, c.TopicInput, c.TopicLedger) {
		all = append(all, on(kmsg.ACLOperationDescribeConfigs, topic, ""))
	}
	return all
}

// allow grants permissions to the user of the service, and waits until they apply.
func (w *world) allow(all ...permission) {
	w.t.Helper()
	const principal, host = "User:" + saslUser, "*"
	req := kmsg.NewPtrCreateACLsRequest()
	for _, p := range all {
		req.Creations = append(req.Creations, kmsg.CreateACLsRequestCreation{
			ResourceType: p.resource, ResourceName: p.name, ResourcePatternType: p.pattern,
			Principal: principal, Host: host, Operation: p.operation, PermissionType: kmsg.ACLPermissionTypeAllow,
		})
	}
	resp, err := req.RequestWith(w.t.Context(), w.client)
	if err != nil {
		w.t.Fatal(err)
	}
	for i, r := range resp.Results {
		if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
			w.t.Fatalf("allow %s on %s: %v", all[i].operation, all[i].name, err)
		}
	}
	// The broker applies them in the order of their creation.
	last := all[len(all)-1]
	w.eventually("the permissions apply", func() bool {
		req := kmsg.NewPtrDescribeACLsRequest()
		req.ResourceType, req.ResourceName, req.ResourcePatternType = last.resource, new(last.name), last.pattern
		req.Principal, req.Host = new(principal), new(host)
		req.Operation, req.PermissionType = last.operation, kmsg.ACLPermissionTypeAllow
		resp, err := req.RequestWith(w.t.Context(), w.client)
		return err == nil && resp.ErrorCode == 0 && len(resp.Resources) == 1
	})
}

// TestKafkaPermissions withholds each permission of docs/operating.md in turn, and checks
// that the service names it, or works without it. [TestIntegration] runs all scenarios with
// these permissions alone.
func TestKafkaPermissions(t *testing.T) {
	t.Parallel()
	b := newAuthorizingBroker(t)
	for i, p := range permissions(&config.Config{}) {
		t.Run(fmt.Sprintf("%d %s %s", i, p.operation, p.resource), func(t *testing.T) {
			t.Parallel()
			b.testWithout(t, func(c *config.Config) (missing permission, granted []permission) {
				all := permissions(c)
				return all[i], slices.Delete(slices.Clone(all), i, i+1)
			})
		})
	}
	t.Run("Describe instead of Read on the input", func(t *testing.T) {
		t.Parallel()
		b.testWithout(t, func(c *config.Config) (missing permission, granted []permission) {
			all := permissions(c)
			missing = all[0]
			missing.remedy = fmt.Sprintf("grant Read on topic %q", c.TopicInput)
			all[0].operation = kmsg.ACLOperationDescribe
			return missing, all
		})
	})
}

// testWithout starts an instance without a permission.
func (b authorizingBroker) testWithout(t *testing.T, choose func(*config.Config) (missing permission, granted []permission)) {
	w := newWorld(t, &b.Plain, 1, simulator.Config{
		Script: simulator.Script{Payers: []simulator.Payer{{Token: "poor", Decline: "cc_rejected_high_risk"}}},
	}, serveReal(t))
	var missing permission
	w.secure = func(c *config.Config) {
		b.use(c)
		var granted []permission
		missing, granted = choose(c)
		w.allow(granted...)
	}
	in := w.start("a")
	// One for each topic that the service writes to.
	w.send(order{id: "captured"}, order{id: "rejected", token: "poor"}, order{id: "parked", amount: "-1"})
	if missing.remedy == "" {
		w.want(w.awaitDecisions(), map[string]int{"captured": 1, "rejected cc_rejected_high_risk": 1, "parked invalid_event": 1})
		return
	}
	var said string
	w.eventually("the service names the permission: "+missing.remedy, func() bool {
		select {
		case err := <-in.ended:
			in.ended <- err
			said = fmt.Sprint(err)
		default:
			_, said = in.readyz()
		}
		return strings.Contains(strings.ReplaceAll(said, `\"`, `"`), missing.remedy)
	})
	t.Logf("without %s on %s: %.600s", missing.operation, missing.name, said)
}
