// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"log"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// linkLocal is what a guest reports before its network is configured.
const linkLocal = "169.254.83.107"

// bootPlan says how one boot is going to go.
type bootPlan struct {
	customization *types.CustomizationSpec
	time          time.Duration // from power on to a guest that serves
	health        int           // status of /health
	noBoot        bool          // the guest never starts
	customFails   bool          // the customization fails: no network
	linkLocal     bool          // a link-local address shows first
	noAddress     bool          // the guest boots, but never gets an address
}

// boot plays the boot of a VM: customization events, then the guest, then what the tools report.
// It ends early, without a trace, when ctx is cancelled: the VM was switched off.
func (m *machines) boot(ctx context.Context, row *machine, plan bootPlan, metadata map[string]string) {
	l := m.lab
	vm := l.virtualMachine(row.ref)
	if vm == nil {
		return
	}
	if plan.noBoot {
		m.settle(ctx, row, stateNoBoot, "a fault rule keeps the guest from booting", "")
		return
	}
	network := networkOf(row.name, plan.customization, metadata)
	if network.err != nil {
		log.Printf("VM %s: cloud-init metadata: %v", row.name, network.err)
	}

	// A guest runs its customization early in the boot and vCenter hears of both ends.
	if !sleep(ctx, plan.time/3) {
		return
	}
	if plan.customization != nil {
		l.customizing(ctx, vm, types.GuestInfoCustomizationStatusTOOLSDEPLOYPKG_RUNNING, "")
		l.post(l.context(), &types.CustomizationStartedEvent{CustomizationEvent: l.customizationEvent(vm)})
	}
	if plan.linkLocal {
		l.publish(ctx, vm, guestReport{hostname: row.name, address: linkLocal})
	}
	if !sleep(ctx, plan.time-plan.time/3) {
		return
	}
	if plan.customization != nil && plan.customFails {
		m.customizationFailed(ctx, row, vm)
		return
	}

	address := network.address
	if address == "" {
		address = m.get(row.ref).address // given by an earlier boot, or a base VM
	}
	state, note, shown := stateUp, "", address
	switch {
	case plan.noAddress:
		state, note, shown = stateNoAddress, "a fault rule keeps it from getting an address", ""
	case address == "":
		state, note = stateNoAddress, "neither customization nor cloud-init metadata names an address (there is no DHCP)"
	default:
		if err := m.bind(ctx, row, address, plan.health); err != nil {
			state, note, shown = stateConflict, err.Error(), ""
		}
	}
	if ctx.Err() != nil || !m.settle(ctx, row, state, note, address) {
		return
	}
	if plan.customization != nil {
		l.customizing(ctx, vm, types.GuestInfoCustomizationStatusTOOLSDEPLOYPKG_SUCCEEDED, "")
		l.post(l.context(), &types.CustomizationSucceeded{CustomizationEvent: l.customizationEvent(vm)})
	}
	network.report.address = shown
	l.publish(ctx, vm, network.report)
}

// customizationFailed reports the failure: the guest is up, its tools run, it has no network.
func (m *machines) customizationFailed(ctx context.Context, row *machine, vm *simulator.VirtualMachine) {
	const reason = "The customization package could not be deployed (fault rule)"
	if !m.settle(ctx, row, stateCustomFault, reason, "") {
		return
	}
	l := m.lab
	l.customizing(ctx, vm, types.GuestInfoCustomizationStatusTOOLSDEPLOYPKG_FAILED, reason)
	l.post(l.context(), &types.CustomizationFailed{
		CustomizationEvent: l.customizationEvent(vm), Reason: string(types.CustomizationFailedReasonCodeCustomizationDisabled),
	})
	l.publish(ctx, vm, guestReport{hostname: "localhost"})
}

// sleep waits; false when ctx was cancelled meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return ctx.Err() == nil
	}
}

// customizationEvent reads the VM under its lock.
func (l *lab) customizationEvent(vm *simulator.VirtualMachine) types.CustomizationEvent {
	var event types.CustomizationEvent
	l.registry().WithLock(l.context(), vm, func() { event.VmEvent = l.vmEvent(&vm.VirtualMachine) })
	return event
}

