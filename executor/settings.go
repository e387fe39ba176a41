package executor

import "time"

// Settings are what the hub must know of a function whatever its runtime. The configuration of each runtime
// has a method Settings() Settings.
type Settings struct {
	Timeout  time.Duration // kept by the runtime; here for those who plan around it
	Reserved int           // reserved concurrency; Unreserved if there is none, 0 refuses every invocation
	Handler  string        // as configured, "" where there is none
	Memory   int64         // bytes that one environment may use, 0 where nothing is set
}

// Unreserved is the Reserved of a function that shares the account's concurrency.
const Unreserved = -1
