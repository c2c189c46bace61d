// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"net"
	"path"
	"strings"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	networkName   = "VM Network"
	datastoreName = "LocalDS_0"
)

// baseVM is a VM that is there from the start.
type baseVM struct{ name, address, template string }

// parseBase reads "name=address,name=address=template".
func parseBase(text string) ([]baseVM, error) {
	var rows []baseVM
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		name, address, ok := strings.Cut(part, "=")
		address, template, _ := strings.Cut(address, "=")
		if !ok || name == "" || net.ParseIP(address) == nil {
			return nil, fmt.Errorf("-base: %q is not name=address or name=address=template", part)
		}
		rows = append(rows, baseVM{name, address, template})
	}
	return rows, nil
}

// populate makes the VMs: the base VMs (on, without boot time), the template and a powered-off VM.
// It speaks to the simulator in process, through the same API as everybody else.
func (l *lab) populate(o options) error {
	rows, err := parseBase(o.base)
	if err != nil {
		return err
	}
	ctx := context.Background()
	client, err := vim25.NewClient(ctx, l.model.Service)
	if err != nil {
		return err
	}
	builder, err := newBuilder(ctx, client, l)
	if err != nil {
		return err
	}
	for _, name := range strings.FieldsFunc(o.template, func(r rune) bool { return r == ',' }) {
		vm, err := builder.create(ctx, name)
		if err != nil {
			return err
		}
		if err := vm.MarkAsTemplate(ctx); err != nil {
			return err
		}
	}
	if o.golden != "" {
		if _, err := builder.create(ctx, o.golden); err != nil {
			return err
		}
	}
	for _, row := range rows {
		vm, err := builder.create(ctx, row.name)
		if err != nil {
			return err
		}
		l.vms.addBase(vm.Reference(), row)
		task, err := vm.PowerOn(ctx)
		if err != nil {
			return err
		}
		if err := task.Wait(ctx); err != nil {
			return err
		}
	}
	return l.vms.awaitBase(len(rows))
}

// builder creates VMs with one disk and one NIC.
type builder struct {
	lab     *lab
	folder  *object.Folder
	pool    *object.ResourcePool
	store   types.ManagedObjectReference
	backing types.BaseVirtualDeviceBackingInfo
}

func newBuilder(ctx context.Context, client *vim25.Client, l *lab) (*builder, error) {
	finder := find.NewFinder(client)
	dc, err := finder.DefaultDatacenter(ctx)
	if err != nil {
		return nil, err
	}
	finder.SetDatacenter(dc)
	folders, err := dc.Folders(ctx)
	if err != nil {
		return nil, err
	}
	pool, err := finder.ResourcePool(ctx, "DC0_C0/Resources")
	if err != nil {
		return nil, err
	}
	store, err := finder.Datastore(ctx, datastoreName)
	if err != nil {
		return nil, err
	}
	network, err := finder.Network(ctx, networkName)
	if err != nil {
		return nil, err
	}
	backing, err := network.EthernetCardBackingInfo(ctx)
	if err != nil {
		return nil, err
	}
	return &builder{l, folders.VmFolder, pool, store.Reference(), backing}, nil
}

// create makes a powered-off VM.
func (b *builder) create(ctx context.Context, name string) (*object.VirtualMachine, error) {
	var devices object.VirtualDeviceList
	scsi, err := devices.CreateSCSIController("pvscsi")
	if err != nil {
		return nil, err
	}
	file := fmt.Sprintf("[%s] %s", datastoreName, path.Join(name, "disk1.vmdk"))
	disk := devices.CreateDisk(scsi.(types.BaseVirtualController), b.store, file)
	disk.CapacityInKB = 10 << 20
	nic, err := devices.CreateEthernetCard("vmxnet3", b.backing)
	if err != nil {
		return nil, err
	}
	card := nic.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard()
	card.MacAddress, card.AddressType = b.lab.newMAC(), string(types.VirtualEthernetCardMacTypeAssigned)
	card.Connectable = &types.VirtualDeviceConnectInfo{StartConnected: true, AllowGuestControl: true, Connected: false}
	devices = append(devices, scsi, disk, nic)

	spec := types.VirtualMachineConfigSpec{
		Name: name, GuestId: string(types.VirtualMachineGuestOsIdentifierUbuntu64Guest),
		NumCPUs: 1, MemoryMB: 2048,
		Files: &types.VirtualMachineFileInfo{VmPathName: fmt.Sprintf("[%s]", datastoreName)},
	}
	if spec.DeviceChange, err = devices.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd); err != nil {
		return nil, err
	}
	task, err := b.folder.CreateVM(ctx, spec, b.pool, nil)
	if err != nil {
		return nil, err
	}
	info, err := task.WaitForResult(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("VM %s: %w", name, err)
	}
	return object.NewVirtualMachine(b.folder.Client(), info.Result.(types.ManagedObjectReference)), nil
}
