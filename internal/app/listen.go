package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"payment-capture/internal/config"
	"payment-capture/internal/secret"
	"payment-capture/internal/tlsfiles"
)

// adminFiles are the files of the admin address.
type adminFiles struct {
	tls    *tlsfiles.Source // nil: plain HTTP
	tokens *secret.Source   // nil: no tokens
}

// newAdminFiles reads the files. Its error names the variable that is wrong.
func newAdminFiles(c config.Config, log *slog.Logger) (f adminFiles, err error) {
	if c.AdminTLSCert != "" {
		f.tls, err = tlsfiles.New(tlsfiles.Files{Certificate: c.AdminTLSCert, Key: c.AdminTLSKey}, log, "ADMIN_TLS_*")
		if err != nil {
			return f, fmt.Errorf("ADMIN_TLS_*: %w", err)
		}
	}
	if c.AdminTokensFile != "" {
		const variable = "ADMIN_TOKENS_FILE"
		if f.tokens, err = secret.File(c.AdminTokensFile, secret.NewWarner(log, variable, c.AdminTokensFile)); err != nil {
			return f, fmt.Errorf("%s: %w", variable, err)
		}
	}
	return f, nil
}

// reload reads changed files again.
func (f adminFiles) reload() {
	if f.tls != nil {
		f.tls.Current()
	}
	if f.tokens != nil {
		f.tokens.Version()
	}
}

// listen serves the admin address until stop is called. It answers while the service
// stops, after ctx has ended.
func (s *Service) listen(ctx context.Context) (stop func() error, err error) {
	return s.serve(ctx, s.Handler())
}

func (s *Service) serve(ctx context.Context, h http.Handler) (stop func() error, err error) {
	addr := s.opts.Config.AdminAddr
	if addr == config.AdminOff {
		return func() error { return nil }, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("ADMIN_ADDR: %w", err)
	}
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug), // whatever a port scanner sends
	}
	serve := server.Serve
	if files := s.admin.tls; files != nil {
		server.TLSConfig = &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &files.Current().Certificates[0], nil },
		}
		serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
	}
	served := make(chan error, 1)
	go func() { served <- serve(listener) }()
	return func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		err := server.Shutdown(ctx)
		if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		return err
	}, nil
}
