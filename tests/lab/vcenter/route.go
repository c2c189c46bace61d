// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// route sees every SOAP call before the simulator does. It refuses what needs a login, injects
// faults, and hands some calls on VMs to the lab's own methods (labVM).
func (l *lab) route(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	if ctx.Session == nil && method.Name != "Login" {
		return nil, needsLogin(method)
	}
	delay, broken := l.faults.strikeCall(method.Name, method.This.Type, l.namesOf(method))
	if broken == nil || broken.At != "task" {
		time.Sleep(delay)
	}
	if broken != nil {
		fault, err := makeFault(broken.Fault)
		if err != nil {
			return nil, &types.SystemErrorFault{Reason: err.Error()}
		}
		if denied, ok := fault.(*types.NotAuthenticated); ok {
			denied.Object, denied.PrivilegeId = &types.ManagedObjectReference{Type: method.This.Type, Value: method.This.Value}, "System.View"
		}
		if broken.Message == "" {
			broken.Message = fmt.Sprintf("%s (fault rule %d)", broken.Fault, broken.ID)
		}
		fault.GetMethodFault().FaultMessage = []types.LocalizableMessage{{Key: "lab.rule", Message: broken.Message}}
		if broken.At == "call" {
			if ctx.Session == nil {
				return nil, fault
			}
			return divert(ctx, method, &brokenCall{fault: fault, message: broken.Message}), nil
		}
		if method.Name != "CloneVM_Task" {
			return divert(ctx, method, &brokenTask{lab: l, method: method.Name, ref: method.This, delay: delay, fault: fault}), nil
		}
		if vm := l.virtualMachine(method.This); vm != nil {
			return divertVM(ctx, method, &labVM{VirtualMachine: vm, lab: l, delay: delay, fault: fault}), nil
		}
		return nil, nil
	}
	if ctx.Session != nil && method.Name == "Fetch" {
		if collector, ok := ctx.Session.Get(method.This).(*simulator.PropertyCollector); ok {
			return divert(ctx, method, &fetcher{collector: collector}), nil
		}
	}
	if ctx.Session != nil && slices.Contains(ownMethods, method.Name) {
		if vm := l.virtualMachine(method.This); vm != nil {
			return divertVM(ctx, method, &labVM{VirtualMachine: vm, lab: l}), nil
		}
	}
	return nil, nil
}

// ownMethods are the methods of labVM.
var ownMethods = []string{"CloneVM_Task", "CustomizeVM_Task", "ShutdownGuest", "RebootGuest"}

// needsLogin refuses property reads without a session, which the simulator allows. What clients read
// before they log in stays allowed.
func needsLogin(method *simulator.Method) types.BaseMethodFault {
	open := func(ref types.ManagedObjectReference) bool {
		return ref.Type == "ServiceInstance" || ref.Type == "SessionManager" || ref.Type == "PropertyCollector"
	}
	var filters []types.PropertyFilterSpec
	switch body := method.Body.(type) {
	case *types.RetrieveProperties:
		filters = body.SpecSet
	case *types.RetrievePropertiesEx:
		filters = body.SpecSet
	default:
		if method.Name != "Fetch" {
			return nil // the simulator refuses it by itself
		}
		if open(fetched(method.Body)) {
			return nil
		}
		return notAuthenticated(method.This)
	}
	for _, filter := range filters {
		for _, object := range filter.ObjectSet {
			if !open(object.Obj) {
				return notAuthenticated(object.Obj)
			}
		}
	}
	return nil
}

func notAuthenticated(ref types.ManagedObjectReference) types.BaseMethodFault {
	return &types.NotAuthenticated{NoPermission: types.NoPermission{Object: &ref, PrivilegeId: "System.View"}}
}

// namesOf are the names that a rule may give for the object of a call.
func (l *lab) namesOf(method *simulator.Method) []string {
	names := []string{method.This.Value}
	if entity, ok := l.registry().Get(method.This).(mo.Entity); ok {
		names = append(names, entity.Entity().Name)
	}
	if clone, ok := method.Body.(*types.CloneVM_Task); ok {
		names = append(names, clone.Name)
	}
	return names
}

// divert makes the simulator call the method LabCall of handler. It looks the object of a call up
// again when there is a session, so the call must name an object that is not in the inventory.
func divert(ctx *simulator.Context, method *simulator.Method, handler mo.Reference) mo.Reference {
	method.Name = "LabCall"
	return divertVM(ctx, method, handler)
}

