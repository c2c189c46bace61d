// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// watcher hears of every change in the inventory. It keeps VM objects readable for strict clients
// and starts and stops guests as VMs are switched on and off, whichever call did it.
type watcher struct{ lab *lab }

// Reference implements mo.Reference; the name is only a key in the simulator's list of handlers.
func (w *watcher) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "LabWatcher", Value: "lab"}
}

// PutObject implements simulator.RegisterObject.
func (w *watcher) PutObject(_ *simulator.Context, obj mo.Reference) {
	if vm, ok := obj.(*simulator.VirtualMachine); ok {
		w.repair(&vm.VirtualMachine)
	}
}

// UpdateObject implements simulator.RegisterObject. The caller holds the object's lock on behalf of ctx.
func (w *watcher) UpdateObject(ctx *simulator.Context, obj mo.Reference, changes []types.PropertyChange) {
	if task, ok := obj.(*mo.Task); ok && task.Info.Error != nil {
		task.Info.Error.LocalizedMessage = explain(task.Info.Error.Fault)
	}
	vm, ok := obj.(*mo.VirtualMachine)
	if !ok {
		return
	}
	w.repair(vm)
	for _, change := range changes {
		if change.Name != "runtime.powerState" {
			continue
		}
		if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			w.lab.vms.poweredOn(vm)
		} else {
			w.lab.vms.poweredOff(ctx, vm)
		}
	}
}

// RemoveObject implements simulator.RegisterObject.
func (w *watcher) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	if ref.Type == "VirtualMachine" {
		w.lab.vms.forget(ref)
	}
}

// repair fills enum fields that the simulator leaves empty: pyVmomi refuses an empty enum element
// and then cannot read runtime, summary or guest at all. While the tools do not run, vCenter knows
// no NICs of the guest either.
func (w *watcher) repair(vm *mo.VirtualMachine) {
	for _, runtime := range []*types.VirtualMachineRuntimeInfo{&vm.Runtime, &vm.Summary.Runtime} {
		if runtime.FaultToleranceState == "" {
			runtime.FaultToleranceState = types.VirtualMachineFaultToleranceStateNotConfigured
		}
		if runtime.RecordReplayState == "" {
			runtime.RecordReplayState = types.VirtualMachineRecordReplayStateInactive
		}
	}
	if vm.Guest == nil {
		return
	}
	if vm.Guest.GuestState == "" {
		vm.Guest.GuestState = string(types.VirtualMachineGuestStateNotRunning)
	}
	if vm.Guest.ToolsRunningStatus != string(types.VirtualMachineToolsRunningStatusGuestToolsRunning) {
		vm.Guest.Net = nil
	}
}

// explain is the text that a vCenter sends along with a fault; the simulator sends the name of a Go type.
func explain(fault types.BaseMethodFault) string {
	if messages := fault.GetMethodFault().FaultMessage; len(messages) > 0 {
		return messages[0].Message
	}
	switch f := fault.(type) {
	case *types.DuplicateName:
		return fmt.Sprintf("The name '%s' already exists.", f.Name)
	case *types.InvalidPowerState:
		return fmt.Sprintf("The attempted operation cannot be performed in the current state (%s).", f.ExistingState)
	case *types.NicSettingMismatch:
		return fmt.Sprintf("The number of network adapter settings in the customization specification (%d) does not match "+
			"the number of network adapters present in the virtual machine (%d).", f.NumberOfNicsInSpec, f.NumberOfNicsInVM)
	case *types.ManagedObjectNotFound:
		return fmt.Sprintf("The object '%s' has already been deleted or has not been completely created.", f.Obj)
	case *types.InvalidDeviceBacking:
		return fmt.Sprintf("Invalid configuration for device '%d'.", f.DeviceIndex)
	case *types.RequestCanceled:
		return "The task was canceled by a user."
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", fault), "*types.")
}
