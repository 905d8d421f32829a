package mercadopago

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"payment-capture/internal/event"
)

// frame is one frame of HTTP/2.
type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

// The types of frames, and a flag.
const (
	frameData, frameHeaders, frameReset, frameSettings, frameGoAway = 0, 1, 3, 4, 7
	endStream                                                       = 1
)

func readFrame(r io.Reader) (frame, error) {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	f := frame{kind: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:]) & (1<<31 - 1)}
	f.payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err := io.ReadFull(r, f.payload)
	return f, err
}

func (f frame) writeTo(w io.Writer) error {
	n := len(f.payload)
	head := binary.BigEndian.AppendUint32([]byte{byte(n >> 16), byte(n >> 8), byte(n), f.kind, f.flags}, f.stream)
	_, err := w.Write(append(head, f.payload...))
	return err
}

// refusingServer serves HTTP/2 over TLS, in frames. It answers each request with the
// frames of answer, by the number of the request and its stream, and closes the
// connection after a GOAWAY.
func refusingServer(t *testing.T, answer func(n int32, stream uint32) []frame) (address string, trust *tls.Config, requests *atomic.Int32) {
	t.Helper()
	lender := httptest.NewTLSServer(http.NotFoundHandler()) // lends its certificate
	t.Cleanup(lender.Close)
	trust = &tls.Config{RootCAs: lender.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: lender.TLS.Certificates, NextProtos: []string{"h2"},
		MinVersion: tls.VersionTLS12,
	})
	if err != nil {
		t.Fatal(err)
	}
	requests = new(atomic.Int32)
	var all sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { serveFrames(conn, requests, answer) })
		}
	})
	return "https://" + l.Addr().String(), trust, requests
}

func serveFrames(conn net.Conn, requests *atomic.Int32, answer func(int32, uint32) []frame) {
	defer func() { _ = conn.Close() }()
	const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	if _, err := io.ReadFull(conn, make([]byte, len(preface))); err != nil {
		return
	}
	if (frame{kind: frameSettings}).writeTo(conn) != nil {
		return
	}
	for {
		f, err := readFrame(conn)
		if err != nil {
			return
		}
		if (f.kind != frameData && f.kind != frameHeaders) || f.flags&endStream == 0 {
			continue
		}
		for _, out := range answer(requests.Add(1), f.stream) {
			if out.writeTo(conn) != nil || (out.kind == frameGoAway && len(out.payload) > 0 && out.payload[7] != 0) {
				return
			}
		}
	}
}

func resetStream(stream, code uint32) frame {
	return frame{kind: frameReset, stream: stream, payload: binary.BigEndian.AppendUint32(nil, code)}
}

// goAway announces that streams above last are not handled.
func goAway(last, code uint32, debug string) frame {
	payload := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), code)
	return frame{kind: frameGoAway, payload: append(payload, debug...)}
}

// unauthorizedPayer is the answer 401003. Its header block is ":status" (name 8 of
// the static table) as a literal.
func unauthorizedPayer(t *testing.T, stream uint32) []frame {
	t.Helper()
	return []frame{
		{kind: frameHeaders, flags: 4, stream: stream, payload: []byte{0x08, 3, '4', '0', '1'}},
		{kind: frameData, flags: endStream, stream: stream, payload: []byte(testdata(t, "error_invalid_payer_token"))},
	}
}

// TestRefusedStreams checks that a stream that the server refuses, or that comes after
// the last one that it handles, counts as not sent, because the API did not see it.
// Every other end of a stream may follow a charge.
func TestRefusedStreams(t *testing.T) {
	t.Parallel()
	const noError, protocolError, internalError, refusedStream, calm = 0, 1, 2, 7, 11
	for name, test := range map[string]struct {
		end       func(stream uint32) []frame
		processed bool
	}{
		"REFUSED_STREAM":            {func(s uint32) []frame { return []frame{resetStream(s, refusedStream)} }, false},
		"GOAWAY below the stream":   {func(uint32) []frame { return []frame{goAway(0, noError, "")} }, false},
		"GOAWAY below, of an error": {func(uint32) []frame { return []frame{goAway(0, calm, "too_many_pings")} }, false},
		"GOAWAY at the stream":      {func(s uint32) []frame { return []frame{goAway(s, internalError, "")} }, true},
		"GOAWAY that speaks of it":  {func(s uint32) []frame { return []frame{goAway(s, internalError, "REFUSED_STREAM")} }, true},
		"INTERNAL_ERROR":            {func(s uint32) []frame { return []frame{resetStream(s, internalError)} }, true},
		"PROTOCOL_ERROR":            {func(s uint32) []frame { return []frame{resetStream(s, protocolError)} }, true},
		"the connection is closed": {func(uint32) []frame {
			return []frame{{kind: frameGoAway, payload: goAway(1<<31-1, noError, "").payload}, goAway(1<<31-1, internalError, "")}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, trust, requests := refusingServer(t, func(n int32, stream uint32) []frame {
				if n == 1 {
					return test.end(stream)
				}
				return unauthorizedPayer(t, stream)
			})
			c := newClient(t, Config{URL: address, TLS: fixed(trust)})
			r := sampleRequest(t)
			first := c.Capture(t.Context(), r)
			cause := CauseNotSent
			if test.processed {
				cause = CauseNoAnswer
			}
			check(t, first, want{meaning: Retry, cause: cause, park: event.ParkUndecided})
			if first.Sent != test.processed || first.EffectUnknown() != test.processed || first.RefusedUnseen() == test.processed {
				t.Errorf("got sent %t, effect unknown %t, refused unseen %t: %s", first.Sent, first.EffectUnknown(), first.RefusedUnseen(),
					first.Detail)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("%d requests for one capture", n)
			}
			check(t, c.Capture(t.Context(), r), want{meaning: Rejected, cause: CausePayer, reason: reasonPayerToken})
		})
	}
}

