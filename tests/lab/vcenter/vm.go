// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/google/uuid"
)

// labVM is a VM of the simulator with the methods that the lab plays differently.
type labVM struct {
	*simulator.VirtualMachine
	lab   *lab
	delay time.Duration         // added to the clone by a rule
	fault types.BaseMethodFault // how a rule makes the clone end
}

// countNICs reads the VM's devices under its lock.
func (v *labVM) countNICs(ctx *simulator.Context) int {
	nics := 0
	v.lab.registry().WithLock(ctx, v.VirtualMachine, func() {
		for _, device := range v.Config.Hardware.Device {
			if _, ok := device.(types.BaseVirtualEthernetCard); ok {
				nics++
			}
		}
	})
	return nics
}

// setPending stores a customization for the next power on; false when one waits already. The
// caller holds the VM's lock on behalf of ctx.
func (l *lab) setPending(ctx *simulator.Context, vm *simulator.VirtualMachine, spec *types.CustomizationSpec) bool {
	if !l.vms.setPending(vm.Self, spec) {
		return false
	}
	if vm.Config.Tools == nil {
		vm.Config.Tools = new(types.ToolsConfigInfo)
	}
	status := string(types.GuestInfoCustomizationStatusTOOLSDEPLOYPKG_PENDING)
	l.registry().Update(ctx, vm, []types.PropertyChange{
		{Name: "config.tools.pendingCustomization", Val: uuid.New().String()},
		{Name: "guest.customizationInfo", Val: &types.GuestInfoCustomizationInfo{CustomizationStatus: status}},
	})
	return true
}

// CustomizeVMTask stores a customization for the next power on.
func (v *labVM) CustomizeVMTask(ctx *simulator.Context, req *types.CustomizeVM_Task) soap.HasFault {
	task := simulator.CreateTask(v.Self, "customizeVm", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		if v.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			return nil, &types.InvalidPowerState{
				RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: v.Runtime.PowerState,
			}
		}
		if fault := nicMismatch(&req.Spec, v.countNICs(ctx)); fault != nil {
			return nil, fault
		}
		if !v.lab.setPending(ctx, v.VirtualMachine, &req.Spec) {
			return nil, new(types.CustomizationPending)
		}
		return nil, nil
	})
	return &methods.CustomizeVM_TaskBody{Res: &types.CustomizeVM_TaskResponse{Returnval: task.Run(ctx)}}
}

// toolsFault is why the guest cannot be asked to do something; nil when it can.
func (v *labVM) toolsFault() types.BaseMethodFault {
	if v.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOn, ExistingState: v.Runtime.PowerState,
		}
	}
	if v.Guest.ToolsRunningStatus != string(types.VirtualMachineToolsRunningStatusGuestToolsRunning) {
		return new(types.ToolsUnavailable)
	}
	return nil
}

// ShutdownGuest stops the guest's services at once and switches the VM off a little later. As on a
// vCenter the call returns before that.
func (v *labVM) ShutdownGuest(ctx *simulator.Context, _ *types.ShutdownGuest) soap.HasFault {
	if fault := v.toolsFault(); fault != nil {
		return fail("Cannot complete operation because VMware Tools is not running in this virtual machine.", fault)
	}
	v.lab.post(ctx, &types.VmGuestShutdownEvent{VmEvent: v.lab.vmEvent(&v.VirtualMachine.VirtualMachine)})
	v.lab.vms.shutdown(ctx, &v.VirtualMachine.VirtualMachine)
	v.later(func(own *simulator.Context) {
		v.lab.registry().Update(own, v.VirtualMachine, []types.PropertyChange{
			{Name: "runtime.powerState", Val: types.VirtualMachinePowerStatePoweredOff},
			{Name: "summary.runtime.powerState", Val: types.VirtualMachinePowerStatePoweredOff},
		})
		v.lab.post(own, &types.VmPoweredOffEvent{VmEvent: v.lab.vmEvent(&v.VirtualMachine.VirtualMachine)})
	})
	return &methods.ShutdownGuestBody{Res: new(types.ShutdownGuestResponse)}
}

// RebootGuest stops the guest's services and boots the guest again.
func (v *labVM) RebootGuest(ctx *simulator.Context, _ *types.RebootGuest) soap.HasFault {
	if fault := v.toolsFault(); fault != nil {
		return fail("Cannot complete operation because VMware Tools is not running in this virtual machine.", fault)
	}
	v.lab.post(ctx, &types.VmGuestRebootEvent{VmEvent: v.lab.vmEvent(&v.VirtualMachine.VirtualMachine)})
	v.lab.vms.shutdown(ctx, &v.VirtualMachine.VirtualMachine)
	v.later(func(*simulator.Context) { v.lab.vms.poweredOn(&v.VirtualMachine.VirtualMachine) })
	return &methods.RebootGuestBody{Res: new(types.RebootGuestResponse)}
}

// later runs f under the VM's lock after the shutdown time, unless the VM went off or away meanwhile.
func (v *labVM) later(f func(*simulator.Context)) {
	boots := v.lab.vms.get(v.Self).boots
	wait := time.Duration(v.lab.currentTimes().Shutdown)
	go func() {
		time.Sleep(wait)
		own := v.lab.context()
		v.lab.registry().WithLock(own, v.VirtualMachine, func() {
			row := v.lab.vms.get(v.Self)
			if row.boots == boots && row.state == stateShutdown && v.lab.virtualMachine(v.Self) != nil {
				f(own)
			}
		})
	}()
}
