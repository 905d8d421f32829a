package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"payment-capture/internal/app"
	"payment-capture/internal/logsample"
	"payment-capture/internal/money"
	"payment-capture/internal/simulator"
)

// simulatorFlags are those of a simulator, shared by the commands that run one.
type simulatorFlags struct {
	prefix               string // of the flags' names
	listen, script, site string
	latency              time.Duration
}

func (f *simulatorFlags) add(cmd *cobra.Command, prefix string) {
	f.prefix = prefix
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
	level := &slog.LevelVar{}
	level.Set(c.LogLevel)
	service, err := app.New(app.Options{
		Config: c, Version: version, Level: level,
		Log: slog.New(logsample.New(logFrom(level, c.LogFormat, cmd.ErrOrStderr()).Handler())),
	})
	if err != nil {
		return usageError{err}
	}
	return service.Run(cmd.Context())
}

// runSimulated charges against a simulator of its own; the variables of the
// real API are set to it, so that none of them is used by mistake.
func runSimulated(cmd *cobra.Command, flags simulatorFlags) error {
	site, err := simulatedSite(flags.site, os.Getenv("CURRENCY"))
	if err != nil {
		return usageError{err}
	}
	flags.site = site.ID
	server, err := flags.serve(cmd)
	if err != nil {
		return err
	}
	err = errors.Join(
		os.Setenv("MERCADOPAGO_URL", "http://"+server.address),
		os.Setenv("MERCADOPAGO_ACCESS_TOKEN", "any"),
		os.Unsetenv("MERCADOPAGO_ACCESS_TOKEN_FILE"),
		os.Setenv("CURRENCY", string(site.Currency)),
	)
	if err == nil {
		err = runService(cmd)
	}
	return errors.Join(err, server.stop())
}

// simulatedSite returns the site to simulate. A site and a currency that are both
// given have to agree, or every answer would contradict its request; "" is
// either's default, and Mexico that of both.
func simulatedSite(id, currency string) (money.Site, error) {
	if id == "" && currency == "" {
		currency = "MXN"
	}
	for _, site := range money.Sites() {
		if id != "" && id != site.ID {
			continue
		}
		if currency == "" || currency == string(site.Currency) {
			return site, nil
		}
	}
	if id == "" {
		return money.Site{}, fmt.Errorf("CURRENCY: %q is none that the simulator has a site for", currency)
	}
	return money.Site{}, fmt.Errorf("--simulator-site: %q is none that charges in CURRENCY (%s)", id, currency)
}

func newSimulator() *cobra.Command {
	var flags simulatorFlags
	cmd := &cobra.Command{
		Use:   "simulator",
		Short: "Run the payment API's simulator",
		Long: "Run a stateful stand-in for the payment API. GET /_simulator/charges shows what was really charged; " +
			"docs/simulator.md has the rest.",
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
			return nil, usageError{fmt.Errorf("--%sscript: %w", f.prefix, err)}
		}
		conf.Script, err = simulator.ParseScript(file)
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, usageError{fmt.Errorf("--%sscript %s: %w", f.prefix, f.script, err)}
		}
	}
	sim, err := simulator.New(conf)
	if err != nil {
		return nil, usageError{err}
	}
	if _, _, err := net.SplitHostPort(f.listen); err != nil {
		return nil, usageError{fmt.Errorf("--%slisten: %q is no host:port", f.prefix, f.listen)}
	}
	listener, err := (&net.ListenConfig{}).Listen(cmd.Context(), "tcp", f.listen)
	if err != nil {
		// Not the flag's fault: the address may be taken only now.
		return nil, fmt.Errorf("--%slisten: %w", f.prefix, err)
	}
	s := &simulatorServer{
		address: listener.Addr().String(),
		server:  &http.Server{Handler: sim, ReadHeaderTimeout: 10 * time.Second},
		served:  make(chan error, 1),
	}
	go func() { s.served <- s.server.Serve(listener) }()
	return s, nil
}

// stop ends the simulator: requests under way get five seconds. When it
// returns the address is free.
func (s *simulatorServer) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var err error
	if s.server.Shutdown(ctx) != nil {
		err = s.server.Close()
	}
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