// TestMisdirected checks that the next call after 421 uses a new connection, even if
// another call still uses the old one.
func TestMisdirected(t *testing.T) {
	t.Parallel()
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := testdata(t, "approved")
			var wrong atomic.Value // the address of the connection that leads astray
			hangs, release := make(chan struct{}), make(chan struct{})
			var keys sync.Map
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				wrong.CompareAndSwap(nil, req.RemoteAddr)
				if req.Method == http.MethodGet {
					close(hangs)
					<-release
					return
				}
				keys.Store(req.Header.Get("X-Idempotency-Key"), true)
				if req.RemoteAddr == wrong.Load() {
					w.WriteHeader(http.StatusMisdirectedRequest)
					return
				}
				_, _ = io.WriteString(w, body)
			}))
			s.EnableHTTP2 = http2
			s.StartTLS()
			t.Cleanup(s.Close)
			trust := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			c := newClient(t, Config{URL: s.URL, TLS: fixed(&tls.Config{RootCAs: trust}), MaxConnections: 4})
			r := sampleRequest(t)
			var reading sync.WaitGroup
			defer reading.Wait()
			defer close(release)
			if http2 {
				reading.Go(func() { c.Get(t.Context(), r, "1") })
				<-hangs
			}
			check(t, c.Capture(t.Context(), r), want{meaning: Retry, cause: CauseServerError})
			check(t, c.Capture(t.Context(), r), want{meaning: Captured, cause: CauseApproved, replayed: true})
			n := 0
			keys.Range(func(any, any) bool { n++; return true })
			if n != 1 {
				t.Errorf("%d keys for one capture", n)
			}
		})
	}
}

// TestProxyCredential checks that a proxy that requires a credential, when it is to
// connect or in place of the API, halts.
func TestProxyCredential(t *testing.T) {
	t.Parallel()
	proxy := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Proxy-Authenticate", "Basic")
		w.WriteHeader(http.StatusProxyAuthRequired)
	})
	through, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"https://api.invalid", "http://api.invalid"} {
		c := newClient(t, Config{URL: address})
		c.transport.Load().Proxy = http.ProxyURL(through)
		a := c.Capture(t.Context(), sampleRequest(t))
		checkSound(t, a)
		if a.Meaning != Halt || a.Cause != CauseProxy || !a.Certain || a.EffectUnknown() || !a.RefusedUnseen() ||
			!strings.Contains(a.Reason, "HTTPS_PROXY") {
			t.Errorf("%s: got %s, cause %d, certain %t, effect unknown %t: %s", address, a.Meaning, a.Cause, a.Certain, a.EffectUnknown(), a.Reason)
		}
	}
}

// TestUnprocessedText checks that after an unknown text, whatever is in it, the API may
// have charged.
func TestUnprocessedText(t *testing.T) {
	t.Parallel()
	const refused = "http2: Transport: cannot retry err [stream error: stream ID 5; REFUSED_STREAM; received from peer] after Request.Body " +
		"was written; define Request.GetBody to avoid this error"
	if !unprocessed(errors.New(refused)) {
		t.Error("the text of a refused stream is not known")
	}
	for _, text := range []string{
		"", "x" + refused, refused + "x", "REFUSED_STREAM", strings.Replace(refused, "REFUSED_STREAM", "CANCEL", 1),
		strings.Replace(refused, "; received from peer", "", 1),
		`http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR, debug="` + refused + `"`,
	} {
		if unprocessed(errors.New(text)) {
			t.Errorf("%q is taken for a request that was not processed", text)
		}
	}
}
