package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"payment-capture/internal/kafka/retry"
	"payment-capture/internal/secret"
	"payment-capture/internal/tlsfiles"
)

// tokenTimeout bounds a request to the token endpoint. It is shorter than the library
// waits for a connection.
const tokenTimeout = 5 * time.Second

// OAuth gets tokens by the client credentials grant (RFC 6749, section 4.4). It caches
// a token, and gets the next one when a connection needs it after four fifths of its
// life. If that fails, the cached token stays in use until it expires.
type OAuth struct {
	TokenURL string
	Scopes   []string
	TLS      *tlsfiles.Source // of the token endpoint
	Log      *slog.Logger

	mu      sync.Mutex // guards what follows, and is held during a request
	cached  *oauth2.Token
	secret  secret.Text // that cached was obtained with
	refresh time.Time   // of cached
}

// token returns a valid token.
func (o *OAuth) token(ctx context.Context, client string, credential secret.Text) (secret.Text, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.cached != nil && o.secret == credential && now.Before(o.refresh) {
		return secret.New(o.cached.AccessToken), nil
	}
	fresh, err := o.fetch(ctx, client, credential)
	switch {
	case err == nil:
		o.cached, o.secret = fresh, credential
		o.refresh = now.Add(fresh.Expiry.Sub(now) * 4 / 5)
		if fresh.Expiry.IsZero() { // expires_in is optional
			o.refresh = now.Add(time.Minute)
		}
	case o.cached == nil || (!o.cached.Expiry.IsZero() && now.After(o.cached.Expiry)):
		return secret.Text{}, err
	case o.Log != nil:
		o.Log.WarnContext(ctx, "token cannot be renewed; the last one stays in use", slog.Any("error", err),
			slog.Time("expires", o.cached.Expiry))
	}
	return secret.New(o.cached.AccessToken), nil
}

// fetch asks the token endpoint. Each request has a connection of its own, so it uses
// the current certificates.
func (o *OAuth) fetch(ctx context.Context, client string, credential secret.Text) (*oauth2.Token, error) {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: o.TLS.Config(), DisableKeepAlives: true}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: transport, Timeout: tokenTimeout})
	conf := clientcredentials.Config{ClientID: client, ClientSecret: credential.Reveal(), TokenURL: o.TokenURL, Scopes: o.Scopes}
	token, err := conf.Token(ctx)
	if err != nil {
		return nil, failure(err, credential)
	}
	return token, nil
}

// failure returns the error of a request to the token endpoint on one line. The
// library's has the whole body of the response, whatever that contains.
func failure(err error, credential secret.Text) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return fmt.Errorf("get a token from KAFKA_OAUTH_TOKEN_URL: %w; check the address, and the certificates in KAFKA_OAUTH_CA_FILE", err)
	}
	said := strings.Join(strings.Fields(refused.ErrorCode+" "+refused.ErrorDescription), " ")
	said = strings.ReplaceAll(said, credential.Reveal(), secret.Redacted)
	err = fmt.Errorf("get a token from KAFKA_OAUTH_TOKEN_URL: %s %.300s; "+
		"check KAFKA_OAUTH_TOKEN_URL, KAFKA_SASL_USER (client id), KAFKA_SASL_PASSWORD (client secret) and KAFKA_OAUTH_SCOPE",
		refused.Response.Status, said)
	if status := refused.Response.StatusCode; status < 400 || status >= 500 ||
		status == http.StatusTooManyRequests || status == http.StatusRequestTimeout {
		return err
	}
	return retry.Permanent(err)
}
