// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"reflect"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// fetched reads the object of pyVmomi's Fetch call, whose type is private to the simulator.
func fetched(body types.AnyType) types.ManagedObjectReference {
	value := reflect.Indirect(reflect.ValueOf(body))
	if value.Kind() != reflect.Struct {
		return types.ManagedObjectReference{}
	}
	field := value.FieldByName("This")
	if !field.IsValid() {
		return types.ManagedObjectReference{}
	}
	ref, _ := field.Interface().(types.ManagedObjectReference)
	return ref
}

// fetcher answers pyVmomi's attribute reads. The simulator answers the read of an unset property
// with the wrong kind of message, which pyVmomi cannot read: vm.resourcePool of a template, vm.snapshot.
type fetcher struct {
	unlocked
	collector *simulator.PropertyCollector
}

// FetchResponse is the answer; the name of the type is the name of the XML element.
type FetchResponse struct {
	Returnval types.AnyType `xml:"returnval,omitempty,typeattr"`
}

// fetchBody wraps the answer for the simulator's encoder.
type fetchBody struct {
	Res    *FetchResponse
	Fault_ *soap.Fault
}

// Fault implements soap.HasFault.
func (b *fetchBody) Fault() *soap.Fault { return b.Fault_ }

// LabCall is called instead of PropertyCollector.Fetch, whose argument type is private to the simulator.
func (f *fetcher) LabCall(ctx *simulator.Context, body any) soap.HasFault {
	results := reflect.ValueOf(f.collector).MethodByName("Fetch").Call([]reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(body)})
	answer, ok := results[0].Interface().(soap.HasFault)
	if !ok {
		return fail("Fetch", &types.SystemErrorFault{Reason: "no answer"})
	}
	if _, unset := answer.(*methods.RetrievePropertiesExBody); unset && answer.Fault() == nil {
		return &fetchBody{Res: new(FetchResponse)}
	}
	return answer
}