// customizing writes guest.customizationInfo.
func (l *lab) customizing(ctx context.Context, vm *simulator.VirtualMachine, status types.GuestInfoCustomizationStatus, message string) {
	l.updateRunning(ctx, vm, func() []types.PropertyChange {
		now := time.Now()
		info := &types.GuestInfoCustomizationInfo{CustomizationStatus: string(status), ErrorMsg: message, StartTime: &now}
		if status != types.GuestInfoCustomizationStatusTOOLSDEPLOYPKG_RUNNING {
			info.EndTime = &now
			if before := vm.Guest.CustomizationInfo; before != nil && before.StartTime != nil {
				info.StartTime = before.StartTime
			}
		}
		return []types.PropertyChange{
			{Name: "guest.customizationInfo", Val: info},
			{Name: "config.tools.pendingCustomization", Val: ""},
		}
	})
}

// publish shows what the tools report, from one moment to the next: status, hostname, address, NICs.
func (l *lab) publish(ctx context.Context, vm *simulator.VirtualMachine, report guestReport) {
	l.updateRunning(ctx, vm, func() []types.PropertyChange { return guestPresent(&vm.VirtualMachine, report) })
}

// updateRunning changes a VM that is still in the boot that ctx stands for.
func (l *lab) updateRunning(ctx context.Context, vm *simulator.VirtualMachine, changes func() []types.PropertyChange) {
	own := l.context()
	l.registry().WithLock(own, vm, func() {
		if ctx.Err() == nil && vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			l.registry().Update(own, vm, changes())
		}
	})
}

// guestGone is what a VM shows whose tools do not run.
func guestGone() []types.PropertyChange {
	status := string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)
	return []types.PropertyChange{
		{Name: "guest.toolsRunningStatus", Val: status},
		{Name: "guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsNotRunning},
		{Name: "guest.guestState", Val: string(types.VirtualMachineGuestStateNotRunning)},
		{Name: "guest.guestOperationsReady", Val: false},
		{Name: "guest.ipAddress", Val: ""},
		{Name: "guest.net", Val: []types.GuestNicInfo{}},
		{Name: "summary.guest.toolsRunningStatus", Val: status},
		{Name: "summary.guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsNotRunning},
		{Name: "summary.guest.ipAddress", Val: ""},
		{Name: "summary.quickStats.guestHeartbeatStatus", Val: types.ManagedEntityStatusGray},
	}
}

// guestPresent is what a VM shows whose tools run. The first NIC has the report's addresses.
func guestPresent(vm *mo.VirtualMachine, report guestReport) []types.PropertyChange {
	var nics []types.GuestNicInfo
	for _, device := range vm.Config.Hardware.Device {
		card, ok := device.(types.BaseVirtualEthernetCard)
		if !ok {
			continue
		}
		nic := card.GetVirtualEthernetCard()
		info := types.GuestNicInfo{MacAddress: strings.ToLower(nic.MacAddress), Connected: true, DeviceConfigId: nic.Key}
		if backing, ok := nic.Backing.(*types.VirtualEthernetCardNetworkBackingInfo); ok {
			info.Network = backing.DeviceName
		}
		if len(nics) == 0 && report.address != "" {
			prefix := report.prefix
			if prefix == 0 {
				prefix = 24
			}
			info.IpAddress = []string{report.address}
			info.IpConfig = &types.NetIpConfigInfo{IpAddress: []types.NetIpConfigInfoIpAddress{{
				IpAddress: report.address, PrefixLength: prefix, State: string(types.NetIpConfigInfoIpAddressStatusPreferred),
			}}}
			info.DnsConfig = &types.NetDnsConfigInfo{
				HostName: report.hostname, DomainName: report.domain, IpAddress: report.dns, SearchDomain: report.search,
			}
		}
		nics = append(nics, info)
	}
	status := string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
	return []types.PropertyChange{
		{Name: "guest.toolsRunningStatus", Val: status},
		{Name: "guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsOk},
		{Name: "guest.toolsVersionStatus2", Val: string(types.VirtualMachineToolsVersionStatusGuestToolsCurrent)},
		{Name: "guest.guestState", Val: string(types.VirtualMachineGuestStateRunning)},
		{Name: "guest.guestOperationsReady", Val: true},
		{Name: "guest.hostName", Val: report.hostname},
		{Name: "guest.ipAddress", Val: report.address},
		{Name: "guest.net", Val: nics},
		{Name: "summary.guest.toolsRunningStatus", Val: status},
		{Name: "summary.guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsOk},
		{Name: "summary.guest.hostName", Val: report.hostname},
		{Name: "summary.guest.ipAddress", Val: report.address},
		{Name: "summary.quickStats.guestHeartbeatStatus", Val: types.ManagedEntityStatusGreen},
	}
}
