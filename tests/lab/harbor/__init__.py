# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Harbor for the lab: projects, artifacts, registries and replication, which really copies to another Harbor.

Kept: paging, queries, refusals in Harbor's codes and words, a registry that must answer before it is stored,
executions with tasks and logs, push and pull, filters, namespaces, event-based runs, the session cookie that asks for a
CSRF token. Simpler than Harbor: the registry takes basic authentication and no bearer token, what is due by cron is
only stored (the control port fires it), nothing is scanned.

From bottom to top: ``errors`` and ``cron``; ``store`` (what is kept on disk); ``paging``; ``remote`` (another Harbor);
``filters`` and ``worker`` (executions); ``projects``, ``registries``, ``replication``, ``distribution`` (what HTTP
does); ``control`` (what a test may do); ``emulator`` (all of it); ``spawn`` (as a process).
"""
