// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// guestOptions say how guests are started.
type guestOptions struct {
	binary, logDir     string
	port, exporterPort int
	capacity           float64 // requests per second
	exporterArguments  string  // file, or nothing
	commands           guestCommands
}

// guestCommands are the programs of guests that are no plain ones, by the template that their VMs come from. They take a guest's
// arguments.
type guestCommands map[string][]string

func (c guestCommands) String() string { return "" }

// Set implements flag.Value: "template=program argument ...".
func (c guestCommands) Set(text string) error {
	template, command, _ := strings.Cut(text, "=")
	words := strings.Fields(command)
	if template == "" || len(words) == 0 {
		return fmt.Errorf("%q is not template=program", text)
	}
	c[template] = words
	return nil
}

// readyTimeout bounds the start of a guest; it takes some 10 ms on an idle machine.
const readyTimeout = 20 * time.Second

// process is one running guest.
type process struct {
	address string
	pid     int
	exited  chan struct{} // closed when the process is gone
	stdin   io.Closer     // its end of file ends the guest even when this program is killed
}

// startGuest runs the guest program on the address and waits until it has bound its ports. An error
// means that no process is left.
func startGuest(o guestOptions, template, name, address string, health int) (*process, error) {
	output, err := guestLog(o.logDir, name)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	program, ok := o.commands[template]
	if !ok {
		program = []string{o.binary}
	}
	command := exec.Command(program[0], append(program[1:len(program):len(program)],
		"-ip", address, "-hostname", name, "-port", strconv.Itoa(o.port),
		"-exporter-port", strconv.Itoa(o.exporterPort), "-health", strconv.Itoa(health),
		"-capacity", strconv.FormatFloat(o.capacity, 'g', -1, 64), "-ready-fd", "3", "-exit-on-stdin-eof",
		"-exporter-arguments", o.exporterArguments)...)
	command.Stdout, command.Stderr, command.ExtraFiles = output, output, []*os.File{writer}
	command.Env = append(os.Environ(), "GOMAXPROCS=2")
	command.SysProcAttr = childAttributes()
	stdin, err := command.StdinPipe()
	if err != nil {
		writer.Close()
		return nil, err
	}
	err = command.Start()
	writer.Close() // the child has its own copy: when it dies, the reader sees the end
	if err != nil {
		return nil, fmt.Errorf("guest of %s: %w", name, err)
	}
	p := &process{address: address, pid: command.Process.Pid, exited: make(chan struct{}), stdin: stdin}
	go func() {
		_ = command.Wait()
		close(p.exited)
	}()
	_ = reader.SetReadDeadline(time.Now().Add(readyTimeout))
	if _, err := bufio.NewReader(reader).ReadString('\n'); err != nil {
		p.kill()
		return nil, fmt.Errorf("guest of %s did not start on %s: the address is in use or not of this machine "+
			"(see its log)", name, address)
	}
	return p, nil
}

// guestLog opens the log of one guest for appending.
func guestLog(dir, name string) (*os.File, error) {
	if dir == "" {
		return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, filepath.Base(name)+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
}

// alive tells whether the process still runs.
func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// kill ends the guest and what it may have started, and waits until its ports are free.
func (p *process) kill() { p.signal(syscall.SIGKILL) }

// terminate asks the guest to stop and waits; a guest that does not listen is killed.
func (p *process) terminate() {
	p.signal(syscall.SIGTERM)
	if p.alive() {
		p.kill()
	}
}

func (p *process) signal(sig syscall.Signal) {
	if p.alive() {
		_ = syscall.Kill(-p.pid, sig) // the guest leads a process group of its own
	}
	select {
	case <-p.exited:
		_ = p.stdin.Close()
	case <-time.After(2 * time.Second):
		log.Printf("guest process %d is still there 2 s after signal %d", p.pid, sig)
	}
}

// setHealth makes the guest's /health answer with the given status.
func (p *process) setHealth(port, status int) error {
	client := &http.Client{Timeout: 3 * time.Second}
	url := fmt.Sprintf("http://%s/__control/health?status=%d", net.JoinHostPort(p.address, strconv.Itoa(port)), status)
	response, err := client.Post(url, "application/json", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		return fmt.Errorf("guest answered %s: %s", response.Status, text)
	}
	return nil
}

// isLoopback tells whether a guest can live on the address: the lab never touches other addresses.
func isLoopback(address string) bool {
	ip := net.ParseIP(address)
	return ip != nil && ip.IsLoopback()
}
