package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"payment-capture/internal/admin"
	"payment-capture/internal/config"
	"payment-capture/internal/pipeline"
)

func newRelease() *cobra.Command {
	var partition int32
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Park the invalid events that the running service holds, without waiting for INVALID_EVENT_HOLD",
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := admin.ReleasePath
			if cmd.Flags().Changed("partition") {
				path += fmt.Sprintf("?partition=%d", partition)
			}
			body, err := changeAdmin(cmd.Context(), "release invalid events", http.MethodPost, path)
			if err != nil {
				return err
			}
			return printReleased(cmd.OutOrStdout(), body)
		},
	}
	cmd.Flags().Int32Var(&partition, "partition", 0, "release this partition only; without it, all of the instance at ADMIN_ADDR")
	return cmd
}

func printReleased(out io.Writer, body []byte) error {
	var answer struct {
		Released []pipeline.InvalidHold `json:"released"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("release invalid events: read the service's answer: %w", err)
	}
	if len(answer.Released) == 0 {
		return errors.New("release invalid events: the instance at ADMIN_ADDR holds none; /status of each instance lists its holds")
	}
	for _, h := range answer.Released {
		if _, err := fmt.Fprintf(out, "partition %d: offsets %d to %d are parked now; %d records waited; %s\n",
			h.Partition, h.First, h.Last, h.Waiting, h.Reason); err != nil {
			return err
		}
	}
	return nil
}

// changeAdmin changes something in the running service, and returns the body of its
// answer. what describes the change in an error.
func changeAdmin(ctx context.Context, what, method, path string) ([]byte, error) {
	resp, err := askAdmin(ctx, method, path)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: the service answers %s: %s", what, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, err
}

// askAdmin sends a request without a body to the running service at ADMIN_ADDR, with its
// first token.
func askAdmin(ctx context.Context, method, path string) (*http.Response, error) {
	c, err := config.ReadAdmin()
	if err != nil {
		return nil, usageError{err}
	}
	host, port, err := net.SplitHostPort(c.AdminAddr)
	if err != nil {
		return nil, usageError{fmt.Errorf("ADMIN_ADDR: %w", err)}
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "localhost"
	}
	// Of its own: no proxy of the environment stands before this address.
	transport, scheme := &http.Transport{DisableKeepAlives: true}, "http"
	if c.AdminTLSCert != "" {
		scheme = "https"
		if transport.TLSClientConfig, err = trustOnly(c.AdminTLSCert); err != nil {
			return nil, usageError{fmt.Errorf("ADMIN_TLS_CERT_FILE: %w", err)}
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, scheme+"://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return nil, err
	}
	if c.AdminTokensFile != "" {
		tokens, err := os.ReadFile(c.AdminTokensFile)
		if err != nil {
			return nil, usageError{fmt.Errorf("ADMIN_TOKENS_FILE: %w", err)}
		}
		if all := strings.Fields(string(tokens)); len(all) > 0 {
			req.Header.Set("Authorization", "Bearer "+all[0])
		}
	}
	return (&http.Client{Timeout: 5 * time.Second, Transport: transport}).Do(req)
}

// trustOnly returns a configuration that accepts only the server with the first
// certificate of a file, under one of the names in it: the certificate need not be valid
// for localhost, nor its authority be known here.
func trustOnly(path string) (*tls.Config, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator's own configuration names it
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s does not begin with a PEM certificate", path)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	conf.RootCAs.AddCert(cert)
	switch {
	case len(cert.DNSNames) > 0:
		conf.ServerName = strings.Replace(cert.DNSNames[0], "*", "any", 1)
	case len(cert.IPAddresses) > 0:
		conf.ServerName = cert.IPAddresses[0].String()
	default:
		return nil, fmt.Errorf("%s: the certificate has no DNS name and no IP address; issue one with a subjectAltName", path)
	}
	return conf, nil
}
