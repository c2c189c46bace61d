// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// markPrefix is what the collection's marks begin with.
const markPrefix = "onprem.autoscale."

// controlHandler is the lab's way behind the scenes: what a test may see and do that no client may.
func (l *lab) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", l.getHealth)
	mux.HandleFunc("GET /vms", l.getVMs)
	mux.HandleFunc("GET /vms/{name}", l.getVM)
	mux.HandleFunc("GET /faults", l.getFaults)
	mux.HandleFunc("POST /faults", l.addFaults)
	mux.HandleFunc("DELETE /faults", l.removeFaults)
	mux.HandleFunc("DELETE /faults/{id}", l.removeFaults)
	mux.HandleFunc("GET /sessions", l.getSessions)
	mux.HandleFunc("POST /sessions/expire", l.expireSessions)
	mux.HandleFunc("GET /times", l.getTimes)
	mux.HandleFunc("PUT /times", l.putTimes)
	mux.HandleFunc("POST /guests/{name}/health", l.setGuestHealth)
	mux.HandleFunc("POST /guests/{name}/kill", l.killGuest)
	return mux
}

// vmRow is one VM as GET /vms shows it.
type vmRow struct {
	Name        string            `json:"name"`
	Moid        string            `json:"moid"`
	Power       string            `json:"power"`
	State       string            `json:"state"` // of the guest: off, booting, up, no_boot, conflict, ...
	Note        string            `json:"note"`
	IP          string            `json:"ip"`      // what clients see; "" until the guest is up
	Address     string            `json:"address"` // what the guest is configured for
	PID         int               `json:"pid"`     // of the guest process; 0 when there is none
	Template    bool              `json:"template"`
	Base        bool              `json:"base"`
	Host        string            `json:"host"`
	MACs        []string          `json:"macs"`
	Boots       int               `json:"boots"`
	Marks       map[string]string `json:"marks"` // extraConfig keys of the collection, without their prefix
	ExtraConfig map[string]string `json:"extra_config"`
}

// vmRows reads every VM, by name.
func (l *lab) vmRows() []vmRow {
	rows := []vmRow{}
	for _, entity := range l.registry().All("VirtualMachine") {
		vm, ok := entity.(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		l.registry().WithLock(l.context(), vm, func() { rows = append(rows, l.vmRow(vm)) })
	}
	slices.SortFunc(rows, func(a, b vmRow) int { return strings.Compare(a.Name, b.Name) })
	return rows
}

// vmRow reads one VM; the caller holds its lock.
func (l *lab) vmRow(vm *simulator.VirtualMachine) vmRow {
	known := l.vms.get(vm.Self)
	row := vmRow{
		Name: vm.Name, Moid: vm.Self.Value, Power: string(vm.Runtime.PowerState), State: known.state, Note: known.note,
		Address: known.address, Base: known.base, Boots: known.boots, MACs: []string{}, Marks: map[string]string{},
	}
	if known.guest != nil && known.guest.alive() {
		row.PID = known.guest.pid
	}
	if vm.Guest != nil {
		row.IP = vm.Guest.IpAddress
	}
	if vm.Runtime.Host != nil {
		if host, ok := l.registry().Get(*vm.Runtime.Host).(*simulator.HostSystem); ok {
			row.Host = host.Name
		}
	}
	if vm.Config == nil {
		return row
	}
	row.Template = vm.Config.Template
	row.ExtraConfig = extraConfig(vm.Config.ExtraConfig)
	for key, value := range row.ExtraConfig {
		if mark, ok := strings.CutPrefix(key, markPrefix); ok {
			row.Marks[mark] = value
		}
	}
	for _, device := range vm.Config.Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			row.MACs = append(row.MACs, card.GetVirtualEthernetCard().MacAddress)
		}
	}
	return row
}

func (l *lab) getHealth(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{"status": "ok", "vms": len(l.registry().All("VirtualMachine"))})
}

func (l *lab) getVMs(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, l.vmRows()) }

func (l *lab) getVM(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	for _, row := range l.vmRows() {
		if row.Name == name || row.Moid == name {
			reply(w, http.StatusOK, row)
			return
		}
	}
	refuse(w, http.StatusNotFound, fmt.Errorf("no VM %q", name))
}

