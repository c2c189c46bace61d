# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An Avi controller (NSX Advanced Load Balancer) for the lab, as far as GSLB goes, with its DNS.

Kept: login by cookies, CSRF token and Referer on writes, version header, tenants, paging, refs by name, refusals as
``{"error": ...}``, 412 for a stale PUT; a federation of sites: configuration on the leader only, copied to the others,
``enable_config_by_members``, a change of the leader, a returning leader that finds itself replaced; probes of members;
DNS answers by group priority. Simpler than the product: GEO takes every group, no shards and proxies of monitors, no
status from the control plane, one node a cluster.

The rooms, from bottom to top: ``errors``; ``schema`` (fields and their rules); ``store`` (objects, merged between
sites by the later change); ``auth``; ``monitor`` (probes); ``answers`` (who is named for a domain name);
``federation`` (the other sites); ``rest``; ``control`` (what a test may do); ``emulator`` (all of it); ``spawn``.
"""
