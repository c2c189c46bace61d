// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// States of a machine, as GET /vms shows them.
const (
	stateOff         = "off"
	stateBooting     = "booting"
	stateUp          = "up"             // serves, has its address
	stateNoAddress   = "no_address"     // tools run, but nothing gave it an address
	stateConflict    = "conflict"       // tools run, but its address is taken
	stateNoBoot      = "no_boot"        // a rule keeps it from booting
	stateCustomFault = "not_customized" // its customization failed
	stateShutdown    = "shutting_down"
)

// machine is what the lab knows about a VM beyond the simulator.
type machine struct {
	ref     types.ManagedObjectReference
	name    string
	base    bool
	origin  string                   // template that it was made from
	address string                   // fixed address that its guest is configured for, "" when none
	claimed string                   // address that its running guest has
	pending *types.CustomizationSpec // to be applied at the next power on
	state   string
	note    string // why the state is what it is
	cancel  context.CancelFunc
	guest   *process
	boots   int
}

// machines starts and stops guests.
type machines struct {
	lab   *lab
	guest guestOptions

	mu     sync.Mutex
	rows   map[types.ManagedObjectReference]*machine
	closed bool
}

func newMachines(l *lab, guest guestOptions) *machines {
	return &machines{lab: l, guest: guest, rows: make(map[types.ManagedObjectReference]*machine)}
}

// row returns the record of a VM and makes it where it is missing. The caller holds m.mu.
func (m *machines) row(ref types.ManagedObjectReference) *machine {
	row, ok := m.rows[ref]
	if !ok {
		row = &machine{ref: ref, state: stateOff}
		m.rows[ref] = row
	}
	return row
}

// addBase records a VM that is there from the start: it boots at once and no rule strikes it.
func (m *machines) addBase(ref types.ManagedObjectReference, vm baseVM) {
	m.mu.Lock()
	defer m.mu.Unlock()
	row := m.row(ref)
	row.name, row.address, row.origin, row.base = vm.name, vm.address, vm.template, true
}

// setOrigin records what a VM was cloned from: a copy of a copy comes from the same template.
func (m *machines) setOrigin(ref, source types.ManagedObjectReference, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	row := m.row(ref)
	if row.origin = m.row(source).origin; row.origin == "" {
		row.origin = name
	}
}

// setPending stores the customization for the next power on; false when one is stored already.
func (m *machines) setPending(ref types.ManagedObjectReference, spec *types.CustomizationSpec) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	row := m.row(ref)
	if row.pending != nil {
		return false
	}
	row.pending = spec
	return true
}

// poweredOn begins the boot. The caller holds the VM's lock, so the boot itself runs on its own.
func (m *machines) poweredOn(vm *mo.VirtualMachine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	row := m.row(vm.Self)
	if row.cancel != nil {
		row.cancel()
	}
	row.name, row.state, row.note = vm.Name, stateBooting, ""
	ctx, cancel := context.WithCancel(context.Background())
	row.cancel = cancel
	row.boots++
	plan := bootPlan{customization: row.pending, health: 200, time: time.Duration(m.lab.currentTimes().Boot)}
	row.pending = nil
	if row.base {
		if row.boots == 1 {
			plan.time = 0
		}
	} else {
		m.lab.faults.strikeBoot(vm.Name, &plan)
	}
	metadata := metadataOf(vm)
	go m.boot(ctx, row, plan, metadata)
}

// poweredOff kills the guest before anybody can see the new power state, and clears what the tools
// had reported. The caller holds the VM's lock on behalf of ctx.
func (m *machines) poweredOff(ctx *simulator.Context, vm *mo.VirtualMachine) {
	m.mu.Lock()
	row := m.row(vm.Self)
	guest := row.stop(stateOff)
	m.mu.Unlock()
	if guest != nil {
		guest.kill()
	}
	m.lab.registry().Update(ctx, vm, guestGone())
}

