package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"payment-capture/internal/config"
	"payment-capture/internal/demo"
)

func newDemo() *cobra.Command {
	opts := demo.Options{Version: version}
	var logs bool
	var broker string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the service at work; nothing needs to be installed",
		Long: "Run the real service between a broker in memory and the simulated API, send it generated orders with declines and faults, " +
			"and check that every event has exactly one decision and no key was charged twice. If a promise is broken the exit code is 6.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.Out = cmd.OutOrStdout()
			opts.Log = slog.New(slog.DiscardHandler)
			if logs {
				opts.Log = logFrom(slog.LevelInfo, config.LogAuto, cmd.ErrOrStderr())
			}
			opts.Live = !logs && isTerminal(opts.Out)
			if opts.Events < 1 {
				return usageError{errors.New("--events: at least 1")}
			}
			var err error
			if opts.BrokerPort, err = localPort(broker); err != nil {
				return usageError{fmt.Errorf("--broker: %w", err)}
			}
			return demo.Run(cmd.Context(), opts)
		},
	}
	cmd.Flags().IntVar(&opts.Events, "events", 2000, "how many events to send")
	cmd.Flags().Uint64Var(&opts.Seed, "seed", 1, "fixes the orders, declines and faults")
	cmd.Flags().BoolVar(&opts.KeepRunning, "keep-running", false, "go on until Ctrl-C, so that kcat can be tried")
	cmd.Flags().StringVar(&broker, "broker", "", "localhost:PORT for the broker; default: a free port")
	cmd.Flags().BoolVar(&logs, "logs", false, "write the service's log to standard error instead of drawing a live view")
	return cmd
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// localPort parses localhost:PORT; "" is port 0, for a free one. Another host is
// refused, because the broker in memory has no authentication.
func localPort(address string) (uint16, error) {
	if address == "" {
		return 0, nil
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil || (host != "localhost" && host != "127.0.0.1") {
		return 0, errors.New("must be localhost:PORT")
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0, errors.New("must be localhost:PORT, with a port up to 65535")
	}
	return uint16(port), nil
}
