// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"math"
	"testing"
	"time"
)

// TestMeterFollowsLoad: utilisation is rate / capacity, at most 1, and is forgotten after the window.
func TestMeterFollowsLoad(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, test := range []struct{ rate, capacity, want float64 }{{25, 50, 0.5}, {100, 50, 1}, {0, 50, 0}, {10, 40, 0.25}} {
		m := newMeter(test.capacity, start)
		for at := 0.0; test.rate > 0 && at < 4; at += 1 / test.rate {
			m.add(start.Add(time.Duration(at * float64(time.Second))))
		}
		if _, _, got, _ := m.advance(start.Add(4 * time.Second)); math.Abs(got-test.want) > 0.03 {
			t.Errorf("%v requests/s at capacity %v: utilisation %v, want %v", test.rate, test.capacity, got, test.want)
		}
		if _, _, got, _ := m.advance(start.Add(7 * time.Second)); got != 0 {
			t.Errorf("utilisation %v 3 s after the last request", got)
		}
	}
}

// TestCountersNeverGoBack: a counter that does reads as a restart in Prometheus.
func TestCountersNeverGoBack(t *testing.T) {
	start := time.Unix(1000, 0)
	m := newMeter(7, start)
	lastIdle, lastBusy := 0.0, 0.0
	for step := range 20000 {
		now := start.Add(time.Duration(step) * 7 * time.Millisecond)
		if step%3 == 0 && step%5000 < 2500 {
			m.add(now)
		}
		idle, busy, _, _ := m.advance(now)
		if idle < lastIdle || busy < lastBusy {
			t.Fatalf("step %d: idle %v after %v, busy %v after %v", step, idle, lastIdle, busy, lastBusy)
		}
		if passed := now.Sub(start).Seconds() - idle - busy; passed < -1e-6 || passed > slot.Seconds()+1e-6 {
			t.Fatalf("step %d: idle and busy time miss %v s", step, passed)
		}
		lastIdle, lastBusy = idle, busy
	}
}
