package main

// ledgerMutations are bugs in what is kept of an event, and in what is made of
// it.
func ledgerMutations() []mutation {
	const records, answers, attempt, intents = "internal/ledger/records.go", "internal/rules/respond.go",
		"internal/capture/attempt.go", "internal/ledger/attempts.go"
	return []mutation{
		{
			name: "an attempt is not noted", file: "internal/pipeline/lease.go",
			old: "	return j.ledger.Attempt(",
			new: "	if !a.First.IsZero() {\n		return nil\n	}\n	return j.ledger.Attempt(",
		},
		{
			name: "a call does not wait for its note", file: intents,
			old: "	select {\n	case err = <-done:\n	case <-ctx.Done():\n		err = ctx.Err()\n	}\n",
			new: "",
		},
		{
			name: "a decision is not written", file: records,
			old: "	records := []*kgo.Record{{Topic: l.conf.Topic, Partition: at, Key: KindDecision.Key(id), Value: value}}\n",
			new: "	records := make([]*kgo.Record, 0, len(value))\n",
		},
		{
			name: "an attempt stays open beside its decision", file: records,
			old: "	if !d.Attempt.First.IsZero() {",
			new: "	if !d.Attempt.First.IsZero() && d.At.IsZero() {",
		},
		{
			name: "the tombstone is the decision's", file: records,
			old: "Key: KindAttempt.Key(id)})",
			new: "Key: KindDecision.Key(id)})",
		},
		{
			name: "nothing is found in the ledger", file: "internal/pipeline/verdict.go",
			old: "	r := rules.Respond(e, it.resend, h)",
			new: "	h = event.History{}\n	r := rules.Respond(e, it.resend, h)",
		},
		{
			name: "no catch-up before the first dispatch", file: "internal/pipeline/positions.go",
			old: "			if o.p.ledger.CatchUp(pt.asking) == nil {",
			new: "			if pt.asking.Err() == nil {",
		},
		{
			name: "the catch-up ends at the last stable offset", file: "internal/ledger/catchup.go",
			old: "	listed, err := l.admin.ListEndOffsets(ctx, l.conf.Topic)",
			new: "	listed, err := l.admin.ListCommittedOffsets(ctx, l.conf.Topic)",
		},
		{
			name: "what is decided and not read back is forgotten", file: intents,
			old: "{ l.pending.addDecision(id, d) }",
			new: "{ _, _ = id, d }",
		},
		{
			name: "a commit does not name its ledger", file: "internal/pipeline/flush.go",
			old: "ledger: o.p.ledger.TopicID(), token",
			new: "token",
		},
		{
			name: "the horizon is counted from this process on", file: attempt,
			old: "		a.noted.First = a.prior.First\n",
			new: "		a.noted.First = now()\n",
		},
		{
			name: "an inherited attempt is taken for one without effect", file: attempt,
			old: "		a.inherited, a.unknown, a.doubtful = true, true, true\n",
			new: "		a.inherited = true\n",
		},
		{
			name: "a note is taken back although its effect is unknown", file: "internal/capture/note.go",
			old: "	if a.unknown || a.inherited || a.pollID != \"\" || a.last.Payment != nil {\n		return false\n	}\n	return a.last.RefusedUnseen()",
			new: "	return a.pollID == \"\" && a.last.Payment == nil",
		},
		{
			name: "another event of the same id is not noticed", file: answers,
			old: "	case contradicts(d.Attempt, as):",
			new: "	case d.At.IsZero() && contradicts(d.Attempt, as):",
		},
		{
			name: "a record that is sent again undoes any parking", file: answers,
			old: "	case !resend.Undoes(d):",
			new: "	case resend == nil:",
		},
		{
			name: "what was corrected since is evaluated anew", file: answers,
			old: "	case len(d.Superseded) > 0 && slices.Contains",
			new: "	case len(d.Superseded) > event.MaxSuperseded && slices.Contains",
		},
		{
			name: "what was seen of an event is used though it has changed", file: "internal/ledger/snapshot.go",
			old: "	return g.Mark != 0 && g.Mark == l.changes.mark(id) && l.availability.open.Load()\n",
			new: "	return g.Mark != 0 && l.availability.open.Load()\n",
		},
		{
			name: "what a flush decided is not noticed by what was seen before", file: "internal/ledger/pendingwrites.go",
			old: "		o.events.Add(1)\n	}\n	o.changes.of(id)\n",
			new: "		o.events.Add(1)\n	}\n",
		},
		{
			name: "the store's positions are written ahead of its entries", file: "internal/ledger/storewrite.go",
			old: "func (w *writer) commit(read map[int32]position) error {\n",
			new: "func (w *writer) commit(read map[int32]position) error {\n	for partition, p := range read {\n" +
				"		if err := w.s.db.Set(positionKey(partition), p.append(nil), pebble.NoSync); err != nil {\n			return err\n		}\n	}\n" +
				"	if err := w.s.db.Flush(); err != nil {\n		return err\n	}\n",
		},
		{
			name: "what an aborted transaction wrote to the ledger is believed", file: "internal/ledger/follow.go",
			old: "		kgo.FetchIsolationLevel(kgo.ReadCommitted()),\n",
			new: "		kgo.FetchIsolationLevel(kgo.ReadUncommitted()),\n",
		},
	}
}
