package kinesis

import "time"

// The throughput of a shard, enforced if Limits is set
// (https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html).
const (
	writeBytes   = 1 << 20 // a second
	writeRecords = 1000    // a second
	readBytes    = 2 << 20 // a second
	readCalls    = 5       // GetRecords calls a second
	iterators    = 5       // GetShardIterator calls a second
)

// bucket grants a quantity per second, and saves up what one second grants.
type bucket struct {
	level float64
	at    int64 // milliseconds; 0 before the first use
}

// fill brings the bucket up to date.
func (b *bucket) fill(now int64, rate float64) {
	if b.at == 0 {
		b.level = rate
	} else if now > b.at {
		b.level = min(rate, b.level+rate*float64(now-b.at)/float64(time.Second/time.Millisecond))
	}
	b.at = max(b.at, now)
}

// meter is what has been used of a shard's throughput.
type meter struct{ written, records, read, calls, iterators bucket }

// write reports whether a record of that many bytes may be written, and counts it if so.
func (m *meter) write(now int64, bytes int) bool {
	m.written.fill(now, writeBytes)
	m.records.fill(now, writeRecords)
	// A record larger than a second's bytes is let in by a full bucket, and paid for afterwards.
	if m.records.level < 1 || m.written.level < min(float64(bytes), writeBytes) {
		return false
	}
	m.records.level--
	m.written.level -= float64(bytes)
	return true
}

// startRead reports whether the shard may be read. What was read is told to finishRead: a call may return more than a
// second's bytes, and later calls wait for it.
func (m *meter) startRead(now int64) bool {
	m.read.fill(now, readBytes)
	m.calls.fill(now, readCalls)
	if m.calls.level < 1 || m.read.level <= 0 {
		return false
	}
	m.calls.level--
	return true
}

func (m *meter) finishRead(bytes int) { m.read.level -= float64(bytes) }

// iterate reports whether an iterator may be made.
func (m *meter) iterate(now int64) bool {
	m.iterators.fill(now, iterators)
	if m.iterators.level < 1 {
		return false
	}
	m.iterators.level--
	return true
}
