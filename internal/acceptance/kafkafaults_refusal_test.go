//go:build synctests || integration

package acceptance

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"payment-capture/internal/kafka"
)

// refusalsEndTheProcess says what a refusal of a commit does that lasts: true,
// it ends the process with kafka.ErrRefused, false, the service waits, says why
// it is not ready, and goes on by itself when the cause is mended.
const refusalsEndTheProcess = true

// throughRefusal wants an instance to meet a refusal, and to work again once
// its cause is mended.
func (w *world) throughRefusal(in *instance, mend func(), cause *kerr.Error, names ...string) {
	w.t.Helper()
	if refusalsEndTheProcess {
		// Not every one of these errors has the names.
		if err := in.wait(); !errors.Is(err, kafka.ErrRefused) || !errors.Is(err, cause) {
			w.t.Fatalf("the service ended with %v, want %v", err, cause)
		}
		mend()
		w.start(in.name)
		return
	}
	w.eventually("readiness names the refusal", func() bool {
		ready, body := in.readyz()
		return !ready && containsAll(body, append(names, cause.Message)...)
	})
	mend()
	w.eventually("it is ready again, without a restart", func() bool {
		ready, _ := in.readyz()
		return ready
	})
	w.noRepeatedCall()
}

// inputAnewEndsTheProcess says what becomes of a service whose input topic is
// deleted and made anew while it runs: true, it ends with kafka.ErrRefused and
// the topic's name, false, it does not notice.
const inputAnewEndsTheProcess = false

// inputAnewWhileRunning deletes the input topic under the running service, and
// makes it anew.
func inputAnewWhileRunning(w *world) {
	in := w.start("a")
	w.send(numbered(30, nil)...)
	w.settle()
	w.deleteTopic(w.topics.input)
	w.createTopic(w.topics.input, 3, nil)
	w.client = w.newClient() // the other one knows the topic that is gone
	w.send(numbered(10, func(_ int, o *order) { o.id, o.order = "new-"+o.id, "new-"+o.order })...)
	if inputAnewEndsTheProcess {
		if err := in.wait(); !errors.Is(err, kafka.ErrRefused) || !containsAll(err.Error(), w.topics.input, "start again") {
			w.t.Fatalf("the service ended with: %v", err)
		}
	} else {
		time.Sleep(5 * time.Second)
		if ready, body := in.readyz(); !ready {
			w.t.Errorf("it has noticed: %s", body)
		}
		in.stop()
	}
	w.start("a")
	w.want(w.settle(), map[string]int{"captured": 40})
	w.noRepeatedCall()
}
