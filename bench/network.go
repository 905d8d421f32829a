package main

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"strconv"

	"github.com/moby/moby/api/types/container"
	mobynetwork "github.com/moby/moby/api/types/network"
	"github.com/testcontainers/testcontainers-go"
)

// shared reports whether a container can use the machine's network. Otherwise
// containers run in a virtual machine, which forwards their ports.
const shared = runtime.GOOS == "linux"

// network makes a broker reachable at an address of this machine: directly if
// possible, because a port proxy takes a part of the machine.
func network(at netip.AddrPort) testcontainers.CustomizeRequestOption {
	if shared {
		return testcontainers.WithHostConfigModifier(func(hc *container.HostConfig) { hc.NetworkMode = "host" })
	}
	return func(req *testcontainers.GenericContainerRequest) error {
		number := strconv.Itoa(int(at.Port()))
		port := number + "/tcp"
		req.ExposedPorts = append(req.ExposedPorts, port)
		bound := mobynetwork.PortMap{mobynetwork.MustParsePort(port): {{HostIP: at.Addr(), HostPort: number}}}
		req.HostConfigModifier = func(hc *container.HostConfig) { hc.PortBindings = bound }
		return nil
	}
}

// inside returns the address on which the broker itself listens.
func inside(at netip.AddrPort) string {
	if shared {
		return at.String()
	}
	return ":" + strconv.Itoa(int(at.Port()))
}

// freeAddresses returns addresses of this machine with unused ports.
func freeAddresses(ctx context.Context, n int) ([]netip.AddrPort, error) {
	var free []netip.AddrPort
	for range n {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() //nolint:errcheck // nothing was accepted; held until all are found, so that they differ
		at, err := netip.ParseAddrPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		free = append(free, at)
	}
	return free, nil
}

// freeAddress returns one.
func freeAddress(ctx context.Context) (string, error) {
	free, err := freeAddresses(ctx, 1)
	if err != nil {
		return "", err
	}
	return free[0].String(), nil
}
