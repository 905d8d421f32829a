// Command payment-capture captures payments for order.ready_to_capture events.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"payment-capture/internal/config"
	"payment-capture/internal/demo"
	"payment-capture/internal/kafka"
)

// version is set when the binary is built.
var version = "dev"

// The exit codes. README.md has the table.
const (
	exitOK       = 0
	exitFailed   = 1 // something failed: see the message
	exitUsage    = 2 // a flag or a variable is wrong
	exitFenced   = 4 // another process has the same INSTANCE_ID (3 and 5 are not used)
	exitNotProve = 6 // demo: the check of the promises failed
	exitDiffers  = 7 // verify: something is not as it should be
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintln(stderr, "payment-capture:", err) // there is no other place to report to
	return exitCode(err)
}

// usageError marks an error that the caller's flags or environment caused.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// exitCode returns the exit code for an error; of several that are joined, the
// first that stands below.
func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	switch {
	case errors.Is(err, errDiffers):
		return exitDiffers
	case errors.Is(err, demo.ErrNotProven):
		return exitNotProve
	case errors.Is(err, kafka.ErrFenced):
		return exitFenced
	case kafka.IsUnsafeStart(err):
		return exitUsage
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "payment-capture",
		Short:         "Captures payments for order.ready_to_capture events, each at most once",
		SilenceErrors: true,
		SilenceUsage:  true,
		// Nothing of a shell's belongs to the exit codes above.
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	// Without these two, an unknown command would not be a usage error.
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("there is no command %q; payment-capture --help lists them", args[0])}
		}
		return nil
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newRun(), newDemo(), newSimulator(), newTopics(), newLedger(), newReplay(), newVerify(), newConfig(), newVersion(),
		newHealthcheck(), newRelease(), newLogLevel())
	for _, c := range root.Commands() {
		c.Args = noArgs
	}
	return root
}

// noArgs refuses arguments that are no flags.
func noArgs(cmd *cobra.Command, args []string) error {
	if err := cobra.NoArgs(cmd, args); err != nil {
		return usageError{err}
	}
	return nil
}

// readConfig reads the environment for a command that needs all of it.
func readConfig() (config.Config, error) {
	c, err := config.Read()
	if err != nil {
		return c, usageError{fmt.Errorf("the configuration is wrong; payment-capture config shows it:\n%w", err)}
	}
	return c, nil
}

func newLogger(c config.Config, w io.Writer) *slog.Logger { return logFrom(c.LogLevel, c.LogFormat, w) }

// logWarnings returns a logger without the progress of the parts, because the command
// shows its own.
func logWarnings(c config.Config, w io.Writer) *slog.Logger {
	return logFrom(max(c.LogLevel, slog.LevelWarn), c.LogFormat, w)
}

// logFrom writes lines from a level on, in a format of LOG_FORMAT. A time that something
// took is written with its unit: the library's own form in JSON is a bare number of
// nanoseconds.
func logFrom(level slog.Leveler, format string, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Value.Kind() == slog.KindDuration {
				a.Value = slog.StringValue(a.Value.Duration().String())
			}
			return a
		},
	}
	if format == config.LogText || format == config.LogAuto && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}
