# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away Debian hosts with real systemd and SSH, for molecule: systemd-nspawn on overlays, a namespace each.

They need root and Debian's packages systemd-container, mmdebstrap and nftables; where hosts cannot be booted,
:class:`HostError` says why. Ways and limits (what is not real in such a host): README.md beside this file.
"""
