// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path"
	"reflect"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// Modes of a rule.
const (
	modeFault        = "fault"                // a call or a task fails
	modeDelay        = "delay"                // a call takes longer
	modeNoBoot       = "no_boot"              // a VM is switched on and its guest never starts
	modeUnhealthy    = "unhealthy"            // a guest starts with /health 500
	modeCustomFailed = "customization_failed" // CustomizationFailed, and no network
	modeLinkLocal    = "link_local"           // a link-local address shows before the real one
	modeNoAddress    = "no_address"           // the guest boots without an address
)

// rule makes something go wrong. The modes fault and delay strike API calls; the others strike the
// boots of VMs that are no base VMs.
type rule struct {
	ID          int     `json:"id"`
	Mode        string  `json:"mode"`
	Method      string  `json:"method,omitempty"`      // SOAP method, a glob: CloneVM_Task
	ObjectType  string  `json:"object_type,omitempty"` // a glob: VirtualMachine
	ObjectName  string  `json:"object_name,omitempty"` // a glob: name of the object, or of the VM that a clone makes
	Fault       string  `json:"fault,omitempty"`       // type of the fault: ResourceInUse
	Message     string  `json:"message,omitempty"`
	At          string  `json:"at,omitempty"` // call: the call fails; task: the call starts a task that fails
	Probability float64 `json:"probability"`  // 0 to 1; 1 when left out
	Count       int     `json:"count"`        // how often at most; 0 is without limit
	Skip        int     `json:"skip"`         // how many matches pass first
	Delay       seconds `json:"delay_s"`      // before the fault, or instead of one
	Hits        int     `json:"hits"`         // how often it struck

	skipped int
}

// prepare fills defaults and checks the rule.
func (r *rule) prepare() error {
	if r.Mode == "" {
		r.Mode = modeFault
		if r.Fault == "" && r.Delay > 0 {
			r.Mode = modeDelay
		}
	}
	for _, pattern := range []*string{&r.Method, &r.ObjectType, &r.ObjectName} {
		if *pattern == "" {
			*pattern = "*"
		}
		if _, err := path.Match(*pattern, ""); err != nil {
			return fmt.Errorf("pattern %q: %w", *pattern, err)
		}
	}
	if r.Probability < 0 || r.Probability > 1 || r.Count < 0 || r.Skip < 0 {
		return fmt.Errorf("probability is 0 to 1, count and skip are 0 or more")
	}
	switch r.Mode {
	case modeFault:
		if r.Fault == "" {
			return fmt.Errorf("fault is required: the name of a vSphere fault, such as ResourceInUse")
		}
		if _, err := makeFault(r.Fault); err != nil {
			return err
		}
		if r.At == "" {
			r.At = "call"
		}
		if r.At != "call" && r.At != "task" {
			return fmt.Errorf("at is call or task, not %q", r.At)
		}
		if r.At == "task" && !taskCanFail(r.Method) {
			return fmt.Errorf("at: task needs a method of %v", taskMethods())
		}
	case modeDelay:
		if r.Delay <= 0 {
			return fmt.Errorf("delay_s is required and more than 0")
		}
	case modeNoBoot, modeUnhealthy, modeCustomFailed, modeLinkLocal, modeNoAddress:
	default:
		return fmt.Errorf("mode %q: fault, delay, no_boot, unhealthy, customization_failed, link_local or no_address", r.Mode)
	}
	return nil
}

// strikes counts a match and tells whether the rule takes effect. The caller holds the book's lock.
func (r *rule) strikes() bool {
	if r.Count > 0 && r.Hits >= r.Count {
		return false
	}
	if r.Probability < 1 && rand.Float64() >= r.Probability {
		return false
	}
	if r.skipped < r.Skip {
		r.skipped++
		return false
	}
	r.Hits++
	return true
}

// faultBook keeps the rules; earlier rules go first.
type faultBook struct {
	mu    sync.Mutex
	rules []*rule
	last  int
}

func newFaultBook() *faultBook { return &faultBook{} }

