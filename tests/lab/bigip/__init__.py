# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A BIG-IP for the lab: iControl REST in front of a real TCP data plane.

Kept: sessions, refusals in the device's codes and words, computed session and state, transactions, balancing by
connection, monitors, persistence by source address, a pair, a reboot that forgets. Simpler than the device: nodes have
no monitor of their own, ``slowRampTime`` and idle timeouts do nothing, ``reselect`` ends a connection, no FQDN members.

The rooms of this package, from bottom to top:

``errors``, ``names`` and ``target``; ``schema`` (properties and their defaults); ``model`` (configuration and its
rules, no I/O); ``runtime``, ``monitor`` and ``dataplane`` (what runs); ``view`` and ``stats`` (what REST shows);
``auth``; ``ltm``, ``system``, ``transactions`` and ``rest`` (what REST does); ``device`` (pair, reboot); ``control``
and ``faults`` (what a test may do to it); ``emulator`` (all of it together).

BIG-IP DNS stands beside it in the same order:
``gtm_schema``, ``gtm_model``, ``gtm_runtime``, ``gtm_view``, ``gtm_rest``, ``gtm_sync`` (the group of its devices).
"""
