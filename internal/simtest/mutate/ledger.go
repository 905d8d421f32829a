package main

// ledgerBugs are bugs in what the ledger keeps of an event, and in what the
// service concludes from it.
func ledgerBugs() []bug {
	const capture, ledger, pipeline, rules = "internal/capture", "internal/ledger", "internal/pipeline", "internal/rules"
	return []bug{
		{"a first attempt is not written", []edit{{
			in:   pipeline,
			find: `return $l.claim.Attempt($l.calls, $a)`,
			put:  `if $l.prior == nil { return nil }; return $l.claim.Attempt($l.calls, $a)`,
		}}},
		{"a call does not wait for its attempt", []edit{{
			in:   ledger,
			find: `$first, err := $c.put($ctx, entry.EncodeAttempt($a))`,
			put: `$first, err := true, error(nil)
				go func() { _, _ = $c.put($ctx, entry.EncodeAttempt($a)) }()`,
		}}},
		{"a decision is not written", []edit{{
			in:   ledger,
			find: `$records := []*kgo.Record{{Topic: $l.conf.Topic, Partition: $at, Key: entry.DecisionKey($id), Value: $value}}`,
			put:  `$records := make([]*kgo.Record, 0, len($value)+int($at))`,
		}}},
		{"a decision does not end the attempts before it", []edit{{
			in:   ledger,
			find: `case $r.owner == "" && $r.decision.Rank > store.Parked: return true`,
			put:  `case $r.owner == "" && $r.decision.Rank >= store.Parked: return false`,
		}, {
			in:   ledger,
			find: `$records = append($records, &kgo.Record{Topic: $l.conf.Topic, Partition: $a.partition, Key: entry.AttemptKey($id, $a.owner)})`,
			put:  `_ = $a`,
		}}},
		{"the tombstone deletes the decision", []edit{{
			in:   ledger,
			find: `Key: entry.AttemptKey($id, $a.owner)})`,
			put:  `Key: entry.DecisionKey($id)})`,
		}}},
		{"the history in the ledger is ignored", []edit{{
			in:   pipeline,
			find: `$r := rules.Respond($e, $it.resend, $h)`,
			put:  `$h = event.History{}; $r := rules.Respond($e, $it.resend, $h)`,
		}}},
		{"the first dispatch does not wait for the ledger to catch up", []edit{{
			in:   pipeline,
			find: `if $o.p.ledger.CatchUp($pt.calls) == nil {`,
			put:  `if $pt.calls.Err() == nil {`,
		}}},
		{"catching up ends at the last stable offset", []edit{{
			in: ledger, fn: "listEnds",
			find: `$l.admin.ListEndOffsets($ctx, $l.conf.Topic)`,
			put:  `$l.admin.ListCommittedOffsets($ctx, $l.conf.Topic)`,
		}}},
		{"pending decisions are forgotten", []edit{{
			in:   ledger,
			find: `{ $l.pending.add($id, $d) }`,
			put:  `{ _, _ = $id, $d }`,
		}}},
		{"a commit does not name its ledger", []edit{{
			in:   pipeline,
			find: `Ledger: $o.p.ledger.TopicID(), Token: $token`,
			put:  `Token: $token`,
		}}},
		{"the key retention counts from now on", []edit{{
			in:   rules,
			find: `switch $since := $now.Sub($prior.First); {`,
			put:  `switch $since := $now.Sub($now); {`,
		}, {
			// Without this a lookup finds the payment before the call.
			in:   rules,
			find: `case $now.Sub($d.Prior.First) > LookUpAfter:`,
			put:  `case $now.Sub($now) > LookUpAfter:`,
		}}},
		{"an inherited attempt counts as one without effect", []edit{{
			in:   capture,
			find: `$a.inherited, $a.mayHaveCharged, $a.mayHaveChargedBefore = true, true, true`,
			put:  `$a.inherited = true`,
		}}},
		{"an attempt of unknown effect is withdrawn", []edit{{
			in:   capture,
			find: `return !$a.mayHaveCharged && !$a.inherited && $a.pollID == "" && $a.last.Payment == nil && $a.last.RefusedUnseen()`,
			put:  `return $a.pollID == "" && $a.last.Payment == nil`,
		}}},
		{"a conflicting event is not detected", []edit{{
			in:   rules,
			find: `case contradicts($d.Attempt, $e):`,
			put:  `case $d.At.IsZero() && contradicts($d.Attempt, $e):`,
		}}},
		{"a resent record undoes any parked decision", []edit{{
			in:   rules,
			find: `case !$resend.Undoes($d):`,
			put:  `case $resend == nil:`,
		}}},
		{"a superseded event is decided again", []edit{{
			in:   rules,
			find: `case len($d.Superseded) > 0 && slices.Contains`,
			put:  `case len($d.Superseded) > event.MaxSuperseded && slices.Contains`,
		}}},
		{"a snapshot is used although it is out of date", []edit{{
			in:   ledger,
			find: `return $version != 0 && $version == $l.changes.version($key) && $l.availability.open.Load()`,
			put:  `return $version != 0 && $l.availability.open.Load()`,
		}}},
		{"a record of the topic does not invalidate snapshots", []edit{{
			in:   ledger,
			find: `$c.changes.bump($all[$i].id)`,
		}}},
		{"the local store writes its positions before its entries", []edit{{
			in:   ledger,
			find: `func ($b *Batch) commitLocked() error { defer $b.Reset()`,
			put: `func ($b *Batch) commitLocked() error {
				defer $b.Reset()
				for partition, p := range $b.positions {
					if err := $b.s.db.Set(positionKey(partition), p.append(nil), pebble.NoSync); err != nil {
						return err
					}
				}
				if err := $b.s.db.Flush(); err != nil {
					return err
				}`,
			needs: []string{"github.com/cockroachdb/pebble/v2"},
		}}},
		{"the ledger forgets before the retention", []edit{{
			in:   ledger,
			find: `$l.sweepStore($ctx, $s, $began.Add(-$l.conf.Retention))`,
			put:  `$l.sweepStore($ctx, $s, $began)`,
		}}},
		{"an event that the ledger has forgotten is charged", []edit{{
			in:   rules,
			find: `case $r.LedgerRetention > 0 && $now.Sub($from) > $remembers:`,
			put:  `case $r.LedgerRetention > 0 && $now.Sub($from) > $remembers: return nil; case false:`,
		}}},
		{"ledger entries of aborted transactions are read", []edit{{
			in:   ledger,
			find: `if $key.Type == kmsg.ControlRecordKeyTypeAbort { return nil }`,
		}}},
	}
}
