package mercadopago

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"payment-capture/internal/event"
	"payment-capture/internal/secret"
)

// path is the path of charges. Payments and the search are below it.
const path = "/v1/advanced_payments"

// Client calls the API. It is safe for concurrent use.
type Client struct {
	base      string        // the API's address, without a slash at its end
	charge    *http.Request // the template of all charges
	timeout   time.Duration
	config    Config
	transport atomic.Pointer[pool] // replaced after HTTP 421, and with Config.TLS
	token     func() secret.Text
	latest    atomic.Pointer[credential]
	// The values of headers that all requests have.
	json, userAgent []string
}

// credential is an access token with what is derived from it once.
type credential struct {
	token         string
	authorization []string // the header's value
	scrub         *scrubber
}

// New returns a Client. It calls token before each call, so a new access token needs
// no restart. The error names the field that is wrong.
func New(cfg Config, token func() secret.Text) (*Client, error) {
	if token == nil {
		return nil, errors.New("mercadopago: token is nil")
	}
	base, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("mercadopago: %w", err)
	}
	charge, err := http.NewRequestWithContext(context.Background(), http.MethodPost, base+path, nil)
	if err != nil {
		return nil, fmt.Errorf("mercadopago: field URL: %w", err)
	}
	c := &Client{
		base:    base,
		charge:  charge,
		timeout: cfg.Timeout,
		config:  cfg,
		token:   token,
		json:    []string{"application/json"},
	}
	c.transport.Store(cfg.pool(cfg.tlsConfig()))
	if cfg.UserAgent != "" {
		c.userAgent = []string{cfg.UserAgent}
	}
	return c, nil
}

// Close closes idle connections. Calls in flight are not interrupted.
func (c *Client) Close() { c.transport.Load().CloseIdleConnections() }

// misdirected makes later calls use new connections, because the server at the end
// of one of the transport's is not the host of the request (HTTP 421). Closing the
// idle ones is not enough: over HTTP/2 a connection that other calls use is not
// idle, and the next call would share it.
func (c *Client) misdirected(p *pool) { c.replace(p, p.tls) }

// replace makes later calls use new connections, with a TLS configuration.
func (c *Client) replace(p *pool, conf *tls.Config) {
	if c.transport.CompareAndSwap(p, c.config.pool(conf)) {
		p.CloseIdleConnections()
	}
}

// connections returns the pool for a call. If the TLS configuration has changed, it is a
// new one, because the server of an open connection may be trusted no more.
func (c *Client) connections() *pool {
	p := c.transport.Load()
	if conf := c.config.tlsConfig(); conf != p.tls {
		c.replace(p, conf)
		p = c.transport.Load()
	}
	return p
}

// Capture charges once: it sends at most one request. It always returns an answer.
// If ctx ends first, that is a Retry whose Sent reports whether the request may have
// been sent, and the caller checks ctx itself. The caller waits between calls.
func (c *Client) Capture(ctx context.Context, r Request) Answer {
	if err := r.check(); err != nil {
		// Without a key, a retry would charge again.
		return Answer{Meaning: Park, ParkReason: event.ParkInvalidEvent, Detail: "not sent: " + err.Error()}
	}
	return c.send(ctx, r, http.MethodPost, path)
}

// Get reads a payment by the id from an earlier answer, and compares it with the
// request that made it. Only a payment in the answer decides: an error is Poll,
// never Rejected or Park.
func (c *Client) Get(ctx context.Context, r Request, paymentID string) Answer {
	if paymentID == "" || pathSegment(paymentID) == "" {
		return Answer{
			Meaning: Park, ParkReason: event.ParkUndecided, Read: true,
			Detail: "not read: the payment id is empty or not valid",
		}
	}
	a := c.send(ctx, r, http.MethodGet, path+"/"+url.PathEscape(paymentID))
	if a.Payment != nil && a.Payment.ID != paymentID {
		// Whatever it says, it is another payment, or one that cannot be identified.
		a.Meaning, a.Cause, a.Reason, a.ParkReason = Park, CauseContradiction, "", event.ParkContradictory
		a.Detail = fmt.Sprintf("HTTP %d, payment %s contradicts: payment %s was requested", a.HTTPStatus, orNone(a.Payment.ID), paymentID)
	}
	return a
}

// send makes one HTTP call and classifies its result.
func (c *Client) send(ctx context.Context, r Request, method, resource string) Answer {
	x, none := c.call(ctx, &r, method, resource)
	if none != nil {
		return *none
	}
	return x.answer()
}

// call makes one HTTP call, to a path with its query. It returns the complete
// answer, or, in none, what the lack of one means.
func (c *Client) call(ctx context.Context, r *Request, method, resource string) (x *exchange, none *Answer) {
	span := c.startCall(ctx, method, resource, r.Resends)
	x, none = c.exchange(ctx, r, method, resource)
	span.end(x, none)
	if none == nil {
		x.body.parse(x.raw)
	}
	return x, none
}

