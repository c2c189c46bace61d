// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/prometheus/exporter-toolkit/web"
)

// exporterWeb is what of node_exporter's arguments concerns how its metrics are served.
type exporterWeb struct {
	path   string // of the metrics
	config string // file for TLS and basic authentication, which every exporter of Prometheus' own reads; or nothing
}

// readArguments reads a file as node_exporter's "@file" does, one argument a line. The collectors are left to node_exporter, and
// so are address and port: a guest has its own.
func readArguments(file string) (exporterWeb, error) {
	found := exporterWeb{path: "/metrics"}
	if file == "" {
		return found, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return found, err
	}
	for _, line := range strings.Fields(string(text)) {
		name, value, _ := strings.Cut(line, "=")
		switch name {
		case "--web.telemetry-path":
			found.path = value
		case "--web.config.file":
			found.config = value
		case "--web.listen-address":
		default:
			if !strings.HasPrefix(name, "--collector.") && !strings.HasPrefix(name, "--no-collector.") {
				return found, fmt.Errorf("%s: a guest does not know %s", file, name)
			}
		}
	}
	return found, nil
}

// serve serves with the code that node_exporter itself serves with.
func (w exporterWeb) serve(server *http.Server, listener net.Listener) error {
	if w.config == "" {
		return plain(server, listener)
	}
	silent := slog.New(slog.NewTextHandler(io.Discard, nil))
	return web.Serve(listener, server, &web.FlagConfig{WebConfigFile: &w.config}, silent)
}
