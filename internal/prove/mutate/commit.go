package main

// commitMutations are bugs in the transaction that carries outcomes and
// offsets.
func commitMutations() []mutation {
	const committer, findOut, offsets = "internal/kafka/committer.go", "internal/kafka/findout.go", "internal/kafka/offsets.go"
	return []mutation{
		{
			name: "offsets committed before the outcomes", file: "internal/pipeline/flush.go",
			old: "				err = committer.Commit(ctx, job.batch)",
			new: "				if err = p.commitOffsets(ctx, job); err == nil {\n					err = committer.Commit(ctx, job.batch)\n				}",
		},
		{
			name: "offsets committed without the outcomes", file: "internal/pipeline/flush.go",
			old: "			if len(job.batch.Records) == 0 {",
			new: "			if len(job.batch.Records) < 3 {",
		},
		{
			name: "outcomes produced outside of the transaction", file: committer,
			old: "	err := c.produce(steps, b.Records)\n",
			new: `	outside, err := c.conf.Kafka.NewClient(kgo.DisableIdempotentWrite(), kgo.RecordRetries(1))
	if err == nil {
		n := len(b.Records) / 2
		err = outside.ProduceSync(steps, b.Records[:n]...).FirstErr()
		outside.Close()
		if err == nil {
			err = c.produce(steps, b.Records[n:])
		}
	}
`,
		},
		{
			name: "an aborted transaction is taken for committed", file: committer,
			old: "	if err != nil {\n		return c.abort(ctx, b, began, err)\n	}\n	// Past",
			new: "	if err != nil {\n		_ = c.abort(ctx, b, began, err)\n		return nil\n	}\n	// Past",
		},
		{
			name: "an unanswered end is taken for aborted", file: findOut,
			old: "		case err == nil && committed:\n			return nil",
			new: "		case err == nil && committed:\n			return fmt.Errorf(\"%w: %w\", ErrNotCommitted, cause)",
		},
		{
			name: "an unanswered end is taken for committed", file: findOut,
			old: "		case err == nil:\n			return fmt.Errorf(\"%w: %w\", ErrNotCommitted, cause)",
			new: "		case err == nil:\n			return nil",
		},
		{
			name: "what became of an end is asked without taking the producer id anew", file: findOut,
			old: "		if err := c.open(ctx); err != nil {\n			return false, err\n		}\n	}\n	for {",
			new: "		defer func() { _ = c.open(ctx) }()\n	}\n	for {",
		},
		{
			name: "refused offsets are not looked at", file: offsets,
			old: "				return fmt.Errorf(\"TxnOffsetCommit of %s/%d: %w\", c.conf.Input, p.Partition, err)",
			new: "				c.conf.Log.WarnContext(ctx, err.Error())",
		},
		{
			name: "the generation is not sent", file: offsets,
			old: "	req.MemberID, req.Generation, req.InstanceID = b.Member, b.Generation, c.conf.GroupInstanceID\n	topic := kmsg.NewTxn",
			new: "	req.MemberID, req.Generation = \"\", -1\n	topic := kmsg.NewTxn",
		},
	}
}
