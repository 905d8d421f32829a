package main

import (
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"payment-capture/internal/config"
)

func newConfig() *cobra.Command {
	var check, markdown bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the variables, their defaults, and the values in force",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Read()
			if !check {
				printConfig(cmd, c, markdown)
			}
			if err != nil && check {
				return usageError{err}
			}
			if err != nil && !markdown {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "run would refuse this:\n%v\n", err) // for people only
			}
			if check {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "the configuration is valid")
				return err
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "print what is wrong, with exit code 2, or that nothing is")
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the table of variables and defaults as Markdown")
	return cmd
}

func printConfig(cmd *cobra.Command, c config.Config, markdown bool) {
	out := table.NewWriter()
	out.SetOutputMirror(cmd.OutOrStdout())
	if markdown {
		out.AppendHeader(table.Row{"variable", "default", "meaning"})
		for _, r := range c.Table() {
			out.AppendRow(table.Row{"`" + r.Name + "`", r.Default, r.Description})
		}
		out.RenderMarkdown()
		return
	}
	out.AppendHeader(table.Row{"variable", "default", "in force", "meaning"})
	out.SetColumnConfigs([]table.ColumnConfig{{Number: 4, WidthMax: 60, WidthMaxEnforcer: text.WrapSoft}})
	for _, r := range c.Table() {
		out.AppendRow(table.Row{r.Name, r.Default, r.Value, r.Description})
	}
	out.Render()
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version",
		RunE: func(cmd *cobra.Command, _ []string) error {
			kgo := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, dep := range info.Deps {
					if dep.Path == "github.com/twmb/franz-go" {
						kgo = dep.Version
					}
				}
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "payment-capture %s (%s, franz-go %s)\n", version, runtime.Version(), kgo)
			return err
		},
	}
}

func newHealthcheck() *cobra.Command {
	return &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the running service whether it is alive; for container health checks",
		RunE: func(cmd *cobra.Command, _ []string) error {
			resp, err := askAdmin(cmd.Context(), http.MethodGet, "/livez")
			if err != nil {
				return err
			}
			if err := resp.Body.Close(); err != nil {
				return err
			}
			if resp.StatusCode != http.StatusOK {
				return fmt.Errorf("/livez answers %s", resp.Status)
			}
			return nil
		},
	}
}
