package main

import (
	"errors"
	"net/http"
	"net/url"

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
			_, err := changeAdmin(cmd.Context(), "change the log level", http.MethodPut, admin.LevelPath+"?level="+url.QueryEscape(level))
			return err
		},
	}
	cmd.Flags().StringVar(&level, "set", "", "debug, info, warn or error")
	return cmd
}
