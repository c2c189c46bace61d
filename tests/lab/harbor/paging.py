# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of a list: ``page``, ``page_size``, ``sort``, ``q``; X-Total-Count and Link say what there is more of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from .errors import bad

MAX_SIZE = 100


def matches(row: Mapping[str, Any], query: str) -> bool:
    """Whether *row* is what ``q`` asks for: ``name=x`` exactly, ``name=~x`` in part; several joined by commas."""
    for term in filter(None, query.split(",")):
        key, equals, value = term.partition("=")
        if not equals:
            raise bad(f"invalid query string: {query}")
        found = str(row.get(key, ""))
        if (value[1:] not in found) if value.startswith("~") else (value != found):
            return False
    return True


def page(request: web.Request, rows: Iterable[Mapping[str, Any]]) -> web.Response:
    """The page that is asked for."""
    query = request.query
    try:
        number, size = int(query.get("page", 1)), int(query.get("page_size", 10))
    except ValueError as error:
        raise bad(str(error)) from None
    if number < 1 or not 0 < size <= MAX_SIZE:
        raise bad(f"validation failure: page should be >= 1, page_size should be 1 to {MAX_SIZE}")
    found = [row for row in rows if matches(row, query.get("q", ""))]
    key = query.get("sort", "")
    if key:
        found.sort(key=lambda row: str(row.get(key.lstrip("-"), "")), reverse=key.startswith("-"))
    headers = {"X-Total-Count": str(len(found))}
    links = []
    for name, other in (("prev", number - 1), ("next", number + 1)):
        if other >= 1 and (other - 1) * size < len(found):
            url = request.rel_url.update_query(page=str(other), page_size=str(size))
            links.append(f'<{url}>; rel="{name}"')
    if links:
        headers["Link"] = " , ".join(links)
    return web.json_response(found[(number - 1) * size : number * size], headers=headers)
