# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The trigger: takes Alertmanager's notifications, stores them, and runs one action a group.
Start it with ``python -m ansible_collections.onprem.autoscale.plugins.plugin_utils._intake --config receiver.yml``.
"""
