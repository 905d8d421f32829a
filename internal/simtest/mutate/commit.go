package main

// commitBugs are bugs in the transaction that carries outcomes and offsets.
func commitBugs() []bug {
	const pipeline, kafka = "internal/pipeline", "internal/kafka"
	return []bug{
		{"offsets are committed before the outcomes", []edit{{
			in:   pipeline,
			find: `err = $p.commitOffsets($ctx, $job) } else { err = $committer.Commit($ctx, $job.batch)`,
			put: `err = $p.commitOffsets($ctx, $job)
				} else if err = $p.commitOffsets($ctx, $job); err == nil {
					err = $committer.Commit($ctx, $job.batch)`,
		}}},
		{"offsets are committed without the outcomes", []edit{{
			in:   pipeline,
			find: `if len($job.batch.Records) == 0 { err =`,
			put:  `if len($job.batch.Records) < 3 { err =`,
		}}},
		{"outcomes are produced outside the transaction", []edit{{
			in:   kafka,
			find: `err := $c.produce($steps, $b.Records)`,
			put: `outside, err := $c.conf.Kafka.NewClient(kgo.DisableIdempotentWrite(), kgo.RecordRetries(1))
				if err == nil {
					n := len($b.Records) / 2
					err = outside.ProduceSync($steps, $b.Records[:n]...).FirstErr()
					outside.Close()
					if err == nil {
						err = $c.produce($steps, $b.Records[n:])
					}
				}`,
			needs: []string{"github.com/twmb/franz-go/pkg/kgo"},
		}}},
		{"an aborted transaction counts as committed", []edit{{
			in:   kafka,
			find: `return $c.abort($ctx, $b, $began, err)`,
			put:  `_ = $c.abort($ctx, $b, $began, err); return nil`,
		}}},
		{"an unanswered end counts as aborted although it committed", []edit{{
			in:   kafka,
			find: `case !$committed: return fmt.Errorf("%w: %w", ErrNotCommitted, $cause)`,
			put:  `case $committed, !$committed: return fmt.Errorf("%w: %w", ErrNotCommitted, $cause)`,
		}}},
		{"an unanswered end counts as committed although it aborted", []edit{{
			in:   kafka,
			find: `case !$committed: return fmt.Errorf("%w: %w", ErrNotCommitted, $cause)`,
			put:  `case !$committed: return nil`,
		}}},
		{"the committed offsets are read before the producer id is reinitialised", []edit{{
			in:   kafka,
			find: `if err := $c.open($ctx); err != nil { return false, err }`,
			put:  `defer func() { _ = $c.open($ctx) }()`,
		}}},
		{"refused offsets are ignored", []edit{{
			in:   kafka,
			find: `return fmt.Errorf("TxnOffsetCommit of topic %q: %w", $c.conf.Input, NeedsTopic($err, "Read", $c.conf.Input))`,
			put:  `$c.conf.Log.WarnContext(ctx, $err.Error())`,
		}}},
		{"the group generation is not sent", []edit{{
			in:   kafka,
			find: `req.MemberID, req.Generation, req.InstanceID = $b.Member, $b.Generation, $c.conf.GroupInstanceID`,
			put:  `req.MemberID, req.Generation = "", -1`,
		}}},
	}
}
