// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// shares of the busy time that count as user and as system time; the names are node_exporter's.
const (
	userShare   = 0.8
	systemShare = 0.2
	loadMemory  = 30.0 // percent of memory that full load takes on top of the base
)

// exporter serves the few node_exporter metrics that autoscaling reads.
type exporter struct {
	hostname    string
	meter       *meter
	memoryTotal float64 // bytes
	memoryBase  float64 // percent used without load
}

func (e *exporter) handler(path string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		e.write(w, time.Now())
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "<html><body><a href=%q>Metrics</a></body></html>\n", path)
	})
	return mux
}

// write renders every metric in the Prometheus text format.
func (e *exporter) write(out io.Writer, now time.Time) {
	idle, busy, utilisation, requests := e.meter.advance(now)
	var b strings.Builder
	head := func(name, kind, help string) {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
	}
	sample := func(name, labels string, value float64) {
		b.WriteString(name + labels + " " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
	}

	head("node_cpu_seconds_total", "counter", "Seconds the CPUs spent in each mode.")
	modes := []struct {
		name  string
		value float64
	}{
		{"idle", idle},
		{"iowait", 0}, {"irq", 0}, {"nice", 0}, {"softirq", 0}, {"steal", 0},
		{"system", busy * systemShare},
		{"user", busy * userShare},
	}
	for _, mode := range modes {
		sample("node_cpu_seconds_total", fmt.Sprintf(`{cpu="0",mode=%q}`, mode.name), mode.value)
	}

	used := math.Min(99, e.memoryBase+loadMemory*utilisation) / 100
	head("node_memory_MemTotal_bytes", "gauge", "Memory information field MemTotal_bytes.")
	sample("node_memory_MemTotal_bytes", "", e.memoryTotal)
	head("node_memory_MemAvailable_bytes", "gauge", "Memory information field MemAvailable_bytes.")
	sample("node_memory_MemAvailable_bytes", "", math.Round(e.memoryTotal*(1-used)))

	head("node_load1", "gauge", "1m load average.")
	sample("node_load1", "", utilisation)
	head("node_boot_time_seconds", "gauge", "Node boot time, in unixtime.")
	sample("node_boot_time_seconds", "", float64(e.meter.start.UnixMilli())/1000)
	head("node_time_seconds", "gauge", "System time in seconds since epoch (1970).")
	sample("node_time_seconds", "", float64(now.UnixMilli())/1000)
	head("node_uname_info", "gauge", "Labeled system information as provided by the uname system call.")
	sample("node_uname_info", fmt.Sprintf(
		`{domainname="(none)",machine="x86_64",nodename=%q,release="lab",sysname="Linux",version="lab guest"}`,
		e.hostname), 1)
	head("guest_http_requests_total", "counter", "Requests that the lab's application got, health checks left out.")
	sample("guest_http_requests_total", "", float64(requests))
	_, _ = io.WriteString(out, b.String())
}
