package main

// pipelineMutations are bugs in what is taken up, kept in order, handed over
// and flushed.
func pipelineMutations() []mutation {
	const dispatch, flush, owner, rebalance, metadata, window = "internal/pipeline/dispatch.go", "internal/pipeline/flush.go",
		"internal/pipeline/owner.go", "internal/pipeline/rebalance.go", "internal/pipeline/metadata.go", "internal/pipeline/window.go"
	return []mutation{
		{
			name: "no drain at revoke", file: rebalance,
			old: "	o.drain(o.owned(m.numbers), RebalanceTimeout, m.done)",
			new: "	o.drop(o.owned(m.numbers))\n	close(m.done)",
		},
		{
			name: "no flush at the end of a drain", file: "internal/pipeline/item.go",
			old: "	return pt.inFlight == 0 && pt.unflushed == 0 && !pt.dirty",
			new: "	return pt.inFlight == 0",
		},
		{
			name: "the map of what is settled is written empty", file: flush,
			old: "		meta.settled = pt.window.settledAbove()\n",
			new: "		meta.settled = settledMap{end: low}\n",
		},
		{
			name: "the map of what is settled is cut off", file: metadata,
			old: "	span := m.end - low\n	if (span+7)/8 >=",
			new: "	m.end = max(low, m.end-1)\n	span := m.end - low\n	if (span+7)/8 >=",
		},
		{
			name: "the map of what is settled counts one as settled that is not", file: metadata,
			old: "	deltas := binary.AppendUvarint(nil,",
			new: "	if len(m.unsettled) > 1 {\n		m.unsettled = m.unsettled[:len(m.unsettled)-1]\n	}\n	deltas := binary.AppendUvarint(nil,",
		},
		{
			name: "the map of what is settled is not read", file: "internal/pipeline/positions.go",
			old: "	p.settled = m.settled\n",
			new: "",
		},
		{
			name: "the offset is one too low", file: flush,
			old: "			Partition: pt.number, At: low,",
			new: "			Partition: pt.number, At: max(0, low-1),",
		},
		{
			name: "the offset is one too high", file: flush,
			old: "			Partition: pt.number, At: low,",
			new: "			Partition: pt.number, At: low + 1,",
		},
		{
			name: "the offset committed is that polled", file: window,
			old: "	if w.unsettled > 0 {\n		return w.entries[0].offset\n	}\n",
			new: "",
		},
		{
			name: "no order by order", file: "internal/pipeline/lanes.go",
			old: "	keys := []laneKey{{laneOrder, r.event.OrderID}, {laneEvent, r.event.ID}}\n	if key := string(r.record.Key); r.record.Key != nil && key != r.event.OrderID {",
			new: "	keys := []laneKey{{laneEvent, r.event.ID}}\n	if key := string(r.record.Key); key == \"-\" {",
		},
		{
			name: "two of one event id at once", file: "internal/pipeline/lanes.go",
			old: "	keys := []laneKey{{laneOrder, r.event.OrderID}, {laneEvent, r.event.ID}}",
			new: "	keys := []laneKey{{laneOrder, r.event.OrderID}}",
		},
		{
			name: "stale results are flushed", file: dispatch,
			old: "	case o.parts[pt.number] != pt:",
			new: "	case o.parts[pt.number] == nil:\n		o.p.conf.Metrics.stale()\n	case o.parts[pt.number] != pt && m.err == nil:\n		now := o.parts[pt.number]\n		now.pending, now.dirty = append(now.pending, m.settlement), true\n		now.unflushed++\n		now.unflushedBytes += m.settlement.bytes()\n	case o.parts[pt.number] != pt:",
			// Else the call would have been broken off, and had no result.
			also: &mutation{file: owner, old: "		if !o.dropAll || !Restartable(o.cause) {\n			pt.cancel()", new: "		if o.dropAll && !Restartable(o.cause) {\n			pt.cancel()"},
		},
		{
			name: "lost partitions are not dropped", file: rebalance,
			old: "	o.drop(o.owned(m.numbers))\n	close(m.done)",
			new: "	close(m.done)",
		},
		{
			name: "an aborted flush forgets its settlements", file: flush,
			old: "		fp.part.pending = append(fp.pending, fp.part.pending...)\n",
			new: "",
		},
		{
			name: "a flush takes what is settled and forgets that it did", file: flush,
			old: "		pt.pending, pt.dirty = nil, false",
			new: "		pt.dirty = false",
		},
		{
			name: "invalid records are dropped", file: "internal/pipeline/poll.go",
			old: "		return polledRecord{record: r, invalid: invalid, id: event.RecordID(m), resend: event.ResendOf(m)}",
			new: "		_ = invalid\n		return polledRecord{record: r, skip: true}",
		},
	}
}
