# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

Holds a declaration against the schema: types, ranges, patterns, unknown keys; and fills in the schema's defaults.
"""

from __future__ import annotations

import copy
import difflib
import typing as t

try:
    import jsonschema

    HAS_JSONSCHEMA = True
except ImportError:
    HAS_JSONSCHEMA = False

from .._common._errors import AutoscaleError
from ._problems import MISSING, Problems
from ._schema import SCHEMA

_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "null",
}


def plain(value: t.Any) -> t.Any:
    """*value* with plain dicts, lists and strings: Ansible hands over its own tagged and lazy kinds of them."""
    if isinstance(value, t.Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def describe(schema: t.Mapping[str, t.Any]) -> str:
    """What a field may hold, in words."""
    if "enum" in schema:
        return "one of " + ", ".join("null" if item is None else str(item) for item in schema["enum"])
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    text = " or ".join(_WORDS[kind] for kind in kinds)
    if "minimum" in schema and "maximum" in schema:
        text += f", {schema['minimum']} to {schema['maximum']}"
    if "exclusiveMinimum" in schema:
        text += f", more than {schema['exclusiveMinimum']} and at most {schema['maximum']}"
    if schema.get("minLength"):
        text += ", not empty"
    if "maxLength" in schema:
        text += f", at most {schema['maxLength']} characters"
    if "pattern" in schema:
        text += f", matching {schema['pattern']}"
    if schema.get("minItems"):
        text += f" of at least {schema['minItems']}"
    if schema.get("uniqueItems"):
        text += ", each item once"
    if "properties" in schema:
        text += " with " + ", ".join(schema["properties"])
    return text


def path_text(path: t.Iterable[str | int]) -> str:
    """``policies[0].out.cpu`` from the parts of a path."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _unknown_keys(error: t.Any, where: str, problems: Problems) -> None:
    known = list(error.schema["properties"])
    for key in error.instance:
        if key in known:
            continue
        close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
        note = "unknown key" + (f", did you mean {close[0]!r}?" if close else "")
        problems.add(
            f"{where}.{key}" if where else str(key), error.instance[key], "one of the keys " + ", ".join(known), note
        )


def check_shape(
    data: t.Any, problems: Problems, schema: t.Mapping[str, t.Any] = SCHEMA, *, what: str = "scaling group"
) -> None:
    """Add to *problems* whatever in *data* the schema refuses.

    :raises AutoscaleError: when the Python library jsonschema is missing.
    """
    if not HAS_JSONSCHEMA:
        raise AutoscaleError(
            f"A {what} cannot be checked: the Python library jsonschema is missing on the controller",
            remedy="Install it into the Python that runs Ansible: pip install jsonschema",
        )
    errors = jsonschema.Draft202012Validator(schema).iter_errors(data)
    for error in sorted(errors, key=lambda item: [str(part) for part in item.absolute_path]):
        where = path_text(error.absolute_path)
        if error.validator == "additionalProperties":
            _unknown_keys(error, where, problems)
        elif error.validator == "required":
            for key in error.validator_value:
                if key not in error.instance:
                    field = f"{where}.{key}" if where else key
                    problems.add(field, MISSING, describe(error.schema["properties"][key]))
        else:
            problems.add(where, error.instance, describe(error.schema))


def fill_defaults(data: t.Any, schema: t.Mapping[str, t.Any] = SCHEMA) -> t.Any:
    """A copy of *data* with the defaults of *schema* at every depth; what has the wrong type is left alone."""
    if "if" in schema:
        schema = schema["then" if jsonschema.Draft202012Validator(schema["if"]).is_valid(data) else "else"]
    if isinstance(data, dict) and "properties" in schema:
        full = dict(data)
        for key, field in schema["properties"].items():
            if key not in full and "default" in field:
                full[key] = copy.deepcopy(field["default"])
            if key in full:
                full[key] = fill_defaults(full[key], field)
        return full
    if isinstance(data, list) and "items" in schema:
        return [fill_defaults(item, schema["items"]) for item in data]
    return data
