// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command vcenter is the lab's vCenter: govmomi's simulator with the habits of a real one.
//
// It adds to the simulator what scale-out meets in practice: clones that take time and run side by
// side, guests that boot, customization events that come when the guest is up, addresses that two
// VMs may fight for, sessions that end, and faults on demand. Each powered-on VM with a loopback
// address has a real process behind that address (see ./guest).
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are the command line of the program.
type options struct {
	listen, control, certFile, keyFile string
	user, passwordFile                 string
	times                              times
	guest                              guestOptions
	base, template, golden, stateDir   string
	hosts                              int
}

// parseOptions reads the command line; the times have their defaults here because flag.Var has none.
func parseOptions() options {
	o := options{times: times{
		Clone: seconds(3 * time.Second), Boot: seconds(2 * time.Second), Shutdown: seconds(time.Second),
	}}
	flag.StringVar(&o.listen, "listen", "127.0.0.1:18989", "address of the https API")
	flag.StringVar(&o.control, "control", "127.0.0.1:18988", "address of the http control interface")
	flag.StringVar(&o.certFile, "cert", "", "PEM certificate; made, self-signed, when the file is missing")
	flag.StringVar(&o.keyFile, "key", "", "PEM key of the certificate")
	flag.StringVar(&o.user, "user", "autoscale@vsphere.local", "the only user that may log in")
	flag.StringVar(&o.passwordFile, "password-file", "", "file with the user's password (required)")
	flag.Var(&o.times.Clone, "clone-time", "time that a clone takes")
	flag.Var(&o.times.Boot, "boot-time", "time from power on to a guest that serves")
	flag.Var(&o.times.Shutdown, "shutdown-time", "time from ShutdownGuest to power off")
	flag.StringVar(&o.guest.binary, "guest-binary", "", "program that is started as a guest; none: addresses without processes")
	flag.StringVar(&o.guest.logDir, "guest-log-dir", "", "folder for the guests' logs; none: their output is dropped")
	flag.IntVar(&o.guest.port, "guest-port", 8080, "port of the guests' application")
	flag.IntVar(&o.guest.exporterPort, "guest-exporter-port", 9100, "port of the guests' metrics")
	flag.StringVar(&o.guest.exporterArguments, "guest-exporter-arguments", "", "file of node_exporter's arguments, one a line, that the guests' metrics follow; none: plain /metrics")
	flag.Float64Var(&o.guest.capacity, "guest-capacity", 50, "requests per second that make a guest's CPU 100 percent")
	o.guest.commands = guestCommands{}
	flag.Var(o.guest.commands, "guest-command", "template=program argument ...: what is started as a guest of VMs of this template, with a guest's arguments; may be repeated")
	flag.StringVar(&o.base, "base", "web-base-1=127.0.48.11,web-base-2=127.0.48.12", "VMs that are there and on from the start: name=address or name=address=template, ...")
	flag.StringVar(&o.template, "template", "web-template", "names of the templates, with commas")
	flag.StringVar(&o.golden, "golden", "web-golden", "name of a powered-off VM that is no template")
	flag.StringVar(&o.stateDir, "state-dir", "", "folder for the datastores' files, emptied at the start; none: a temporary folder")
	flag.IntVar(&o.hosts, "hosts", 2, "hosts of the cluster")
	flag.Parse()
	return o
}

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds)
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "vcenter:", err)
		os.Exit(1)
	}
}

func run() error {
	o := parseOptions()
	password, err := readPassword(o.passwordFile)
	if err != nil {
		return err
	}
	certificate, err := loadCertificate(o.certFile, o.keyFile)
	if err != nil {
		return err
	}
	if o.guest.binary != "" {
		if o.guest.binary, err = filepath.Abs(o.guest.binary); err != nil {
			return err
		}
		if _, err := os.Stat(o.guest.binary); err != nil {
			return fmt.Errorf("-guest-binary: %w; build it with: go build -o %s ./guest", err, o.guest.binary)
		}
	}

	if o.stateDir != "" {
		if err := useStateDir(o.stateDir); err != nil {
			return fmt.Errorf("-state-dir: %w", err)
		}
	}
	lab, err := newLab(o)
	if err != nil {
		return err
	}
	defer lab.close()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)

	if err := lab.serveAPI(o.listen, o.user, password, certificate); err != nil {
		return err
	}
	if err := lab.populate(o); err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	control := &http.Server{Addr: o.control, Handler: lab.controlHandler(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() {
		if err := control.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("control interface on %s: %w", o.control, err)
		}
	}()
	log.Printf("ready: API https://%s/sdk, control http://%s, %d hosts", o.listen, o.control, o.hosts)
	select {
	case sig := <-stop:
		log.Printf("%v: stopping the guests", sig)
		return nil
	case err := <-failed:
		return err
	}
}

// useStateDir has the simulator keep its files in a folder of the caller's. What a killed run left
// there goes; nothing else in the folder is touched.
func useStateDir(path string) error {
	folder, err := filepath.Abs(filepath.Join(path, "datastores"))
	if err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return os.Setenv("TMPDIR", folder) // the simulator asks the system for temporary folders
}

// readPassword reads the first line of the file.
func readPassword(path string) (string, error) {
	if path == "" {
		return "", errors.New("-password-file is required: a file whose first line is the password")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("-password-file: %w", err)
	}
	password, _, _ := strings.Cut(string(data), "\n")
	if password = strings.TrimSpace(password); password == "" {
		return "", fmt.Errorf("-password-file: %s is empty", path)
	}
	return password, nil
}
