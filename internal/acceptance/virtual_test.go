//go:build synctests

package acceptance

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kfake"

	"payment-capture/internal/app"
	"payment-capture/internal/kafkatest"
)

// TestVirtual runs every scenario on a fake broker in virtual time.
func TestVirtual(t *testing.T) {
	runAll(t, slices.Concat(scenarios(), brokerScenarios()), func(t *testing.T, s scenario) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			broker := kafkatest.Fake(t, kfake.GroupMinSessionTimeout(1))
			s.run(newWorld(t, broker, s.partitions, s.sim, serveVirtual(t, broker)))
		})
	})
}

// serveVirtual returns a function that serves on the fake broker's network.
func serveVirtual(t *testing.T, broker *kafkatest.Broker) func(http.Handler) (string, app.DialFunc) {
	return func(h http.Handler) (string, app.DialFunc) {
		t.Helper()
		const address = "localhost:8081"
		listener, err := broker.Network.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		serveOn(t, listener, h)
		return "http://" + address, broker.Network.DialContext
	}
}
