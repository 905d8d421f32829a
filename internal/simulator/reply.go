package simulator

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// delivery is how an answer reaches the client.
type delivery int

const (
	deliverWhole  delivery = iota
	deliverHalf            // half of the promised bytes, then the connection breaks
	deliverSlowly          // a pause between the halves
	deliverNever           // the connection is closed
	deliverHang            // nothing, then the connection is closed
)

// reply is one HTTP answer.
type reply struct {
	status      int
	contentType string // empty: JSON, unless the body is empty
	headers     map[string]string
	body        []byte
}

// plan is a reply and the way it goes.
type plan struct {
	reply    reply
	delivery delivery
	wait     time.Duration // before anything is written
	pause    time.Duration // for deliverSlowly and deliverHang; 0 hangs till the client goes
}

// deliver waits, writes and so ends the request. done is called when the request
// no longer counts as in flight: before its last byte, or a client that is quick
// with its next request would seem to overlap itself.
func (p plan) deliver(w http.ResponseWriter, r *http.Request, done func()) {
	defer done()
	if p.delivery == deliverHang {
		if p.pause > 0 {
			sleep(r.Context(), p.pause)
		} else {
			<-r.Context().Done()
		}
		done()
		panic(http.ErrAbortHandler)
	}
	if !sleep(r.Context(), p.wait) || p.delivery == deliverNever {
		// The client is gone, or must think that the server is. Returning instead would
		// send an empty 200.
		done()
		panic(http.ErrAbortHandler)
	}
	if p.delivery == deliverWhole {
		done()
		p.reply.writeTo(w)
		return
	}
	p.reply.writeHeader(w)
	half := len(p.reply.body) / 2
	_, _ = w.Write(p.reply.body[:half])
	_ = http.NewResponseController(w).Flush() // a recorder cannot; it does not matter
	if p.delivery == deliverHalf || !sleep(r.Context(), p.pause) {
		done()
		panic(http.ErrAbortHandler)
	}
	done()
	_, _ = w.Write(p.reply.body[half:])
}

func (a reply) writeTo(w http.ResponseWriter) {
	a.writeHeader(w)
	_, _ = w.Write(a.body) // a client that has gone is no error
}

func (a reply) writeHeader(w http.ResponseWriter) {
	contentType := a.contentType
	if contentType == "" && len(a.body) > 0 {
		contentType = "application/json;charset=UTF-8"
	}
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
	if a.status != http.StatusNoContent && a.status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	for name, value := range a.headers {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.status)
}

// sleep waits for d and reports whether it passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// jsonReply marshals a value that is known to marshal.
func jsonReply(status int, value any) reply {
	body, err := json.Marshal(value)
	if err != nil {
		return reply{status: http.StatusInternalServerError, contentType: "text/plain", body: []byte(err.Error())}
	}
	return reply{status: status, body: body}
}
