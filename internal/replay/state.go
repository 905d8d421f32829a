package replay

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/google/renameio/v2"
)

// state is what a run is resumed with: what it sends, and its progress.
type state struct {
	Version     int         `json:"version"`
	Began       time.Time   `json:"began"`
	Source      topicMark   `json:"source"`
	Target      topicMark   `json:"target"`
	Account     string      `json:"account"`
	Partitioner Partitioner `json:"partitioner"`
	Selection   Selection   `json:"selection"`
	Spans       []span      `json:"spans"`
	Sent        int64       `json:"sent"` // records that were acknowledged
}

// topicMark distinguishes a topic from a later one of the same name.
type topicMark struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

func markOf(name string, id [16]byte) topicMark { return topicMark{name, hex.EncodeToString(id[:])} }

const stateVersion = 1

// Errors of the state file, each with what to do.
var (
	// ErrUnfinished reports a state file of an earlier run.
	ErrUnfinished = errors.New("an earlier run was not finished")
	// ErrNotBegun reports that this run sent nothing.
	ErrNotBegun = errors.New("this run sent nothing")
	// ErrNoState reports that there is no state file to resume from.
	ErrNoState = errors.New("there is nothing to resume")
	// ErrOther reports a state file of a run with other settings.
	ErrOther = errors.New("the earlier run had other settings")
)

// readState reads a state file. The error is [ErrNoState], or what is wrong with the
// file.
func readState(file string) (*state, error) {
	text, err := os.ReadFile(file) //nolint:gosec // G304: the user names it
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no %s", ErrNoState, file)
	}
	if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("%s is not a state file of a replay: %w", file, err)
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("%s has version %d, not %d; resume with the version of payment-capture that wrote it", file, s.Version,
			stateVersion)
	}
	return &s, nil
}

// write replaces the state file atomically.
func (s *state) write(file string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the state file (--state): %w", err)
	}
	return nil
}

// absent returns an error if there is a state file, because a new run begins.
func absent(file string) error {
	_, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: its state is in %s; continue it with --resume, remove the file to give it up, or name another one with --state",
		ErrUnfinished, file)
}

// differsFrom reports whether two marks are of different topics. An id of zeros is not
// known: the brokers had none.
func (m topicMark) differsFrom(other topicMark) bool {
	unknown := markOf("", [16]byte{}).ID
	return m.ID != other.ID && m.ID != unknown && other.ID != unknown
}

// matches returns how a run that is to be resumed differs from that of the state. An
// empty selection is that of the state.
func (s *state) matches(c *Config, source, target topicMark) error {
	switch {
	case s.Source.Name != source.Name || s.Target.Name != target.Name:
		return fmt.Errorf("%w: it sent from %q to %q, this one from %q to %q; set the topics as they were, or begin a new run",
			ErrOther, s.Source.Name, s.Target.Name, source.Name, target.Name)
	case s.Source.differsFrom(source) || s.Target.differsFrom(target):
		return fmt.Errorf("%w: a topic was recreated since, so its offsets are void; begin a new run", ErrOther)
	case s.Account != c.Rules.Account:
		return fmt.Errorf("%w: MERCADOPAGO_ACCOUNT was %q and is %q; set it as it was, or begin a new run", ErrOther, s.Account, c.Rules.Account)
	case s.Partitioner != c.Partitioner:
		return fmt.Errorf("%w: --partitioner was %s and is %s; set it as it was, or begin a new run", ErrOther, s.Partitioner, c.Partitioner)
	case !s.Selection.Same(&c.Selection):
		return fmt.Errorf("%w: it selected %s, this one %s; select the same, omit the selection, or begin a new run",
			ErrOther, s.Selection.text(), c.Selection.text())
	}
	return nil
}

// text formats a selection.
func (s *Selection) text() string {
	text, err := json.Marshal(s.canonical())
	if err != nil {
		return err.Error()
	}
	return string(text)
}
