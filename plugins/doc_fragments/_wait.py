# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice."""

from __future__ import annotations


class ModuleDocFragment:
    """How long to wait: the same three options in every module."""

    DOCUMENTATION = r"""
options:
  wait:
    description:
      - Whether to wait until the change is not only accepted but done.
    type: bool
    default: true
  wait_timeout:
    description:
      - How long to wait, in seconds. When it passes the module fails and returns what is half done.
    type: int
    default: 300
  wait_interval:
    description:
      - Seconds between two looks; at most 5, jittered by a fifth.
    type: float
    default: 1.0
"""
