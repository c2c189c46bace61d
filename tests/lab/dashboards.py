# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be known of a dashboard without a Grafana: whether its JSON fits Grafana's model, what its queries return.

``python -m lab.dashboards http://PROMETHEUS [minutes]`` runs every query of the role's dashboards and names those
without data.
"""

from __future__ import annotations

import enum
import json
import math
import re
import sys
import time
import types
import typing as t
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "roles" / "group_monitoring" / "files" / "dashboards"
STEP_S = 5
_LABEL_VALUES = re.compile(r"^label_values\((?:(?P<metric>.+),\s*)?(?P<label>\w+)\)$")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
_BUILT_IN = {"__interval": "15s", "__range": "1h"}
Page = Mapping[str, t.Any]


class Query(t.NamedTuple):
    """One query of a dashboard: where it stands, and its PromQL with variables."""

    where: str
    expr: str


def pages() -> dict[str, Page]:
    """The role's dashboards by the names of their files."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}


# ---- queries ---------------------------------------------------------------------------------------------------------
def queries(page: Page) -> Iterator[Query]:
    """Those of panels (also inside of rows) and of annotations."""
    for panel in _panels(page.get("panels", [])):
        for target in panel.get("targets", []):
            yield Query(f"{page['title']} / {panel['title']} / {target['refId']}", target["expr"])
    for annotation in (page.get("annotations") or {}).get("list", []):
        if "expr" in annotation:
            yield Query(f"{page['title']} / annotation {annotation['name']}", annotation["expr"])


def _panels(panels: t.Iterable[Page]) -> Iterator[Page]:
    for panel in panels:
        yield panel
        yield from _panels(panel.get("panels", []))


def without_data(
    page: Page, url: str, *, minutes: float = 30, rate_interval: str = "1m", values: Mapping[str, str] | None = None
) -> list[str]:
    """Run every query over the last *minutes*, with each variable of the dashboard as Grafana would fill it in.

    :param values: of variables; the others are asked for, and the first value is taken.
    :param rate_interval: what ``$__rate_interval`` stands for: four times the scrape interval at least.
    :returns: a line for each query (and each variable) that returned no number, or an error.
    """
    known = {**_BUILT_IN, "__rate_interval": rate_interval, **(values or {})}
    missing = []
    for variable in (page.get("templating") or {}).get("list", []):
        if variable["type"] == "query" and variable["name"] not in known:
            found = _label_values(url, variable["query"])
            if not found:
                missing.append(f"{page['title']} / variable {variable['name']}: {variable['query']} has no value")
            known[variable["name"]] = found[0] if found else ""
    now = time.time()
    span = {
        "start": f"{now - 60 * minutes:.3f}",
        "end": f"{now:.3f}",
        "step": str(max(STEP_S, int(minutes * 60 / 5000))),
    }
    for query in queries(page):
        expr = fill_in(query.expr, known)
        answer = _ask(f"{url}/api/v1/query_range", {"query": expr, **span})
        if answer.get("status") != "success":
            missing.append(f"{query.where}: {answer.get('error', answer)}: {expr}")
        elif not any(_numbers(series) for series in answer["data"]["result"]):
            missing.append(f"{query.where}: no series: {expr}")
    return missing


def fill_in(expr: str, values: Mapping[str, str]) -> str:
    """Replace ``$name`` and ``${name}``. :raises KeyError: a variable that the dashboard does not have."""
    return _VARIABLE.sub(lambda match: values[match[1] or match[2]], expr)


def _numbers(series: Mapping[str, t.Any]) -> bool:
    return any(not math.isnan(float(value)) for _time, value in series["values"])


def _label_values(url: str, query: str) -> list[str]:
    match = _LABEL_VALUES.match(query)
    if not match:
        raise ValueError(f"only label_values(metric, label) is understood, not {query}")
    wanted = {"match[]": match["metric"]} if match["metric"] else {}
    return _ask(f"{url}/api/v1/label/{match['label']}/values", wanted).get("data", [])


def _ask(address: str, parameters: Mapping[str, str]) -> dict[str, t.Any]:
    try:
        with urllib.request.urlopen(f"{address}?{urllib.parse.urlencode(parameters)}", timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:  # what it refuses, it explains in the same form
        return json.load(error)


# ---- Grafana's model -------------------------------------------------------------------------------------------------
def problems(page: Page) -> list[str]:
    """Where *page* does not fit the model that Grafana publishes: ``grafana-foundation-sdk``, made from its schemas.

    Unknown fields, values of a wrong type, and words that an enumeration does not have.
    """
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    try:
        model = Dashboard.from_json(page)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return [f"it cannot be read: {type(error).__name__}: {error}"]
    again = json.loads(json.dumps(model, cls=JSONEncoder))
    return [*_wrong_types(model, type(model), "$"), *_lost(page, again, "$")]


def _lost(before: t.Any, after: t.Any, where: str) -> Iterator[str]:
    """What the model does not know, and so did not write again."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield f"{where}.{key}: no such field"
            else:
                yield from _lost(value, after[key], f"{where}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _lost(old, new, f"{where}[{index}]")
    elif before != after:
        yield f"{where}: {before!r} became {after!r}"


def _wrong_types(value: t.Any, hint: t.Any, where: str) -> Iterator[str]:
    """Walk the model with the types that it declares."""
    origin, arguments = t.get_origin(hint), t.get_args(hint)
    if origin in (t.Union, types.UnionType):
        found = [list(_wrong_types(value, choice, where)) for choice in arguments]
        yield from min(found, key=len)
    elif origin is t.Literal:
        if value not in arguments:
            yield f"{where}: {value!r} is none of {arguments}"
    elif origin is list and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _wrong_types(item, arguments[0], f"{where}[{index}]")
    elif origin is dict and isinstance(value, dict):
        for key, item in value.items():
            yield from _wrong_types(item, arguments[1], f"{where}.{key}")
    elif hint in (t.Any, object):
        yield from _own_types(value, where)
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        if value not in [member.value for member in hint]:
            yield f"{where}: {value!r} is no {hint.__name__}: {', '.join(str(member.value) for member in hint)}"
    elif not isinstance(hint, type) or not _is(value, hint):
        yield f"{where}: {value!r} is no {getattr(hint, '__name__', hint)}"
    else:
        yield from _own_types(value, where)


def _is(value: t.Any, wanted: type) -> bool:
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, wanted)


def _own_types(value: t.Any, where: str) -> Iterator[str]:
    """Of an object of the model: its declared fields."""
    if type(value).__module__.startswith("grafana_foundation_sdk.models."):
        for name, hint in t.get_type_hints(type(value)).items():
            if not name.startswith("_") and hasattr(value, name):
                yield from _wrong_types(getattr(value, name), hint, f"{where}.{name}")


def main(url: str, minutes: str = "30") -> int:
    """0 when every query returned something."""
    missing = [
        line for page in pages().values() for line in without_data(page, url.rstrip("/"), minutes=float(minutes))
    ]
    print("\n".join(missing) or "every query returned data")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
