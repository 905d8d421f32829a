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

// state is what a run is resumed with: what it sends, and how far it has come.
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

// topicMark tells a topic from one of its name that was made later.
type topicMark struct {
	Name string `json:"name"`
	ID   string `json:"id"`
}

func markOf(name string, id [16]byte) topicMark { return topicMark{name, hex.EncodeToString(id[:])} }

const stateVersion = 1

// Errors of the state file, each with what to do.
var (
	// ErrUnfinished says that a state file of an earlier run is there.
	ErrUnfinished = errors.New("an earlier run was not finished")
	// ErrNotBegun says that nothing was sent by this run.
	ErrNotBegun = errors.New("nothing is sent by this run")
	// ErrNoState says that there is no state file to resume with.
	ErrNoState = errors.New("there is nothing to resume")
	// ErrOther says that a state file is of another run than the one that is
	// asked for.
	ErrOther = errors.New("the earlier run was another one")
)

// readState reads a state file. The error is [ErrNoState], or says what is wrong
// with the file.
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
		return nil, fmt.Errorf("%s is no state file of a replay: %w", file, err)
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("%s is of version %d, and this version of the program reads %d: resume with the program that wrote it", file, s.Version, stateVersion)
	}
	return &s, nil
}

// write puts the state into its file, whole or not at all.
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

// absent says that a state file must not be there, for a run begins anew.
func absent(file string) error {
	_, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: its state is in %s. Go on with it by --resume, remove the file to give it up, or name another one by --state", ErrUnfinished, file)
}

// matches says in what a run that is to be resumed differs from the one of the
// state. A selection that is empty is that of the state.
func (s *state) matches(c *Config, source, target topicMark) error {
	switch {
	case s.Source.Name != source.Name || s.Target.Name != target.Name:
		return fmt.Errorf("%w: it sent from %q to %q, this one from %q to %q: set the topics as they were, or begin anew",
			ErrOther, s.Source.Name, s.Target.Name, source.Name, target.Name)
	case s.Source.ID != source.ID || s.Target.ID != target.ID:
		return fmt.Errorf("%w: a topic was deleted and made anew since, so its offsets mean nothing any more: begin anew", ErrOther)
	case s.Account != c.Rules.Account:
		return fmt.Errorf("%w: MERCADOPAGO_ACCOUNT was %q and is %q: set it as it was, or begin anew", ErrOther, s.Account, c.Rules.Account)
	case s.Partitioner != c.Partitioner:
		return fmt.Errorf("%w: --partitioner was %s and is %s: give it as it was, or begin anew", ErrOther, s.Partitioner, c.Partitioner)
	case !s.Selection.Same(&c.Selection):
		return fmt.Errorf("%w: other records were chosen then (%s), than now (%s): choose as then, or leave the choice out; or begin anew",
			ErrOther, s.Selection.text(), c.Selection.text())
	}
	return nil
}

// text gives a selection for a person.
func (s *Selection) text() string {
	text, err := json.Marshal(s.canonical())
	if err != nil {
		return err.Error()
	}
	return string(text)
}