// exchange makes the call, and leaves the body of the answer unparsed.
func (c *Client) exchange(ctx context.Context, r *Request, method, resource string) (x *exchange, none *Answer) {
	read := method == http.MethodGet
	cred := c.credential()
	if cred == nil {
		return nil, &Answer{
			Meaning: Halt, Cause: CauseCredential, Certain: true, ParkReason: event.ParkBlocked, Read: read,
			Detail: "not sent: the access token cannot be used",
			Reason: "the access token is empty, or contains a space, line break or other character that no header takes: " +
				"check MERCADOPAGO_ACCESS_TOKEN and its file",
		}
	}
	scrub := cred.scrub.with(r)
	tryCtx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	// GotConn runs on this goroutine, before any byte of the request can be written.
	// The later hooks (WroteHeaders) run on another one, which may still be writing
	// when the call has returned.
	var sent atomic.Bool
	tryCtx = httptrace.WithClientTrace(tryCtx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	})
	req, err := c.request(tryCtx, r, method, resource, cred)
	if err != nil {
		return nil, c.noAnswer(ctx, err, 0, Answer{Read: read}, scrub)
	}
	// The transport itself, because an http.Client would follow redirects, and fail
	// at a malformed one.
	transport := c.connections()
	resp, err := transport.RoundTrip(req)
	if c.config.Answered != nil && ctx.Err() == nil { // else this process cancelled the call
		c.config.Answered(err)
	}
	if err != nil {
		return nil, c.noAnswer(ctx, err, 0, Answer{Read: read, Sent: sent.Load() && !unprocessed(err)}, scrub)
	}
	defer func() { _ = resp.Body.Close() }() // the body was read already
	x = &exchange{
		status: resp.StatusCode, read: read, request: *r, scrub: scrub,
		requestID:  scrub.word(resp.Header.Get("X-Request-Id")),
		retryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
	x.raw, err = readBody(resp)
	if resp.StatusCode == http.StatusMisdirectedRequest {
		c.misdirected(transport)
	}
	if err != nil {
		seen := Answer{Read: read, Sent: true, RequestID: x.requestID, RetryAfter: x.retryAfter}
		return nil, c.noAnswer(ctx, err, resp.StatusCode, seen, scrub)
	}
	return x, nil
}

// credential returns the present access token, or nil if it cannot be used.
func (c *Client) credential() *credential {
	token := c.token().Reveal()
	if latest := c.latest.Load(); latest != nil && latest.token == token {
		return latest
	}
	if !visible(token) {
		return nil
	}
	cred := &credential{token: token, authorization: []string{"Bearer " + token}, scrub: newScrubber(token)}
	c.latest.Store(cred)
	return cred
}

// readBody reads the body, up to one byte more than allowed, which shows that it is
// too large. A body that was read to its end leaves the connection reusable; a
// larger one closes it.
func readBody(resp *http.Response) ([]byte, error) {
	size := usualBody
	if 0 < resp.ContentLength && resp.ContentLength <= maxBody {
		size = int(resp.ContentLength)
	}
	var body bytes.Buffer
	body.Grow(size + bytes.MinRead) // ReadFrom needs that much free space to find the end
	_, err := body.ReadFrom(io.LimitReader(resp.Body, maxBody+1))
	return body.Bytes(), err
}

// request builds the HTTP request. Its body cannot be read twice: if net/http can
// rewind the body of a request with an idempotency key, it repeats the request by
// itself when a kept connection breaks. That would be a second call that is not
// counted.
func (c *Client) request(ctx context.Context, r *Request, method, resource string, cred *credential) (*http.Request, error) {
	header := make(http.Header, 8)
	header["Authorization"] = cred.authorization
	header["Accept"] = c.json
	if c.userAgent != nil {
		header["User-Agent"] = c.userAgent
	}
	if method != http.MethodPost {
		req, err := http.NewRequestWithContext(ctx, method, c.base+resource, nil)
		if err != nil {
			return nil, err
		}
		req.Header = header
		return req, nil
	}
	own := []string{r.Key, r.SessionID}
	header["Content-Type"] = c.json
	header["X-Idempotency-Key"] = own[:1:1]
	if r.SessionID != "" {
		header["X-Meli-Session-Id"] = own[1:]
	}
	req := c.charge.WithContext(ctx)
	req.Header = header
	// No GetBody. net/http writes the head and a body from memory at once.
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(r.Body)), int64(len(r.Body))
	return req, nil
}

// noAnswer classifies a call without a complete answer. Half an answer counts as
// none, whatever its status. seen is what is known besides; status is 0 if not even
// that was read.
func (c *Client) noAnswer(ctx context.Context, err error, status int, seen Answer, scrub *scrubber) *Answer {
	seen.Meaning, seen.Cause, seen.ParkReason, seen.HTTPStatus = Retry, CauseNoAnswer, event.ParkUndecided, status
	what := "sent, no answer: "
	switch {
	case status != 0:
		what = fmt.Sprintf("HTTP %d, then half an answer: ", status)
	case !seen.Sent:
		seen.Cause, what = CauseNotSent, "no connection: "
	}
	switch {
	case ctx.Err() != nil:
		what += "the service ended the call"
	case errors.Is(err, context.DeadlineExceeded):
		what += "timeout after " + c.timeout.String()
	default:
		what += err.Error()
	}
	seen.Detail = scrub.text(what, maxDetail)
	if errors.Is(err, errProxyCredential) {
		seen.Meaning, seen.ParkReason, seen.Cause, seen.Certain = Halt, event.ParkBlocked, CauseProxy, true
		seen.Reason = scrub.text(fmt.Sprintf("the proxy refuses its credential (%s): %s", seen.Detail, proxyRemedy), maxDetail)
	}
	return &seen
}
