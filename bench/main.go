// Command bench measures the service beside baseline loops without its guarantees, on
// a real broker in a container, against an API with a fixed latency in another
// process. docs/performance.md says what is measured
// and how; run it with -h for the mixes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/testcontainers/testcontainers-go/log"
)

// options holds the command's flags.
type options struct {
	mixes    []string
	only     []string // contenders; empty: all
	rounds   int
	events   int
	decided  int
	window   time.Duration
	warmUp   time.Duration
	compile  time.Duration
	latency  time.Duration
	inFlight int
	rate     float64
	dir      string
	results  string
	plots    string
	profile  string
	block    bool
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		if err := runChild(); err != nil {
			fmt.Fprintln(os.Stderr, "bench child:", err)
			os.Exit(1)
		}
		return
	}
	log.SetDefault(log.NewNoopLogger()) // say reports the broker
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // nothing is deferred
	}
}

func parse(args []string) (options, error) {
	var o options
	var mixes, only string
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.StringVar(&mixes, "mix", "base", "mixes, with commas between: "+strings.Join(mixNames(), ", "))
	set.StringVar(&only, "only", "", "contenders, with commas between: "+strings.Join(contenderNames(), ", ")+"; empty: those of the mix")
	set.IntVar(&o.rounds, "rounds", 5, "rounds; the contenders alternate, and the table shows medians")
	set.IntVar(&o.events, "events", 0, "events in the input, or entries in the ledger; 0: what the mix needs")
	set.IntVar(&o.decided, "decided", 0, "entries in the ledger of a replay; 0: one for each event")
	set.DurationVar(&o.window, "window", 8*time.Second, "how long the steady state is measured, of each contender and round")
	set.DurationVar(&o.warmUp, "warm-up", 2*time.Second, "how long the steady state is waited for, after the first outcome")
	set.DurationVar(&o.compile, "compile", time.Minute,
		"how long a broker has work before anything is measured: its code is compiled meanwhile")
	set.DurationVar(&o.latency, "latency", 50*time.Millisecond, "the API's latency")
	set.IntVar(&o.inFlight, "in-flight", 256, "calls at once")
	set.Float64Var(&o.rate, "rate", 0, "events a second of a paced load; 0: half of in-flight ÷ latency, less a tenth")
	set.StringVar(&o.dir, "dir", filepath.Join(os.TempDir(), "payment-capture-bench"),
		"directory for local stores; each is removed after its run")
	set.StringVar(&o.results, "results", "", "file to append results to, one JSON document a line")
	set.StringVar(&o.plots, "plots", "", "directory to write plots to, from -results; with -mix none nothing is measured")
	set.StringVar(&o.profile, "profile", "", "directory for profiles of the service in its last round; they cost some speed")
	set.BoolVar(&o.block, "block", false, "with -profile: block profiles too, which take a tenth of the CPU")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	if set.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag", set.Arg(0))
	}
	if o.rounds < 1 || o.window <= 0 || o.inFlight < 1 || o.latency < 0 {
		return o, errors.New("-rounds, -window and -in-flight must be positive, and -latency must not be negative")
	}
	if o.plots != "" && o.results == "" {
		return o, errors.New("-plots needs -results: name a file")
	}
	o.mixes = list(mixes)
	o.only = list(only)
	for _, name := range o.mixes {
		if _, ok := allMixes()[name]; !ok && name != "none" {
			return o, fmt.Errorf("-mix: %q is not one of %s", name, strings.Join(mixNames(), ", "))
		}
	}
	return o, nil
}

func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

func run(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	out, err := newReport(o.results)
	if err != nil {
		return err
	}
	for _, name := range o.mixes {
		if name == "none" {
			continue
		}
		if err := runMix(ctx, o, name, out); err != nil {
			return fmt.Errorf("mix %s: %w", name, err)
		}
	}
	out.printAll(os.Stdout)
	if o.plots != "" {
		return drawPlots(o.results, o.plots)
	}
	return nil
}

// runMix measures one mix on a new broker, so that no mix depends on the data of
// another.
func runMix(ctx context.Context, o options, name string, out *report) error {
	m := allMixes()[name]
	s, err := newStage(ctx, o, out, name)
	if err != nil {
		return err
	}
	err = m.run(ctx, s)
	return errors.Join(err, s.close())
}
