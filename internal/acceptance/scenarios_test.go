//go:build synctests || integration

package acceptance

import (
	"fmt"
	"testing"
	"time"

	"payment-capture/internal/simulator"
)

// scenario is one thing that users do, or that happens to them.
type scenario struct {
	name       string
	partitions int32
	sim        simulator.Config
	run        func(w *world)
}

func scenarios() []scenario {
	return []scenario{
		{name: "captured", partitions: 1, run: captured},
		{name: "many orders at once", partitions: 3, sim: simulator.Config{Latency: 20 * time.Millisecond}, run: manyOrders},
	}
}

func runAll(t *testing.T, in func(t *testing.T, s scenario)) {
	t.Helper()
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) { in(t, s) })
	}
}

func captured(w *world) {
	w.start("a")
	w.send(order{id: "e1"}, order{id: "e2", binary: true})
	for _, v := range w.settle() {
		if v.kind != "captured" || v.key != "order-"+v.event || v.data["amount"] != "700.50" {
			w.t.Errorf("got %s", summary([]verdict{v}))
		}
	}
}

func manyOrders(w *world) {
	var orders []order
	for i := range 1000 {
		orders = append(orders, order{id: fmt.Sprintf("e%d", i), order: fmt.Sprintf("o%d", i%700)})
	}
	w.send(orders...)
	w.start("a")
	w.settle()
	if most := w.sim.Ledger().MaxConcurrent; most < 32 {
		w.t.Errorf("at most %d captures were under way at once; 64 were allowed", most)
	}
}
