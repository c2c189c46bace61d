// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"log"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// CloneVMTask clones as the simulator does, but takes its time beside other clones of the same
// template, spreads clones over the hosts, gives new NICs addresses that do not collide, and leaves
// customization to the boot.
func (v *labVM) CloneVMTask(ctx *simulator.Context, req *types.CloneVM_Task) soap.HasFault {
	if fault := v.checkClone(ctx, req); fault != nil {
		return fail(explain(fault), fault)
	}
	ref := v.lab.runTask(ctx, v.Self, "CloneVM_Task", func(task *simulator.Task) (types.AnyType, types.BaseMethodFault) {
		own := *ctx // the task's own holder of locks
		return v.clone(&own, task, req)
	})
	return taskAnswers["CloneVM_Task"](ref)
}

// checkClone finds what a vCenter refuses at once. Much of it would make the simulator panic.
func (v *labVM) checkClone(ctx *simulator.Context, req *types.CloneVM_Task) types.BaseMethodFault {
	location := req.Spec.Location
	refs := []*types.ManagedObjectReference{&req.Folder, location.Pool, location.Host, location.Datastore, location.Folder}
	for _, ref := range refs {
		if ref != nil && v.lab.registry().Get(*ref) == nil {
			return &types.ManagedObjectNotFound{Obj: *ref}
		}
	}
	if _, ok := v.lab.registry().Get(req.Folder).(*simulator.Folder); !ok {
		return &types.InvalidArgument{InvalidProperty: "folder"}
	}
	if req.Name == "" || len(req.Name) > 80 {
		return &types.InvalidName{Name: req.Name}
	}
	changes := location.DeviceChange
	if req.Spec.Config != nil {
		changes = append(changes[:len(changes):len(changes)], req.Spec.Config.DeviceChange...)
	}
	nics, fault := v.checkNICs(ctx, changes)
	if fault != nil {
		return fault
	}
	return nicMismatch(req.Spec.Customization, nics)
}

// checkNICs returns how many NICs the VM has after the changes. New NICs get a MAC address here.
func (v *labVM) checkNICs(ctx *simulator.Context, changes []types.BaseVirtualDeviceConfigSpec) (int, types.BaseMethodFault) {
	nics := v.countNICs(ctx)
	for i, change := range changes {
		spec := change.GetVirtualDeviceConfigSpec()
		device, ok := spec.Device.(types.BaseVirtualEthernetCard)
		if !ok {
			continue
		}
		switch spec.Operation {
		case types.VirtualDeviceConfigSpecOperationRemove:
			nics--
			continue
		case types.VirtualDeviceConfigSpecOperationAdd:
			nics++
		}
		card := device.GetVirtualEthernetCard()
		switch backing := card.Backing.(type) {
		case *types.VirtualEthernetCardNetworkBackingInfo:
			if !v.lab.hasNetwork(backing.DeviceName) {
				return 0, invalidBacking(i)
			}
		case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
			pg := types.ManagedObjectReference{Type: "DistributedVirtualPortgroup", Value: backing.Port.PortgroupKey}
			if v.lab.registry().Get(pg) == nil {
				return 0, invalidBacking(i)
			}
		}
		if card.MacAddress == "" && spec.Operation == types.VirtualDeviceConfigSpecOperationAdd {
			card.MacAddress, card.AddressType = v.lab.newMAC(), string(types.VirtualEthernetCardMacTypeAssigned)
		}
	}
	return nics, nil
}

func invalidBacking(index int) types.BaseMethodFault {
	return &types.InvalidDeviceBacking{InvalidDeviceSpec: types.InvalidDeviceSpec{
		InvalidVmConfig: types.InvalidVmConfig{Property: fmt.Sprintf("deviceChange[%d].device.backing", index)},
		DeviceIndex:     int32(index),
	}}
}

// nicMismatch compares a customization with the number of NICs.
func nicMismatch(spec *types.CustomizationSpec, nics int) types.BaseMethodFault {
	if spec == nil || len(spec.NicSettingMap) == nics {
		return nil
	}
	if _, ok := spec.Identity.(*types.CustomizationCloudinitPrep); ok && len(spec.NicSettingMap) == 0 {
		return nil
	}
	return &types.NicSettingMismatch{NumberOfNicsInSpec: int32(len(spec.NicSettingMap)), NumberOfNicsInVM: int32(nics)}
}