// divertVM is divert for a handler that has a method of the call's own name.
func divertVM(ctx *simulator.Context, method *simulator.Method, handler mo.Reference) mo.Reference {
	caller := method.This
	ctx.Caller = &caller
	method.This = types.ManagedObjectReference{Type: caller.Type, Value: "lab-diverted"}
	return handler
}

// unlocked is embedded by handlers that need no lock of the simulator.
type unlocked struct{}

// Lock implements sync.Locker.
func (unlocked) Lock() {}

// Unlock implements sync.Locker.
func (unlocked) Unlock() {}

// Reference implements mo.Reference.
func (unlocked) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Lab", Value: "lab"}
}

// faultBody is an answer that is a fault.
type faultBody struct{ reason *soap.Fault }

// Fault implements soap.HasFault.
func (b *faultBody) Fault() *soap.Fault { return b.reason }

func fail(message string, fault types.BaseMethodFault) soap.HasFault {
	return &faultBody{simulator.Fault(message, fault)}
}

// brokenCall answers a call with a fault.
type brokenCall struct {
	unlocked
	fault   types.BaseMethodFault
	message string
}

// LabCall is called instead of the method that the client named.
func (b *brokenCall) LabCall(_ *simulator.Context, _ any) soap.HasFault {
	return fail(b.message, b.fault)
}

// brokenTask answers a call with a task that fails.
type brokenTask struct {
	unlocked
	lab    *lab
	method string
	ref    types.ManagedObjectReference
	delay  time.Duration
	fault  types.BaseMethodFault
}

// LabCall is called instead of the method that the client named.
func (b *brokenTask) LabCall(ctx *simulator.Context, _ any) soap.HasFault {
	ref := b.lab.runTask(ctx, b.ref, b.method, func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		time.Sleep(b.delay)
		return nil, b.fault
	})
	return taskAnswers[b.method](ref)
}

// taskAnswers make the answers of the methods whose tasks can be made to fail.
var taskAnswers = map[string]func(types.ManagedObjectReference) soap.HasFault{
	"CloneVM_Task": func(ref types.ManagedObjectReference) soap.HasFault {
		return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{Returnval: ref}}
	},
	"PowerOnVM_Task": func(ref types.ManagedObjectReference) soap.HasFault {
		return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: ref}}
	},
	"PowerOffVM_Task": func(ref types.ManagedObjectReference) soap.HasFault {
		return &methods.PowerOffVM_TaskBody{Res: &types.PowerOffVM_TaskResponse{Returnval: ref}}
	},
	"Destroy_Task": func(ref types.ManagedObjectReference) soap.HasFault {
		return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: ref}}
	},
	"ReconfigVM_Task": func(ref types.ManagedObjectReference) soap.HasFault {
		return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: ref}}
	},
	"Rename_Task": func(ref types.ManagedObjectReference) soap.HasFault {
		return &methods.Rename_TaskBody{Res: &types.Rename_TaskResponse{Returnval: ref}}
	},
}

func taskCanFail(method string) bool { return taskAnswers[method] != nil }

func taskMethods() []string {
	names := make([]string, 0, len(taskAnswers))
	for name := range taskAnswers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// runTask starts a task that holds no lock while it works: others may read its object meanwhile.
func (l *lab) runTask(ctx *simulator.Context, entity types.ManagedObjectReference, method string,
	work func(*simulator.Task) (types.AnyType, types.BaseMethodFault)) types.ManagedObjectReference {
	task := simulator.CreateTask(entity, method, work)
	task.Info.Name, task.Info.Cancelable = method, true
	if id, ok := map[string]string{"CloneVM_Task": "VirtualMachine.clone", "PowerOnVM_Task": "VirtualMachine.powerOn"}[method]; ok {
		task.Info.DescriptionId = id
	}
	if object, ok := l.registry().Get(entity).(mo.Entity); ok {
		task.Info.EntityName = object.Entity().Name
	}
	// The simulator locks the object that the task names when it starts, so it gets a name of its own until then.
	l.mu.Lock()
	l.tasks++
	stand := types.ManagedObjectReference{Type: entity.Type, Value: fmt.Sprintf("lab-task-%d", l.tasks)}
	l.mu.Unlock()
	task.Info.Entity = &stand
	own := *ctx
	ref := task.Run(&own)
	l.registry().WithLock(l.context(), task, func() { task.Info.Entity = &entity })
	return ref
}
