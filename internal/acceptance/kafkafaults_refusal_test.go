//go:build synctests || integration

package acceptance

import "github.com/twmb/franz-go/pkg/kerr"

// surviveRefusal checks that readiness names a refusal of commits and its object, and
// that the instance recovers by itself when fix has removed the cause.
func (w *world) surviveRefusal(in *instance, fix func(), cause *kerr.Error, names ...string) {
	w.t.Helper()
	w.eventually("readiness names the refusal", func() bool {
		ready, body := in.readyz()
		return !ready && containsAll(body, append(names, cause.Message)...)
	})
	fix()
	w.eventually("the instance is ready again without a restart", func() bool {
		ready, _ := in.readyz()
		return ready
	})
	w.wantOneCallPerEvent()
}

// inputRecreatedWhileRunning recreates the input topic while the service runs. The
// service detects this and reads the new topic from its beginning.
func inputRecreatedWhileRunning(w *world) {
	in := w.start("a")
	w.send(numbered(30, nil)...)
	w.awaitDecisions()
	w.deleteTopic(w.topics.input)
	w.eventually("readiness reports that the topic is missing", func() bool {
		ready, body := in.readyz()
		return !ready && containsAll(body, w.topics.input, "is gone")
	})
	w.createTopic(w.topics.input, 3, nil)
	w.client = w.newClient() // the old client has the id of the deleted topic
	w.send(numbered(10, func(_ int, o *order) { o.id, o.order = "new-"+o.id, "new-"+o.order })...)
	w.eventually("the new topic is read", func() bool { return len(w.decisions()) == 40 })
	w.want(w.awaitDecisions(), map[string]int{"captured": 40})
	w.wantOneCallPerEvent()
	if !w.log.contains("rejoining the group") {
		w.t.Error("the service did not rejoin the group")
	}
}
