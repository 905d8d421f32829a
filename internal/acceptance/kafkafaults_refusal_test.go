//go:build synctests || integration

package acceptance

import "github.com/twmb/franz-go/pkg/kerr"

// throughRefusal wants an instance to meet a refusal of its commits, to say so
// and what it is about, and to go on by itself once the cause is mended.
func (w *world) throughRefusal(in *instance, mend func(), cause *kerr.Error, names ...string) {
	w.t.Helper()
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

// inputAnewWhileRunning deletes the input topic under the running service, and
// makes it anew: it notices, and reads the new one from its beginning.
func inputAnewWhileRunning(w *world) {
	in := w.start("a")
	w.send(numbered(30, nil)...)
	w.settle()
	w.deleteTopic(w.topics.input)
	w.eventually("readiness says that the topic is gone", func() bool {
		ready, body := in.readyz()
		return !ready && containsAll(body, w.topics.input, "is gone")
	})
	w.createTopic(w.topics.input, 3, nil)
	w.client = w.newClient() // the other one knows the topic that is gone
	w.send(numbered(10, func(_ int, o *order) { o.id, o.order = "new-"+o.id, "new-"+o.order })...)
	w.eventually("the new topic is read", func() bool { return len(w.verdicts()) == 40 })
	w.want(w.settle(), map[string]int{"captured": 40})
	w.noRepeatedCall()
	if !w.log.contains("rejoining the group") {
		w.t.Error("it did not rejoin")
	}
}