// clone does the work of the task.
func (v *labVM) clone(ctx *simulator.Context, task *simulator.Task, req *types.CloneVM_Task) (types.AnyType, types.BaseMethodFault) {
	if fault := v.duplicate(ctx, req); fault != nil {
		return nil, fault
	}
	if !v.work(task, time.Duration(v.lab.currentTimes().Clone)+v.delay) {
		return nil, &types.RequestCanceled{}
	}
	if v.fault != nil {
		return nil, v.fault
	}
	plain := *req
	plain.Spec.PowerOn, plain.Spec.Customization = false, nil
	if plain.Spec.Location.Host == nil {
		plain.Spec.Location.Host = v.lab.nextHost()
	}
	var answer soap.HasFault
	v.lab.registry().WithLock(ctx, v.VirtualMachine, func() { answer = v.VirtualMachine.CloneVMTask(ctx, &plain) })
	if f := answer.Fault(); f != nil {
		return nil, methodFault(f)
	}
	result, fault := v.lab.await(answer.(*methods.CloneVM_TaskBody).Res.Returnval)
	if fault != nil {
		return nil, fault
	}
	ref := result.(types.ManagedObjectReference)
	vm := v.lab.virtualMachine(ref)
	if vm == nil {
		return nil, &types.ManagedObjectNotFound{Obj: ref}
	}
	v.lab.registry().WithLock(ctx, vm, func() {
		if config := req.Spec.Config; config != nil && config.Annotation != "" {
			v.lab.registry().Update(ctx, vm, []types.PropertyChange{
				{Name: "config.annotation", Val: config.Annotation}, {Name: "summary.config.annotation", Val: config.Annotation},
			})
		}
		v.lab.vms.setOrigin(ref, v.Self, v.Name)
		if req.Spec.Customization != nil && !req.Spec.Template {
			v.lab.setPending(ctx, vm, req.Spec.Customization)
		}
	})
	if req.Spec.PowerOn && !req.Spec.Template {
		_, fault = v.lab.await(vm.PowerOnVMTask(ctx, &types.PowerOnVM_Task{This: ref}).(*methods.PowerOnVM_TaskBody).Res.Returnval)
	}
	log.Printf("VM %s: cloned from %s as %s, power on %t", req.Name, v.Name, ref.Value, req.Spec.PowerOn)
	return ref, fault
}

// duplicate finds a VM or folder of the name that exists when the clone begins. One that appears
// while the clone takes its time is found by the simulator at the end.
func (v *labVM) duplicate(ctx *simulator.Context, req *types.CloneVM_Task) types.BaseMethodFault {
	folder := v.lab.registry().Get(req.Folder).(*simulator.Folder)
	var fault types.BaseMethodFault
	v.lab.registry().WithLock(ctx, folder, func() {
		if found := v.lab.registry().FindByName(req.Name, folder.ChildEntity); found != nil {
			fault = &types.DuplicateName{Name: req.Name, Object: found.Reference()}
		}
	})
	return fault
}

// work lets the time pass and shows progress; false when the task was cancelled.
func (v *labVM) work(task *simulator.Task, total time.Duration) bool {
	const parts = 5
	for part := range int32(parts) {
		time.Sleep(total / parts)
		own, running := v.lab.context(), false
		v.lab.registry().WithLock(own, task, func() {
			if running = task.Info.State == types.TaskInfoStateRunning; running {
				v.lab.registry().Update(own, task, []types.PropertyChange{{Name: "info.progress", Val: 95 * (part + 1) / parts}})
			}
		})
		if !running {
			return false
		}
	}
	return true
}

// await waits for a task of the simulator and returns what came of it.
func (l *lab) await(ref types.ManagedObjectReference) (types.AnyType, types.BaseMethodFault) {
	task := l.registry().Get(ref).(*simulator.Task)
	task.Wait()
	if task.Info.Error != nil {
		return nil, task.Info.Error.Fault
	}
	return task.Info.Result, nil
}

// methodFault takes the vSphere fault out of a SOAP fault.
func methodFault(f *soap.Fault) types.BaseMethodFault {
	if fault, ok := f.VimFault().(types.BaseMethodFault); ok {
		return fault
	}
	return &types.SystemErrorFault{Reason: f.String}
}
