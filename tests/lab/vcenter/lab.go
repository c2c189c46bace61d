// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/url"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	_ "github.com/vmware/govmomi/pbm/simulator"  // storage policies, asked for by some clients
	_ "github.com/vmware/govmomi/vapi/simulator" // REST API: tags, content library
)

// seconds is a duration that JSON shows as a number of seconds and a flag as "3s".
type seconds time.Duration

func (s seconds) String() string               { return time.Duration(s).String() }
func (s seconds) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s).Seconds()) }

// Set implements flag.Value: a duration ("1.5s") or a number of seconds ("1.5").
func (s *seconds) Set(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		number, nerr := strconv.ParseFloat(text, 64)
		if nerr != nil {
			return err
		}
		d = time.Duration(number * float64(time.Second))
	}
	if d < 0 || d > time.Hour {
		return fmt.Errorf("%v is not between 0 and 1h", d)
	}
	*s = seconds(d)
	return nil
}

// UnmarshalJSON accepts a number of seconds.
func (s *seconds) UnmarshalJSON(data []byte) error { return s.Set(string(data)) }

// times are the simulated durations; they may change while the program runs.
type times struct {
	Clone    seconds `json:"clone_s"`
	Boot     seconds `json:"boot_s"`
	Shutdown seconds `json:"shutdown_s"`
}

// lab is the whole simulated vCenter.
type lab struct {
	model  *simulator.Model
	vms    *machines
	faults *faultBook

	mu    sync.Mutex
	times times
	mac   uint32 // last address given out of vCenter's range
	tasks int    // tasks that the lab started
	next  int    // host of the next clone that names none

	session *simulator.Session // of work that no request asked for
}

// newLab makes the inventory without VMs: datacenter DC0, cluster DC0_C0, datastore LocalDS_0,
// networks "VM Network" and DC0_DVPG0.
func newLab(o options) (*lab, error) {
	// Without this a task that takes time keeps its object locked: clones of one template would queue up.
	simulator.TaskDelay = simulator.DelayConfig{MethodDelay: map[string]int{"LockHandoff": 0}}

	model := simulator.VPX()
	model.Machine, model.Host, model.ClusterHost, model.Autostart = 0, 0, max(o.hosts, 1), false
	// pyVmomi speaks the version that is announced here; an old one lacks enum values that are sent.
	model.ServiceContent.About.ApiVersion = "8.0.3.0"
	model.ServiceContent.About.Version = "8.0.3"
	if err := model.Create(); err != nil {
		return nil, fmt.Errorf("simulator: %w", err)
	}
	l := &lab{model: model, times: o.times, faults: newFaultBook()}
	l.session = &simulator.Session{
		UserSession: types.UserSession{Key: "lab", UserName: "VSPHERE.LOCAL\\vpxd-extension"},
		Registry:    simulator.NewRegistry(),
		Map:         model.Map(),
	}
	l.vms = newMachines(l, o.guest)
	model.Map().AddHandler(&watcher{lab: l})
	model.Map().Handler = l.route
	return l, nil
}

// serveAPI starts the https server; it returns once the port answers.
func (l *lab) serveAPI(listen, user, password string, certificate tls.Certificate) (err error) {
	service := l.model.Service
	service.Listen = &url.URL{Host: listen, User: url.UserPassword(user, password)}
	service.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	service.RegisterEndpoints = true
	defer func() {
		if p := recover(); p != nil { // the simulator panics when it cannot bind
			err = fmt.Errorf("%v", p)
		}
	}()
	service.NewServer()
	return nil
}

// close ends every guest and removes the simulator's files.
func (l *lab) close() {
	l.vms.stopAll()
	l.model.Remove()
}

// context returns a new context for work that no request asked for. Locks belong to contexts, so
// two goroutines must never share one.
func (l *lab) context() *simulator.Context {
	return &simulator.Context{Context: context.Background(), Session: l.session, Map: l.model.Map()}
}

// registry is the simulator's inventory.
func (l *lab) registry() *simulator.Registry { return l.model.Map() }

func (l *lab) currentTimes() times {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.times
}

// newMAC returns an address of the range that a vCenter assigns from. The simulator's own addresses
// come from three characters of a UUID and collide after a few dozen VMs.
func (l *lab) newMAC() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mac++
	return fmt.Sprintf("00:50:56:%02x:%02x:%02x", 0x80|(l.mac>>16)&0x3f, (l.mac>>8)&0xff, l.mac&0xff)
}

// nextHost spreads clones over the hosts, as DRS would.
func (l *lab) nextHost() *types.ManagedObjectReference {
	l.mu.Lock()
	defer l.mu.Unlock()
	hosts := l.registry().All("HostSystem")
	if len(hosts) == 0 {
		return nil
	}
	names := make(map[string]types.ManagedObjectReference, len(hosts))
	order := make([]string, 0, len(hosts))
	for _, host := range hosts {
		names[host.Entity().Name] = host.Reference()
		order = append(order, host.Entity().Name)
	}
	sort.Strings(order)
	l.next++
	ref := names[order[l.next%len(order)]]
	return &ref
}

// virtualMachine returns the simulator's object, or nil when it is gone.
func (l *lab) virtualMachine(ref types.ManagedObjectReference) *simulator.VirtualMachine {
	vm, _ := l.registry().Get(ref).(*simulator.VirtualMachine)
	return vm
}

// post writes events to the event log. ctx is the owner of the locks that the caller holds, and has a session.
func (l *lab) post(ctx *simulator.Context, events ...types.BaseEvent) {
	manager := l.registry().EventManager()
	l.registry().WithLock(ctx, manager, func() {
		for _, event := range events {
			manager.PostEvent(ctx, &types.PostEvent{EventToPost: event})
		}
	})
}

// vmEvent fills the arguments that event filters look at.
func (l *lab) vmEvent(vm *mo.VirtualMachine) types.VmEvent {
	event := types.Event{Vm: &types.VmEventArgument{
		EntityEventArgument: types.EntityEventArgument{Name: vm.Name}, Vm: vm.Self,
	}}
	if vm.Runtime.Host != nil {
		if host, ok := l.registry().Get(*vm.Runtime.Host).(*simulator.HostSystem); ok {
			event.Host = &types.HostEventArgument{
				EntityEventArgument: types.EntityEventArgument{Name: host.Name}, Host: host.Self,
			}
		}
	}
	if dc := l.registry().Any("Datacenter"); dc != nil {
		event.Datacenter = &types.DatacenterEventArgument{
			EntityEventArgument: types.EntityEventArgument{Name: dc.Entity().Name}, Datacenter: dc.Reference(),
		}
	}
	return types.VmEvent{Event: event}
}

// hasNetwork tells whether a network of the name exists.
func (l *lab) hasNetwork(name string) bool {
	for _, kind := range []string{"Network", "DistributedVirtualPortgroup", "OpaqueNetwork"} {
		var refs []types.ManagedObjectReference
		for _, entity := range l.registry().All(kind) {
			refs = append(refs, entity.Reference())
		}
		if l.registry().FindByName(name, refs) != nil {
			return true
		}
	}
	return false
}
