// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"sort"
	"strings"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"gopkg.in/yaml.v3"
)

// guestReport is what the tools of a guest say about it.
type guestReport struct {
	hostname, domain string
	address          string
	prefix           int32 // bits of the network mask; 0 reads as 24
	dns, search      []string
}

// networkPlan is the network that a guest is configured for.
type networkPlan struct {
	address string // "" when nothing names one
	report  guestReport
	err     error
}

// networkOf reads the fixed address of the first NIC from a guest customization, else from cloud-init
// metadata (guestinfo.metadata).
func networkOf(name string, spec *types.CustomizationSpec, metadata map[string]string) networkPlan {
	plan := networkPlan{report: guestReport{hostname: name}}
	if spec == nil {
		plan.fromMetadata(metadata["guestinfo.metadata"], metadata["guestinfo.metadata.encoding"])
		return plan
	}
	switch identity := spec.Identity.(type) {
	case *types.CustomizationLinuxPrep:
		if fixed, ok := identity.HostName.(*types.CustomizationFixedName); ok && fixed.Name != "" {
			plan.report.hostname = fixed.Name
		}
		plan.report.domain = identity.Domain
	case *types.CustomizationCloudinitPrep:
		plan.fromMetadata(identity.Metadata, "")
	}
	plan.report.search = append(plan.report.search, spec.GlobalIPSettings.DnsSuffixList...)
	plan.report.dns = append(plan.report.dns, spec.GlobalIPSettings.DnsServerList...)
	if len(spec.NicSettingMap) == 0 {
		return plan
	}
	adapter := spec.NicSettingMap[0].Adapter
	if len(adapter.DnsServerList) > 0 {
		plan.report.dns = adapter.DnsServerList
	}
	if fixed, ok := adapter.Ip.(*types.CustomizationFixedIp); ok {
		plan.address = fixed.IpAddress
		if mask := net.ParseIP(adapter.SubnetMask).To4(); mask != nil {
			ones, _ := net.IPMask(mask).Size()
			plan.report.prefix = int32(ones)
		}
	}
	return plan
}

// cloudMetadata is the part of cloud-init's metadata for VMware that the lab reads.
type cloudMetadata struct {
	LocalHostname   string    `yaml:"local-hostname"`
	Hostname        string    `yaml:"hostname"`
	Network         yaml.Node `yaml:"network"`
	NetworkEncoding string    `yaml:"network.encoding"`
}

// cloudNetwork is a network configuration of version 2, which may be nested under "network" or "config".
type cloudNetwork struct {
	Ethernets map[string]struct {
		Addresses   []string `yaml:"addresses"`
		Nameservers struct {
			Addresses []string `yaml:"addresses"`
			Search    []string `yaml:"search"`
		} `yaml:"nameservers"`
	} `yaml:"ethernets"`
	Network *cloudNetwork `yaml:"network"`
	Config  *cloudNetwork `yaml:"config"`
}

// fromMetadata takes hostname and first address from cloud-init metadata.
func (p *networkPlan) fromMetadata(text, encoding string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	data, err := decodeGuestInfo(text, encoding)
	if err != nil {
		p.err = err
		return
	}
	var metadata cloudMetadata
	if err := yaml.Unmarshal(data, &metadata); err != nil { // JSON is YAML too
		p.err = err
		return
	}
	if metadata.LocalHostname != "" {
		p.report.hostname = metadata.LocalHostname
	} else if metadata.Hostname != "" {
		p.report.hostname = metadata.Hostname
	}
	network, err := decodeNetwork(metadata)
	if err != nil {
		p.err = err
		return
	}
	names := make([]string, 0, len(network.Ethernets))
	for name := range network.Ethernets {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		card := network.Ethernets[name]
		if len(card.Addresses) == 0 {
			continue
		}
		ip, block, err := net.ParseCIDR(card.Addresses[0])
		if err != nil {
			p.err = fmt.Errorf("ethernets.%s.addresses: %w", name, err)
			return
		}
		ones, _ := block.Mask.Size()
		p.address, p.report.prefix = ip.String(), int32(ones)
		p.report.dns, p.report.search = card.Nameservers.Addresses, card.Nameservers.Search
		return
	}
}

// decodeNetwork reads the network part: a mapping, or a string in the encoding that stands beside it.
func decodeNetwork(metadata cloudMetadata) (cloudNetwork, error) {
	var network cloudNetwork
	switch metadata.Network.Kind {
	case 0:
		return network, nil
	case yaml.ScalarNode:
		data, err := decodeGuestInfo(metadata.Network.Value, metadata.NetworkEncoding)
		if err != nil {
			return network, fmt.Errorf("network: %w", err)
		}
		if err := yaml.Unmarshal(data, &network); err != nil {
			return network, fmt.Errorf("network: %w", err)
		}
	default:
		if err := metadata.Network.Decode(&network); err != nil {
			return network, fmt.Errorf("network: %w", err)
		}
	}
	for range 3 {
		if network.Network != nil {
			network = *network.Network
		} else if network.Config != nil {
			network = *network.Config
		}
	}
	return network, nil
}

// decodeGuestInfo undoes guestinfo's encodings: none, base64, or gzip in base64.
func decodeGuestInfo(text, encoding string) ([]byte, error) {
	switch strings.ToLower(encoding) {
	case "":
		return []byte(text), nil
	case "base64", "b64":
		return base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	case "gzip+base64", "gz+b64":
		packed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		reader, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, err
		}
		const limit = 1 << 20
		data, err := io.ReadAll(io.LimitReader(reader, limit+1))
		if err == nil && len(data) > limit {
			err = errors.New("larger than 1 MiB")
		}
		return data, err
	default:
		return nil, fmt.Errorf("unknown encoding %q; base64 or gzip+base64", encoding)
	}
}

// metadataOf picks the guestinfo keys out of a VM's extraConfig. The caller holds the VM's lock.
func metadataOf(vm *mo.VirtualMachine) map[string]string {
	rows := make(map[string]string)
	if vm.Config == nil {
		return rows
	}
	for key, value := range extraConfig(vm.Config.ExtraConfig) {
		if strings.HasPrefix(key, "guestinfo.") {
			rows[key] = value
		}
	}
	return rows
}

// extraConfig is the list of options as a map; values that are no strings are left out.
func extraConfig(options []types.BaseOptionValue) map[string]string {
	rows := make(map[string]string, len(options))
	for _, option := range options {
		if value, ok := option.GetOptionValue().Value.(string); ok {
			rows[option.GetOptionValue().Key] = value
		}
	}
	return rows
}
