package main

// livenessBugs are bugs because of which an instance that gets no answers keeps its
// partitions.
func livenessBugs() []bug {
	return []bug{
		{"an instance that gets no answers does not step down", []edit{{
			in:   "internal/app",
			find: `if $others { stop($silent); return }`,
			put:  `_, _ = $others, stop`,
		}}},
		{"the silence of brokers is not noticed", []edit{{
			in:   "internal/kafka",
			find: `h.watch.Unanswered($peer, $err)`,
			put:  `_ = $peer`,
		}}},
		{"the silence of the API is not noticed", []edit{{
			in:   "internal/app",
			find: `$d.contact.Unanswered($peer, $err)`,
			put:  `_ = $peer`,
		}}},
		{"an instance that stepped down joins again at once", []edit{{
			in:   "internal/app",
			find: `case <-time.After(stepDownPause):`,
			put:  `case <-time.After(0):`,
		}}},
	}
}
