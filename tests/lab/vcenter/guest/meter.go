// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"math"
	"sync"
	"time"
)

const (
	slot   = 50 * time.Millisecond // resolution of the load curve and of the counters
	window = 40                    // slots that one utilisation value looks back: 2 s
)

// meter counts requests in slots of time and integrates the utilisation that they stand for.
// Counters advance in real time whether somebody scrapes or not.
type meter struct {
	capacity float64 // requests per second that make utilisation 1

	mu       sync.Mutex
	start    time.Time
	done     int64             // slots that are integrated already
	counts   [2 * window]int64 // ring: requests of a slot
	total    int64
	busy     time.Duration // CPU time spent working since start; an integer, so that it never goes back
	observed float64       // utilisation of the last integrated slot, 0 to 1
}

func newMeter(capacity float64, now time.Time) *meter {
	return &meter{capacity: math.Max(capacity, 0.001), start: now}
}

// run integrates from time to time, so that a scrape after a long silence has little to do.
func (m *meter) run() {
	for now := range time.Tick(5 * time.Second) {
		m.advance(now)
	}
}

// add counts one request at the given time.
func (m *meter) add(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.integrate(now)
	m.counts[m.index(now)%int64(len(m.counts))]++
	m.total++
}

// advance integrates up to now and returns the CPU seconds since the start (idle, busy), the
// current utilisation (0 to 1) and the requests so far. Only whole slots count, so that neither
// ever goes back: a counter that does reads as a restart in Prometheus.
func (m *meter) advance(now time.Time) (idle, busy, utilisation float64, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.integrate(now)
	idle = (time.Duration(m.done)*slot - m.busy).Seconds()
	return idle, m.busy.Seconds(), m.observed, m.total
}

func (m *meter) index(now time.Time) int64 {
	return max(int64(now.Sub(m.start)/slot), m.done)
}

// integrate closes every slot that has ended by now. The caller holds the lock.
func (m *meter) integrate(now time.Time) {
	current := m.index(now)
	for ; m.done < current; m.done++ {
		var requests int64
		for i := m.done; i > m.done-window && i >= 0; i-- {
			requests += m.counts[i%int64(len(m.counts))]
		}
		m.observed = math.Min(1, float64(requests)/(float64(window)*slot.Seconds())/m.capacity)
		m.busy += time.Duration(m.observed * float64(slot))
		m.counts[(m.done+1)%int64(len(m.counts))] = 0 // the slot that begins now starts empty
	}
}
