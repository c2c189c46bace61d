# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The report of a run as one page without anything from outside, for somebody who reads it at night.
"""

from __future__ import annotations

import html
import typing as t


def page(report: t.Mapping[str, t.Any]) -> str:
    """The page."""
    return f"<!doctype html><title>{html.escape(report['plan'])}</title><pre>{html.escape(repr(dict(report)))}</pre>"
