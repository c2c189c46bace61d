// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// application is the HTTP service of a guest.
//
//	GET  /                   JSON with the hostname, after the service time
//	GET  /health             the health status that is set (200 at first)
//	GET  /slow?seconds=N     a stream of one line each quarter second: a long request for drain tests
//	GET|PUT|POST /__control/health?status=500   from this machine only; a JSON body {"status": 500} works too
type application struct {
	hostname string
	service  time.Duration
	meter    *meter
	health   atomic.Int64
	active   atomic.Int64
}

func (a *application) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.counted(a.root))
	mux.HandleFunc("GET /slow", a.counted(a.slow))
	mux.HandleFunc("GET /health", a.showHealth) // a monitor's question is no load
	mux.HandleFunc("/__control/health", a.setHealth)
	return mux
}

// counted makes a request part of the load that the CPU metric follows.
func (a *application) counted(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.meter.add(time.Now())
		a.active.Add(1)
		defer a.active.Add(-1)
		w.Header().Set("X-Served-By", a.hostname)
		next(w, r)
	}
}

func (a *application) root(w http.ResponseWriter, r *http.Request) {
	time.Sleep(a.service)
	writeJSON(w, http.StatusOK, map[string]any{
		"hostname": a.hostname, "active": a.active.Load(), "client": r.RemoteAddr,
	})
}

func (a *application) slow(w http.ResponseWriter, r *http.Request) {
	seconds, err := strconv.ParseFloat(r.URL.Query().Get("seconds"), 64)
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > 3600 {
		http.Error(w, "seconds must be a number from 0 to 3600", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	flush := http.NewResponseController(w)
	begin := time.Now()
	for end := begin.Add(time.Duration(seconds * float64(time.Second))); ; {
		if _, err := fmt.Fprintf(w, "%s %.2f\n", a.hostname, time.Since(begin).Seconds()); err != nil {
			return
		}
		_ = flush.Flush()
		left := time.Until(end)
		if left <= 0 {
			break
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(min(left, 250*time.Millisecond)):
		}
	}
	fmt.Fprintln(w, "done")
}

func (a *application) showHealth(w http.ResponseWriter, _ *http.Request) {
	status := int(a.health.Load())
	word := "ok"
	if status >= http.StatusBadRequest {
		word = "failing"
	}
	writeJSON(w, status, map[string]any{"status": word, "hostname": a.hostname})
}

func (a *application) setHealth(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	if address := net.ParseIP(host); address == nil || !address.IsLoopback() || r.Header.Get("X-Forwarded-For") != "" {
		http.Error(w, "only from this machine, and not through a proxy", http.StatusForbidden)
		return
	}
	if r.Method != http.MethodGet {
		wanted := struct {
			Status int `json:"status"`
		}{}
		if text := r.URL.Query().Get("status"); text != "" {
			wanted.Status, _ = strconv.Atoi(text)
		} else {
			_ = json.NewDecoder(http.MaxBytesReader(w, r.Body, 1024)).Decode(&wanted)
		}
		if wanted.Status < 200 || wanted.Status > 599 {
			http.Error(w, "status must be 200 to 599", http.StatusBadRequest)
			return
		}
		a.health.Store(int64(wanted.Status))
	}
	writeJSON(w, http.StatusOK, map[string]any{"status": a.health.Load()})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}