func (l *lab) getFaults(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, l.faults.list())
}

func (l *lab) addFaults(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	rules, err := parseRules(data)
	if err == nil {
		rules, err = l.faults.add(rules)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	reply(w, http.StatusCreated, rules)
}

func (l *lab) removeFaults(w http.ResponseWriter, r *http.Request) {
	id := 0
	if text := r.PathValue("id"); text != "" {
		var err error
		if id, err = strconv.Atoi(text); err != nil || id < 1 {
			refuse(w, http.StatusBadRequest, fmt.Errorf("no rule id: %q", text))
			return
		}
	}
	removed := l.faults.remove(id)
	if id != 0 && removed == 0 {
		refuse(w, http.StatusNotFound, fmt.Errorf("no rule %d", id))
		return
	}
	reply(w, http.StatusOK, map[string]int{"removed": removed})
}

// sessions lists the sessions of clients.
func (l *lab) sessions() []types.UserSession {
	manager := l.registry().SessionManager()
	view, ok := l.session.Get(manager.Self).(*simulator.SessionManager)
	if !ok {
		return nil
	}
	return view.SessionList
}

func (l *lab) getSessions(w http.ResponseWriter, _ *http.Request) {
	rows := []map[string]any{}
	for _, s := range l.sessions() {
		rows = append(rows, map[string]any{"key": s.Key, "user": s.UserName, "login": s.LoginTime, "agent": s.UserAgent})
	}
	reply(w, http.StatusOK, rows)
}

func (l *lab) expireSessions(w http.ResponseWriter, _ *http.Request) {
	expired := 0
	for _, s := range l.sessions() {
		answer := l.registry().SessionManager().TerminateSession(l.context(), &types.TerminateSession{SessionId: []string{s.Key}})
		if answer.Fault() == nil {
			expired++
		}
	}
	reply(w, http.StatusOK, map[string]int{"expired": expired})
}

func (l *lab) getTimes(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, l.currentTimes())
}

// putTimes changes the times that the body names. Work in progress keeps the time it began with.
func (l *lab) putTimes(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
	wanted := l.currentTimes()
	if err == nil {
		err = strictJSON(data, &wanted)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	l.mu.Lock()
	l.times = wanted
	l.mu.Unlock()
	reply(w, http.StatusOK, wanted)
}

// guestOf finds the running guest of the VM that the path names.
func (l *lab) guestOf(w http.ResponseWriter, r *http.Request) *process {
	row, ok := l.vms.find(r.PathValue("name"))
	if !ok {
		refuse(w, http.StatusNotFound, fmt.Errorf("no VM %q was ever switched on", r.PathValue("name")))
		return nil
	}
	if row.guest == nil || !row.guest.alive() {
		refuse(w, http.StatusConflict, fmt.Errorf("VM %s has no running guest: %s %s", row.name, row.state, row.note))
		return nil
	}
	return row.guest
}

func (l *lab) setGuestHealth(w http.ResponseWriter, r *http.Request) {
	wanted := struct {
		Status int `json:"status"`
	}{}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<16))
	if err == nil {
		err = strictJSON(data, &wanted)
	}
	if err == nil && (wanted.Status < 200 || wanted.Status > 599) {
		err = errors.New("status must be 200 to 599")
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	guest := l.guestOf(w, r)
	if guest == nil {
		return
	}
	if err := guest.setHealth(l.vms.guest.port, wanted.Status); err != nil {
		refuse(w, http.StatusBadGateway, err)
		return
	}
	reply(w, http.StatusOK, wanted)
}

// killGuest ends the guest process while its VM stays on: a service that crashed.
func (l *lab) killGuest(w http.ResponseWriter, r *http.Request) {
	if guest := l.guestOf(w, r); guest != nil {
		guest.kill()
		reply(w, http.StatusOK, map[string]int{"killed": guest.pid})
	}
}

// strictJSON refuses unknown fields and trailing text.
func strictJSON(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if decoder.More() {
		return errors.New("text after the JSON value")
	}
	return nil
}

func reply(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

func refuse(w http.ResponseWriter, status int, err error) {
	reply(w, status, map[string]string{"error": err.Error()})
}
