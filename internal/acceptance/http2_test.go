//go:build synctests

package acceptance

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"payment-capture/internal/app"
	"payment-capture/internal/config"
	"payment-capture/internal/kafkatest"
	"payment-capture/internal/simulator"
)

// The types of HTTP/2 frames, and a flag.
const (
	frameData, frameHeaders, frameReset, frameSettings, frameGoAway = 0, 1, 3, 4, 7
	endStream                                                       = 1
)

func writeFrame(w io.Writer, kind, flags byte, stream uint32, payload []byte) {
	n := len(payload)
	head := binary.BigEndian.AppendUint32([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, stream)
	_, _ = w.Write(append(head, payload...)) // an error ends the next read too
}

// TestVirtualRefusedStreams has an API that does not process the first request, by
// HTTP/2, and answers the second one with 401003. No call can have charged, so the event
// is rejected and not parked. It runs in real time, over TCP.
func TestRefusedStreams(t *testing.T) {
	lender := httptest.NewTLSServer(http.NotFoundHandler()) // lends its certificate, of example.com
	defer lender.Close()
	roots := filepath.Join(t.TempDir(), "roots.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: lender.Certificate().Raw})
	if err := os.WriteFile(roots, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", roots)
	t.Setenv("SSL_CERT_DIR", t.TempDir())
	serverTLS := &tls.Config{Certificates: lender.TLS.Certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
	for name, refuse := range map[string]func(w io.Writer, stream uint32){
		"REFUSED_STREAM": func(w io.Writer, stream uint32) {
			writeFrame(w, frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, 7))
		},
		"GOAWAY below the stream": func(w io.Writer, _ uint32) { writeFrame(w, frameGoAway, 0, 0, make([]byte, 8)) },
	} {
		t.Run(name, func(t *testing.T) {
			broker := kafkatest.Fake(t, kfake.GroupMinSessionTimeout(1))
			var requests atomic.Int32
			w := newWorld(t, broker, 1, simulator.Config{}, func(http.Handler) (string, app.DialFunc) {
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				ended := make(chan struct{})
				t.Cleanup(func() { _ = listener.Close(); <-ended })
				go func() {
					defer close(ended)
					for {
						conn, err := listener.Accept()
						if err != nil {
							return
						}
						go serveStreams(tls.Server(conn, serverTLS), &requests, refuse)
					}
				}()
				return "https://example.com", func(ctx context.Context, network, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, network, listener.Addr().String())
				}
			})
			w.start("a", func(c *config.Config) { c.CaptureRefusalRun = 0 })
			w.send(order{id: "e1"})
			w.want(w.awaitDecisions(), map[string]int{"rejected invalid_payer_token": 1})
			if n := requests.Load(); n != 2 {
				t.Errorf("%d requests, want 2", n)
			}
		})
	}
}

// serveStreams refuses the first request and answers the others with 401003.
func serveStreams(conn net.Conn, requests *atomic.Int32, refuse func(w io.Writer, stream uint32)) {
	defer func() { _ = conn.Close() }()
	if _, err := io.ReadFull(conn, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))); err != nil {
		return
	}
	writeFrame(conn, frameSettings, 0, 0, nil)
	for {
		var head [9]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(head[0])<<16|int64(head[1])<<8|int64(head[2])); err != nil {
			return
		}
		kind, flags, stream := head[3], head[4], binary.BigEndian.Uint32(head[5:])
		switch {
		case kind != frameData && kind != frameHeaders, flags&endStream == 0:
		case requests.Add(1) == 1:
			refuse(conn, stream)
		default:
			const answer = `{"status":"401","error":"unauthorized","message":"Invalid payer token.","cause":[{"code":"401003"}]}`
			writeFrame(conn, frameHeaders, 4, stream, []byte{0x08, 3, '4', '0', '1'}) // ":status", name 8 of the static table
			writeFrame(conn, frameData, endStream, stream, []byte(answer))
		}
	}
}