// add stores rules, all or none, and returns them with their ids.
func (b *faultBook) add(rules []rule) ([]rule, error) {
	for i := range rules {
		if err := rules[i].prepare(); err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range rules {
		b.last++
		rules[i].ID, rules[i].Hits, rules[i].skipped = b.last, 0, 0
		stored := rules[i]
		b.rules = append(b.rules, &stored)
	}
	return rules, nil
}

// list returns copies of the rules.
func (b *faultBook) list() []rule {
	b.mu.Lock()
	defer b.mu.Unlock()
	rows := make([]rule, 0, len(b.rules))
	for _, r := range b.rules {
		rows = append(rows, *r)
	}
	return rows
}

// remove drops the rule with the id, or every rule for id 0, and returns how many went.
func (b *faultBook) remove(id int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := make([]*rule, 0, len(b.rules))
	for _, r := range b.rules {
		if id != 0 && r.ID != id {
			kept = append(kept, r)
		}
	}
	gone := len(b.rules) - len(kept)
	b.rules = kept
	return gone
}

// strikeCall finds what happens to a call: the delays of every rule that strikes, and the first fault.
func (b *faultBook) strikeCall(method, objectType string, names []string) (delay time.Duration, fault *rule) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rules {
		if r.Mode != modeFault && r.Mode != modeDelay || r.Mode == modeFault && fault != nil {
			continue
		}
		if !glob(r.Method, method) || !glob(r.ObjectType, objectType) || !anyGlob(r.ObjectName, names) || !r.strikes() {
			continue
		}
		delay += time.Duration(r.Delay)
		if r.Mode == modeFault {
			found := *r
			fault = &found
		}
	}
	return delay, fault
}

// strikeBoot changes the plan of a boot.
func (b *faultBook) strikeBoot(name string, plan *bootPlan) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.rules {
		if r.Mode == modeFault || r.Mode == modeDelay || !glob(r.ObjectName, name) {
			continue
		}
		if r.Mode == modeCustomFailed && plan.customization == nil || !r.strikes() {
			continue
		}
		switch r.Mode {
		case modeNoBoot:
			plan.noBoot = true
		case modeUnhealthy:
			plan.health = 500
		case modeCustomFailed:
			plan.customFails = true
		case modeLinkLocal:
			plan.linkLocal = true
		case modeNoAddress:
			plan.noAddress = true
		}
		plan.time += time.Duration(r.Delay)
	}
}

func glob(pattern, text string) bool {
	ok, _ := path.Match(pattern, text)
	return ok || pattern == "*"
}

func anyGlob(pattern string, names []string) bool {
	for _, name := range names {
		if glob(pattern, name) {
			return true
		}
	}
	return pattern == "*"
}

// makeFault makes a fault of the named type. Fields that must not be empty get a value: clients cannot read
// the fault otherwise.
func makeFault(name string) (types.BaseMethodFault, error) {
	kind, ok := types.TypeFunc()(name)
	if !ok {
		return nil, fmt.Errorf("no such fault: %q", name)
	}
	fault, ok := reflect.New(kind).Interface().(types.BaseMethodFault)
	if !ok {
		return nil, fmt.Errorf("%q is a type, but not a fault", name)
	}
	switch f := fault.(type) {
	case *types.InvalidPowerState:
		f.RequestedState = types.VirtualMachinePowerStatePoweredOn
		f.ExistingState = types.VirtualMachinePowerStatePoweredOff
	case *types.TaskInProgress:
		f.Task = types.ManagedObjectReference{Type: "Task", Value: "task-0"}
	case *types.ManagedObjectNotFound:
		f.Obj = types.ManagedObjectReference{Type: "VirtualMachine", Value: "vm-0"}
	}
	return fault, nil
}

// parseRules reads one rule or a list of rules. Unknown fields are refused: a typing error in a test
// would otherwise inject nothing.
func parseRules(data []byte) ([]rule, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		raw = []json.RawMessage{data}
	}
	rules := make([]rule, 0, len(raw))
	for _, one := range raw {
		r := rule{Probability: 1}
		if err := strictJSON(one, &r); err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}
