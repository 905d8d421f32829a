package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"payment-capture/internal/admin"
)

func newLogLevel() *cobra.Command {
	var level string
	cmd := &cobra.Command{
		Use:   "log-level",
		Short: "Change the log level of the running service, until it is started again",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if level == "" {
				return usageError{errors.New("--set: name a level: debug, info, warn or error")}
			}
			resp, err := askAdmin(cmd.Context(), http.MethodPut, admin.LevelPath+"?level="+url.QueryEscape(level))
			if err != nil {
				return err
			}
			body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
			if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("change the log level: the service answers %s: %s", resp.Status, strings.TrimSpace(string(body)))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&level, "set", "", "debug, info, warn or error")
	return cmd
}
