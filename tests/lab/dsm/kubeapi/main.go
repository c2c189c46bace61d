// Copyright (c) 2026 the onprem.autoscale authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command kubeapi is a real Kubernetes API server without pods and nodes, with its etcd in the same process: namespaces,
// secrets, custom resources, admission webhooks, server-side apply, watch, OpenAPI. The DSM emulator stands before it.
//
// All its arguments are the API server's own. The environment says where etcd is:
// ETCD_DIR, its folder; ETCD_CLIENT and ETCD_PEER, the two addresses that it listens on, as http://127.0.0.1:PORT.
package main

import (
	"fmt"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	"k8s.io/kubernetes/pkg/controlplane/apiserver/samples/generic/server"
)

func main() {
	if err := startEtcd(os.Getenv("ETCD_DIR"), os.Getenv("ETCD_CLIENT"), os.Getenv("ETCD_PEER")); err != nil {
		fmt.Fprintln(os.Stderr, "kubeapi: etcd:", err)
		os.Exit(1)
	}
	os.Exit(cli.Run(server.NewCommand()))
}

func startEtcd(folder, client, peer string) error {
	clients, err := url.Parse(client)
	if err != nil {
		return err
	}
	peers, err := url.Parse(peer)
	if err != nil {
		return err
	}
	config := embed.NewConfig()
	config.Dir = folder
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clients}, []url.URL{*clients}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peers}, []url.URL{*peers}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.LogLevel = "error"
	config.UnsafeNoFsync = true // a lab: the process may be killed, the machine does not lose its power
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return nil
	case err := <-etcd.Err():
		return err
	case <-time.After(30 * time.Second):
		return fmt.Errorf("not ready after 30 s on %s", client)
	}
}
