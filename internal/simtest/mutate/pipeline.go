package main

// pipelineBugs are bugs in admission, ordering, handover and the flush.
func pipelineBugs() []bug {
	const dir = "internal/pipeline"
	return []bug{
		{"a revoke does not drain", []edit{{
			in:   dir,
			find: `$o.drain($o.owned($m.numbers), RebalanceTimeout, $m.done)`,
			put:  `$o.drop($o.owned($m.numbers)); close($m.done)`,
		}}},
		{"a drain does not flush", []edit{{
			in:   dir,
			find: `return $pt.inFlight == 0 && $pt.unflushed == 0 && !$pt.dirty`,
			put:  `return $pt.inFlight == 0`,
		}}},
		{"the map of completed offsets is written empty", []edit{{
			in:   dir,
			find: `$meta.settled = $pt.window.settledAbove()`,
			put:  `$meta.settled = settledMap{end: low}`,
		}}},
		{"the map of completed offsets is cut off", []edit{{
			in:   dir,
			find: `$span := $m.end - $low`,
			put:  `$m.end = max($low, $m.end-1); $span := $m.end - $low`,
		}}},
		{"the map of completed offsets has one that is not completed", []edit{{
			in:   dir,
			find: `$deltas := binary.AppendUvarint(nil, uint64($m.end-$low))`,
			put: `if len($m.unsettled) > 1 { $m.unsettled = $m.unsettled[:len($m.unsettled)-1] }
				$deltas := binary.AppendUvarint(nil, uint64($m.end-$low))`,
		}}},
		{"the map of completed offsets is not read", []edit{{
			in:   dir,
			find: `$p.settled = $m.settled`,
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
			find: `if $w.unsettled > 0 { return $w.entries[0].offset }`,
		}}},
		{"events of one order are not kept in order", []edit{{
			in: dir,
			find: `keys := []laneKey{{laneOrder, $r.event.OrderID}, {laneEvent, $r.event.ID}}
				if key := string($r.record.Key); $r.record.Key != nil && key != $r.event.OrderID {`,
			put: `keys := []laneKey{{laneEvent, $r.event.ID}}
				if key := string($r.record.Key); key == "-" {`,
		}}},
		{"two records of one event id are captured at once", []edit{{
			in:   dir,
			find: `[]laneKey{{laneOrder, $r.event.OrderID}, {laneEvent, $r.event.ID}}`,
			put:  `[]laneKey{{laneOrder, $r.event.OrderID}}`,
		}}},
		{"stale decisions are flushed", []edit{{
			in:   dir,
			fn:   "apply",
			find: `case $o.parts[$pt.number] != $pt:`,
			put: `case $o.parts[$pt.number] == nil:
					$o.p.conf.Metrics.stale()
				case $o.parts[$pt.number] != $pt && m.err == nil:
					now := $o.parts[$pt.number]
					now.pending, now.dirty = append(now.pending, m.settlement), true
					now.unflushed++
					now.unflushedBytes += m.settlement.bytes()
				case $o.parts[$pt.number] != $pt:`,
		}, {
			// Without this the call is cancelled and has no result.
			in:   dir,
			find: `if !$o.dropAll || !Restartable($o.cause) { $pt.cancel()`,
			put:  `if $o.dropAll && !Restartable($o.cause) { $pt.cancel()`,
		}}},
		{"lost partitions are not dropped", []edit{{
			in:   dir,
			find: `$o.drop($o.owned($m.numbers)); close($m.done)`,
			put:  `close($m.done)`,
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
