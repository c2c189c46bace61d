# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The REST plane of VMware Private AI Services for the lab: settings, nothing that serves models.

Kept: tokens of an OIDC provider (its own), lists with ``has_more`` and cursors, ids and times given by the server,
secrets that are never given back, references that must exist, what cannot be changed, the two verbs of updates. What no
document says is the lab's own: the fields of MCP servers, which names must be unique, the masks of secrets.

From bottom to top: ``kinds`` (what is stored and what is refused); ``emulator``; ``spawn`` (as a process).
"""
