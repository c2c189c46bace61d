// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command guest is what runs "inside" a powered-on VM of the lab: a small HTTP application and a
// node_exporter-compatible endpoint on the VM's loopback address.
//
// The CPU that the exporter reports follows the load that the application gets: utilisation is
// min(1, requests per second over the last two seconds / capacity).
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
)

func main() {
	ip := flag.String("ip", "127.0.0.1", "address to serve on; it must be on this machine")
	port := flag.Int("port", 8080, "port of the application")
	exporterPort := flag.Int("exporter-port", 9100, "port of the metrics endpoint; 0 serves no metrics")
	arguments := flag.String("exporter-arguments", "", "file of node_exporter's arguments that the metrics endpoint follows")
	hostname := flag.String("hostname", "", "name in answers and in node_uname_info; the address when empty")
	capacity := flag.Float64("capacity", 50, "requests per second that make 100 percent CPU")
	service := flag.Duration("service-time", 3*time.Millisecond, "time one request to / takes")
	memoryTotal := flag.Float64("memory-total", 2<<30, "bytes of memory that the exporter reports")
	memoryBase := flag.Float64("memory-base", 25, "percent of the memory that is used without load")
	health := flag.Int("health", http.StatusOK, "HTTP status that /health starts with")
	readyFD := flag.Int("ready-fd", 0, "file descriptor that gets the line \"ready\" once both ports are bound")
	stdinEOF := flag.Bool("exit-on-stdin-eof", false, "exit when standard input is closed: no orphans")
	flag.Parse()

	// Twenty guests share the machine: one scheduler thread and an early garbage collection each are plenty.
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(32 << 20)
	if *hostname == "" {
		*hostname = *ip
	}

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		os.Exit(0) // connections die with the process, as they do when a machine is switched off
	}()
	if *stdinEOF {
		go exitOnEOF()
	}

	meter := newMeter(*capacity, time.Now())
	go meter.run()
	app := &application{hostname: *hostname, service: *service, meter: meter}
	app.health.Store(int64(*health))
	exporter := &exporter{hostname: *hostname, meter: meter, memoryTotal: *memoryTotal, memoryBase: *memoryBase}

	failed := make(chan error, 2)
	if err := serve(failed, *ip, *port, app.handler(), plain); err != nil {
		log.Fatalf("guest %s: %v", *hostname, err)
	}
	if *exporterPort != 0 {
		web, err := readArguments(*arguments)
		if err != nil {
			log.Fatalf("guest %s: %v", *hostname, err)
		}
		if err := serve(failed, *ip, *exporterPort, exporter.handler(web.path), web.serve); err != nil {
			log.Fatalf("guest %s: %v", *hostname, err)
		}
	}
	if *readyFD > 0 {
		f := os.NewFile(uintptr(*readyFD), "ready")
		fmt.Fprintln(f, "ready")
		_ = f.Close()
	}
	log.Fatalf("guest %s: %v", *hostname, <-failed)
}

// serving is how a server serves on a listener: in plain HTTP, or as a web configuration says.
type serving func(*http.Server, net.Listener) error

func plain(server *http.Server, listener net.Listener) error { return server.Serve(listener) }

// serve binds ip:port at once and serves in the background; a later failure goes to failed.
func serve(failed chan<- error, ip string, port int, handler http.Handler, how serving) error {
	address := net.JoinHostPort(ip, strconv.Itoa(port))
	listener, err := net.Listen("tcp4", address)
	if err != nil {
		return fmt.Errorf("cannot bind %s (another guest or another program has it?): %w", address, err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 75 * time.Second}
	go func() {
		if err := how(server, listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}()
	return nil
}

// exitOnEOF ends the process when the other end of standard input is gone, however it went.
func exitOnEOF() {
	buffer := make([]byte, 64)
	for {
		if _, err := os.Stdin.Read(buffer); err != nil {
			os.Exit(0)
		}
	}
}
