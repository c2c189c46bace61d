// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"reflect"

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
