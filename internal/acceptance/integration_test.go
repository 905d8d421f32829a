//go:build integration

package acceptance

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/kafkatest"
	"payment-capture/internal/secret"
	"payment-capture/internal/simulator"
)

// TestIntegration runs every scenario on a real broker that grants the service the
// permissions of docs/operating.md and no other.
func TestIntegration(t *testing.T) {
	broker := newAuthorizingBroker(t)
	onBroker := func(t *testing.T, s scenario) {
		t.Parallel()
		s.run(broker.newWorld(t, s.partitions, s.sim))
	}
	t.Run("scenarios", func(t *testing.T) { runAll(t, scenarios(), onBroker) })
	t.Run("broker scenarios", func(t *testing.T) { runAll(t, brokerScenarios(), onBroker) })
	// Last, because it stops the broker for all tests.
	t.Run("the broker is killed and comes back", func(t *testing.T) {
		w := broker.newWorld(t, 3, simulator.Config{Latency: 20 * time.Millisecond})
		w.start("a")
		w.start("b")
		w.send(numbered(1500, nil)...)
		w.eventually("some are captured", func() bool { return w.sim.Charges().Calls > 300 })
		if err := broker.Kill(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.awaitDecisions()
	})
}

// serveReal returns a function that serves on a free port of this machine.
func serveReal(t *testing.T) func(http.Handler) (string, app.DialFunc) {
	return func(h http.Handler) (string, app.DialFunc) {
		t.Helper()
		return "http://" + serve(t, h), nil
	}
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, listener, h)
	return listener.Addr().String()
}

// TestSecureKafka captures orders over SASL_SSL with SCRAM and a client certificate, also
// after all certificates were replaced while the service runs.
func TestSecureKafka(t *testing.T) {
	certificate, client, nextClient := newCertificate(t), newCertificate(t), newCertificate(t)
	files := newClientFiles(t)
	files.write(t, certificate, client)
	broker := kafkatest.Run(t, kafkatest.ContainerOptions{
		Secure: true,
		Properties: map[string]string{
			"ssl.keystore.type":                                 "PEM",
			"ssl.keystore.certificate.chain":                    propertyText(certificate.certPEM),
			"ssl.keystore.key":                                  propertyText(certificate.keyPEM),
			"ssl.truststore.type":                               "PEM",
			"ssl.truststore.certificates":                       propertyText(client.certPEM + nextClient.certPEM),
			"listener.name.main.ssl.client.auth":                "required",
			"sasl.enabled.mechanisms":                           "SCRAM-SHA-512",
			"listener.name.main.sasl.enabled.mechanisms":        "SCRAM-SHA-512",
			"listener.name.main.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
		},
	})
	const user, password = "capture", "planted-sasl-password"
	w := newWorld(t, &broker.Plain, 1, simulator.Config{}, serveReal(t))
	users, err := w.admin.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{
		{User: user, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: password},
	})
	if err == nil {
		err = users.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	secure := func(c *config.Config) {
		c.KafkaBrokers = broker.Addresses
		c.KafkaTLS, c.KafkaTLSCA, c.KafkaTLSCert, c.KafkaTLSKey = true, files.ca, files.certificate, files.key
		c.KafkaSASLMechanism, c.KafkaSASLUser, c.KafkaSASLPassword = "SCRAM-SHA-512", user, secret.New(password)
	}
	w.send(order{id: "e1"}, order{id: "e2"})
	in := w.start("a", secure)
	w.want(w.awaitDecisions(), map[string]int{"captured": 2})
	w.rotate(in, broker.Addresses[0], files, nextClient)
	if w.log.contains(password) {
		t.Error("the log shows the SASL password")
	}

	wrong := w.start("b", secure, func(c *config.Config) { c.KafkaSASLPassword = secret.New(password + "-wrong") })
	if err := wrong.wait(); err == nil {
		t.Error("a wrong password causes no error")
	} else {
		t.Logf("error for a wrong password: %v", err)
	}
	if w.log.contains(password) {
		t.Error("the log shows the SASL password")
	}
	// The address accepts TLS only.
	conn, err := tls.Dial("tcp", broker.Addresses[0], &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

// rotate replaces the broker's certificate and an instance's files, and closes the
// connections of the instance.
func (w *world) rotate(in *instance, address string, files *clientFiles, client certificate) {
	w.t.Helper()
	next := newCertificate(w.t)
	set := func(name, value string) kadm.AlterConfig {
		return kadm.AlterConfig{Op: kadm.SetConfig, Name: "listener.name.main." + name, Value: &value}
	}
	brokers, err := w.admin.ListBrokers(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	altered, err := w.admin.AlterBrokerConfigs(w.t.Context(), []kadm.AlterConfig{
		set("ssl.keystore.type", "PEM"), set("ssl.keystore.certificate.chain", next.certPEM), set("ssl.keystore.key", next.keyPEM),
	}, brokers.NodeIDs()...)
	if err == nil {
		for _, r := range altered {
			err = errors.Join(err, r.Err)
		}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the broker has the new certificate", func() bool {
		var served []byte
		conn, err := tls.Dial("tcp", address, &tls.Config{
			InsecureSkipVerify:    true,
			VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error { served = raw[0]; return nil },
		})
		if err == nil {
			_ = conn.Close()
		}
		block, _ := pem.Decode([]byte(next.certPEM))
		return bytes.Equal(served, block.Bytes)
	})
	files.write(w.t, next, client)
	in.kafka.cut()
	in.kafka.restore()
	w.send(order{id: "rotated"})
	w.want(w.awaitDecisions(), map[string]int{"captured": 3})
}
