package main

// claimBugs are bugs in the order in which instances may call for one event or order.
func claimBugs() []bug {
	const ledger, pipeline = "internal/ledger", "internal/pipeline"
	const resumes = `$resumes := func(input int32) bool { return input == $it.part.number }`
	return []bug{
		{"each process writes to a ledger partition of its own", []edit{{
			in:   ledger,
			find: `return entry.Partition($reference, $id, $l.partitions)`,
			put:  `return int32($l.owner[0]) % $l.partitions`,
		}}},
		{"the ledger partition depends on the event id", []edit{{
			in:   ledger,
			find: `return entry.Partition($reference, $id, $l.partitions)`,
			put:  `return entry.Partition("", $id, $l.partitions)`,
		}}},
		{"an attempt is not read back", []edit{{
			in:   ledger,
			find: `if !$w.finished && ($w.err != nil || ($w.acked != notYet && $w.seen >= $w.acked)) {`,
			put:  `if !$w.finished && ($w.err != nil || $w.acked != notYet) {`,
		}, {
			in:   ledger,
			find: `return $w.first, $w.err`,
			put:  `return true, $w.err`,
		}}},
		{"every attempt is the first one", []edit{{
			in:   ledger,
			find: `$w.seen, $w.first = $r.offset, !$disturbed`,
			put:  `$w.seen, $w.first = $r.offset, $disturbed || !$disturbed`,
		}}},
		{"attempts do not name their owner", []edit{{
			in:   ledger,
			find: `owner: rand.Text()`,
			put:  `owner: "all" + rand.Text()[:0]`,
		}}},
		{"events wait for ever for an attempt", []edit{{
			in:   ledger,
			find: `return time.Since($since) > $c.conf.Wait`,
			put:  `return time.Since($since) > $c.conf.Wait && $c.conf.Wait < 0`,
		}}},
		{"no attempt is resumed", []edit{{
			in: pipeline, find: resumes,
			put: `$resumes := func(input int32) bool { return input < 0 && $it != nil }`,
		}}},
		{"every attempt is resumed", []edit{{
			in: pipeline, find: resumes,
			put: `$resumes := func(input int32) bool { return input >= 0 && $it != nil }`,
		}}},
		{"attempts of all owned partitions are resumed", []edit{{
			in: pipeline, find: resumes,
			put: `$resumes := p.ownsInput`,
		}}},
		{"no record goes ahead of those that wait for it", []edit{{
			in:   pipeline,
			find: `if $yields = $p.ownsInput($first.Input); $yields {`,
			put:  `if $yields = $first.Input < -1; $yields {`,
		}}},
		{"the order of attempts is ignored", []edit{{
			in:   ledger,
			find: `return $a.offset < $c.position && $c.conf.Rival != nil && $c.conf.Rival(*$a.attempt)`,
			put:  `return $c.conf.Rival != nil && $c.conf.Rival(*$a.attempt)`,
		}, {
			in:   ledger,
			find: `return $a.offset < $c.turn && !$c.conf.Resumes($a.attempt.Input) && !$c.abandoned($a)`,
			put:  `return !$c.conf.Resumes($a.attempt.Input) && !$c.abandoned($a)`,
		}}},
		{"duplicates do not wait for each other", []edit{{
			in:   ledger,
			find: `return $a.offset < $c.position && $c.conf.Rival != nil && $c.conf.Rival(*$a.attempt)`,
			put:  `return $a.offset < 0 && $c.conf.Rival == nil`,
		}}},
		{"a payment is searched for without an attempt of this process", []edit{{
			in:   "internal/capture",
			find: `if $a.prior != nil && $d.Action != rules.Charge {`,
			put:  `if $a.prior != nil && $d.Action == "" {`,
		}}},
		{"an event is charged beside a duplicate with an unknown result", []edit{{
			in:   "internal/rules",
			find: `case $unknown != nil && $accepted != event.ParkCompeting:`,
			put:  `case $unknown != nil && $accepted == "never":`,
		}}},
	}
}
