package main

// pipelineBugs are bugs in admission, ordering, handover and the flush.
func pipelineBugs() []bug {
	const dir, metadata = "internal/pipeline", "internal/offsetmeta"
	return []bug{
		{"a revoke does not drain", []edit{{
			in:   dir,
			find: `$o.drain($o.owned($numbers), RebalanceTimeout, $done)`,
			put:  `$o.drop($o.owned($numbers)); close($done)`,
		}}},
		{"a drain does not flush", []edit{{
			in:   dir,
			find: `return $pt.inFlight == 0 && $pt.decisions == 0 && !$pt.dirty`,
			put:  `return $pt.inFlight == 0`,
		}}},
		{"the map of completed offsets is written empty", []edit{{
			in:   dir,
			find: `$pt.tracker.completedAbove()`,
			put:  `offsetmeta.Completed{End: $pt.tracker.committable()}`,
		}}},
		{"the map of completed offsets is cut off", []edit{{
			in:   metadata,
			find: `$span := $c.End - $committed`,
			put:  `$c.End = max($committed, $c.End-1); $span := $c.End - $committed`,
		}}},
		{"the map of completed offsets has one that is not completed", []edit{{
			in:   metadata,
			find: `$deltas := binary.AppendUvarint(nil, uint64($c.End-$committed))`,
			put: `if len($c.Open) > 1 { $c.Open = $c.Open[:len($c.Open)-1] }
				$deltas := binary.AppendUvarint(nil, uint64($c.End-$committed))`,
		}}},
		{"the map of completed offsets is not read", []edit{{
			in:   dir,
			find: `$s.completed, $s.run = $m.Completed, $m.Run`,
			put:  `$s.run = $m.Run`,
		}}},
		{"the committed offset is one too low", []edit{{
			in:   dir,
			find: `Partition: $pt.number, At: $low,`,
			put:  `Partition: $pt.number, At: max(0, $low-1),`,
		}}},
		{"the committed offset is one too high", []edit{{
			in:   dir,
			find: `Partition: $pt.number, At: $low,`,
			put:  `Partition: $pt.number, At: $low + 1,`,
		}}},
		{"the committed offset is the polled one", []edit{{
			in:   dir,
			find: `if $t.open > 0 { return $t.items[0].offset }`,
		}}},
		{"events of one order are not kept in order", []edit{{
			in: dir,
			find: `keys := []orderingKey{{keyOrder, $r.event.OrderID}, {keyEvent, $r.event.ID}}
				if key := string($r.record.Key); $r.record.Key != nil && key != $r.event.OrderID {`,
			put: `keys := []orderingKey{{keyEvent, $r.event.ID}}
				if key := string($r.record.Key); key == "-" {`,
		}}},
		{"an event that is prepared does not wait for its turn", []edit{{
			in:   "internal/capture",
			find: `$turn := $lease.Turn()`,
			put:  `$turn := make(chan struct{}); close($turn)`,
		}}},
		{"two records of one event id are captured at once", []edit{{
			in:   dir,
			find: `[]orderingKey{{keyOrder, $r.event.OrderID}, {keyEvent, $r.event.ID}}`,
			put:  `[]orderingKey{{keyOrder, $r.event.OrderID}}`,
		}}},
		{"stale decisions are flushed", []edit{{
			in:   dir,
			fn:   "captureEnded",
			find: `case !$o.owns($pt):`,
			put: `case $o.parts[$pt.number] == nil:
					$o.p.conf.Metrics.stale()
				case !$o.owns($pt) && err == nil:
					now := $o.parts[$pt.number]
					now.pending, now.dirty = append(now.pending, c), true
					now.decisions++
					now.decisionBytes += c.bytes()
				case !$o.owns($pt):`,
		}, {
			// Without this the call is cancelled and has no result.
			in:   dir,
			find: `if !$o.stopping.withoutFlush || !Restartable($o.stopping.cause) { $pt.cancel()`,
			put:  `if $o.stopping.withoutFlush && !Restartable($o.stopping.cause) { $pt.cancel()`,
		}}},
		{"lost partitions are not dropped", []edit{{
			in:   dir,
			find: `$o.drop($o.owned($numbers))`,
		}}},
		{"an aborted flush loses its decisions", []edit{{
			in:   dir,
			find: `$fp.part.pending = append($fp.pending, $fp.part.pending...)`,
		}}},
		{"a flush does not remove the decisions it takes", []edit{{
			in:   dir,
			find: `$pt.pending, $pt.dirty = nil, false`,
			put:  `$pt.dirty = false`,
		}}},
		{"invalid records are dropped", []edit{{
			in:   dir,
			find: `return polledRecord{record: $r, invalid: $invalid, id: event.RecordID($m), resend: event.ResendOf($m)}`,
			put:  `_ = $invalid; return polledRecord{record: $r, skip: true}`,
		}}},
	}
}