// shutdown lets the guest's services stop; the power is still on. The caller holds the VM's lock.
func (m *machines) shutdown(ctx *simulator.Context, vm *mo.VirtualMachine) {
	m.mu.Lock()
	row := m.row(vm.Self)
	guest := row.stop(stateShutdown)
	m.mu.Unlock()
	if guest != nil {
		guest.terminate()
	}
	m.lab.registry().Update(ctx, vm, guestGone())
}

// stop ends a boot in progress and hands back the guest that is to be ended. The caller holds the lock.
func (row *machine) stop(state string) *process {
	if row.cancel != nil {
		row.cancel()
		row.cancel = nil
	}
	guest := row.guest
	row.guest, row.state, row.note, row.claimed = nil, state, "", ""
	return guest
}

// forget drops a VM that left the inventory.
func (m *machines) forget(ref types.ManagedObjectReference) {
	m.mu.Lock()
	row, ok := m.rows[ref]
	var guest *process
	if ok {
		guest = row.stop(stateOff)
		delete(m.rows, ref)
	}
	m.mu.Unlock()
	if guest != nil {
		guest.kill()
	}
}

// stopAll ends every guest and starts no other.
func (m *machines) stopAll() {
	m.mu.Lock()
	m.closed = true
	var guests []*process
	for _, row := range m.rows {
		if guest := row.stop(stateOff); guest != nil {
			guests = append(guests, guest)
		}
	}
	m.mu.Unlock()
	var wait sync.WaitGroup
	for _, guest := range guests {
		wait.Go(guest.kill)
	}
	wait.Wait()
}

// bind starts the guest on its address. It fails when another VM or program has the address.
func (m *machines) bind(ctx context.Context, row *machine, address string, health int) error {
	m.mu.Lock()
	for _, other := range m.rows {
		if other != row && other.claimed == address {
			m.mu.Unlock()
			return fmt.Errorf("address %s is in use by VM %s", address, other.name)
		}
	}
	row.claimed = address
	m.mu.Unlock()
	if m.guest.binary == "" || !isLoopback(address) {
		return nil // an address without a process: nothing of the lab reaches beyond this machine
	}
	guest, err := startGuest(m.guest, row.origin, row.name, address, health)
	m.mu.Lock()
	if err != nil {
		if ctx.Err() == nil {
			row.claimed = ""
		}
		m.mu.Unlock()
		return err
	}
	gone := ctx.Err() != nil || m.closed
	if !gone {
		row.guest = guest
	}
	m.mu.Unlock()
	if gone {
		guest.kill()
		return ctx.Err()
	}
	go func() {
		<-guest.exited
		m.mu.Lock()
		defer m.mu.Unlock()
		if row.guest == guest {
			row.note = "the guest process has ended"
			log.Printf("VM %s: guest process %d has ended by itself", row.name, guest.pid)
		}
	}()
	return nil
}

// settle records how the boot ended, unless the VM was switched off meanwhile.
func (m *machines) settle(ctx context.Context, row *machine, state, note, address string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	row.state, row.note = state, note
	if address != "" {
		row.address = address
	}
	if note != "" {
		log.Printf("VM %s: %s: %s", row.name, state, note)
	}
	return true
}

// find returns a copy of the record with the given name or moid.
func (m *machines) find(name string) (machine, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, row := range m.rows {
		if row.name == name || row.ref.Value == name {
			return *row, true
		}
	}
	return machine{}, false
}

// get returns a copy of the record of a VM; the zero record where there is none.
func (m *machines) get(ref types.ManagedObjectReference) machine {
	m.mu.Lock()
	defer m.mu.Unlock()
	if row, ok := m.rows[ref]; ok {
		return *row
	}
	return machine{ref: ref, state: stateOff}
}

// awaitBase waits until the boot of the base VMs has ended, well or not.
func (m *machines) awaitBase(count int) error {
	for deadline := time.Now().Add(2 * readyTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		booted := 0
		m.mu.Lock()
		for _, row := range m.rows {
			if row.base && row.state != stateOff && row.state != stateBooting {
				booted++
			}
		}
		m.mu.Unlock()
		if booted == count {
			return nil
		}
	}
	return fmt.Errorf("the base VMs have not booted within %v", 2*readyTimeout)
}
