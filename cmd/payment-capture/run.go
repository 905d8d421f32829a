package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"payment-capture/internal/app"
	"payment-capture/internal/money"
	"payment-capture/internal/simulator"
)

// simulatorFlags are those of a simulator, shared by the commands that run one.
type simulatorFlags struct {
	listen, script, site string
	latency              time.Duration
}

func (f *simulatorFlags) add(cmd *cobra.Command, prefix string) {
	cmd.Flags().StringVar(&f.listen, prefix+"listen", "localhost:8081", "address to listen on")
	cmd.Flags().StringVar(&f.script, prefix+"script", "", "JSON file with payers, declines and faults (docs/simulator.md)")
	cmd.Flags().StringVar(&f.site, prefix+"site", "", "site whose currency it charges in, such as MLM")
	cmd.Flags().DurationVar(&f.latency, prefix+"latency", 0, "time before each answer")
}

func newRun() *cobra.Command {
	var simulate bool
	var flags simulatorFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the service",
		Long: "Run the service, configured by the environment (payment-capture config lists it). " +
			"SIGTERM and SIGINT stop it: what is under way is finished first.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if simulate {
				return runSimulated(cmd, flags)
			}
			return runService(cmd)
		},
	}
	cmd.Flags().BoolVar(&simulate, "simulator", false, "start the API's simulator in this process and charge against it")
	flags.add(cmd, "simulator-")
	return cmd
}

func runService(cmd *cobra.Command) error {
	c, err := readConfig()
	if err != nil {
		return err
	}
	service, err := app.New(app.Options{Config: c, Version: version, Log: newLogger(c, cmd.ErrOrStderr())})
	if err != nil {
		return usageError{err}
	}
	return service.Run(cmd.Context())
}

// runSimulated charges against a simulator of its own; the variables of the
// real API are set to it, so that none of them is used by mistake.
func runSimulated(cmd *cobra.Command, flags simulatorFlags) error {
	currency := os.Getenv("CURRENCY")
	if currency == "" {
		currency = "MXN"
	}
	if flags.site == "" {
		site, ok := money.SiteOf(money.Currency(currency))
		if !ok {
			return usageError{fmt.Errorf("CURRENCY: %q is none that the simulator has a site for", currency)}
		}
		flags.site = site.ID
	}
	server, err := flags.serve(cmd)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"MERCADOPAGO_URL": "http://" + server.address, "MERCADOPAGO_ACCESS_TOKEN": "APP_USR-simulator", "CURRENCY": currency,
	} {
		if err := os.Setenv(name, value); err != nil {
			return errors.Join(err, server.stop())
		}
	}
	if err := os.Unsetenv("MERCADOPAGO_ACCESS_TOKEN_FILE"); err != nil {
		return errors.Join(err, server.stop())
	}
	return errors.Join(runService(cmd), server.stop())
}

func newSimulator() *cobra.Command {
	var flags simulatorFlags
	cmd := &cobra.Command{
		Use:   "simulator",
		Short: "Run the payment API's simulator",
		Long:  "Run a stateful stand-in for the payment API. GET /_simulator/ledger shows what was really charged; docs/simulator.md has the rest.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := flags.serve(cmd)
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "simulator listens on http://%s\n", server.address) // for people only
			select {
			case <-cmd.Context().Done():
			case err := <-server.served:
				return err
			}
			return server.stop()
		},
	}
	flags.add(cmd, "")
	return cmd
}

// simulatorServer is a simulator that is being served.
type simulatorServer struct {
	address string
	server  *http.Server
	served  chan error
}

func (f simulatorFlags) serve(cmd *cobra.Command) (*simulatorServer, error) {
	conf := simulator.Config{Site: f.site, Latency: f.latency}
	if f.script != "" {
		file, err := os.Open(f.script)
		if err != nil {
			return nil, usageError{fmt.Errorf("script: %w", err)}
		}
		conf.Script, err = simulator.ParseScript(file)
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, usageError{fmt.Errorf("script %s: %w", f.script, err)}
		}
	}
	sim, err := simulator.New(conf)
	if err != nil {
		return nil, usageError{err}
	}
	listener, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", f.listen)
	if err != nil {
		return nil, usageError{fmt.Errorf("listen: %w", err)}
	}
	s := &simulatorServer{
		address: listener.Addr().String(),
		server:  &http.Server{Handler: sim, ReadHeaderTimeout: 10 * time.Second},
		served:  make(chan error, 1),
	}
	go func() { s.served <- s.server.Serve(listener) }()
	return s, nil
}

func (s *simulatorServer) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		return s.server.Close()
	}
	return nil
}
