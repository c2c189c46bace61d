# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

The receiver's configuration: one YAML file, checked as a whole before anything listens.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import socket
import typing as t
from pathlib import Path

import yaml

from ...module_utils._common._errors import InvalidSpecError
from ._libraries import jsonschema

_PATH = {"type": "string", "minLength": 1}
_SECONDS = {"type": "number", "exclusiveMinimum": 0}
_SECONDS_OR_OFF = {"type": "number", "minimum": 0}
_GROUPS = {
    "oneOf": [{"const": "*"}, {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}],
}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def _object(required: t.Sequence[str] = (), **properties: t.Any) -> dict[str, t.Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


#: JSON Schema 2020-12 of the file. Every default stands in the dataclasses below.
SCHEMA: dict[str, t.Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Configuration of the onprem.autoscale webhook receiver",
    **_object(
        ("ledger", "scaling_groups_dir", "executor"),
        listen={"type": "string", "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]+):[0-9]{1,5}$"},
        insecure_http={"type": "boolean"},
        tls=_object(
            ("cert", "key"),
            cert=_PATH,
            key=_PATH,
            client_ca=_PATH,
            clients={
                "type": "array",
                "items": _object(("name",), name={"type": "string", "minLength": 1}, groups=_GROUPS),
                "minItems": 1,
            },
        ),
        tokens={
            "type": "array",
            "items": _object(
                ("name", "token_file"), name={"type": "string", "minLength": 1}, token_file=_PATH, groups=_GROUPS
            ),
        },
        ledger={"type": "string", "minLength": 1},
        inventory=_PATH,
        scaling_groups_dir=_PATH,
        max_body_bytes={"type": "integer", "minimum": 1024, "maximum": 64 * 1024 * 1024},
        alert_max_age=_SECONDS,
        sweep_period=_SECONDS,
        reconcile_period=_SECONDS_OR_OFF,
        reconcile_soon=_SECONDS_OR_OFF,
        controller_ttl={"type": "number", "minimum": 3},
        prometheus_url={"type": "string", "pattern": "^https?://"},
        prometheus_ca=_PATH,
        prometheus_token_file=_PATH,
        node={"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$"},
        executor=_object(
            ("type", "private_data_root"),
            type={"enum": ["runner"]},
            private_data_root=_PATH,
            ansible_playbook=_PATH,
            environment=_TEXTS,
            extra_vars={"type": "object", "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}},
            max_parallel={"type": "integer", "minimum": 1, "maximum": 256},
            max_attempts={"type": "integer", "minimum": 1, "maximum": 100},
            max_failures={"type": "integer", "minimum": 1, "maximum": 100},
            failure_pause=_SECONDS,
            failure_pause_max=_SECONDS,
            keep_successful_artifacts={"type": "boolean"},
            keep_failed_artifacts={"type": "integer", "minimum": 0},
        ),
        playbooks=_object((), **{"out": _PATH, "in": _PATH, "reconcile": _PATH}),
    ),
}


#: What runs for each direction.
PLAYBOOKS = {
    "out": "onprem.autoscale.scale_out",
    "in": "onprem.autoscale.scale_in",
    "reconcile": "onprem.autoscale.reconcile",
}


class ConfigError(InvalidSpecError):
    """The configuration cannot be used: names the file, the field and what is allowed."""


@dataclasses.dataclass(frozen=True)
class Caller:
    """Who may deliver: a token's name or a certificate's name, and the groups it may ask for (``None`` = all)."""

    name: str
    groups: frozenset[str] | None = None

    def may(self, group: str) -> bool:
        """Whether this caller may ask for *group*."""
        return self.groups is None or group in self.groups


@dataclasses.dataclass(frozen=True)
class Token:
    """A Bearer token: its file is read again when it changes, so that a token can be renewed without a restart."""

    caller: Caller
    file: Path


@dataclasses.dataclass(frozen=True)
class Tls:
    """Server certificate, and the CA and names of clients that may come without a token."""

    cert: Path
    key: Path
    client_ca: Path | None = None
    clients: tuple[Caller, ...] | None = None  # None = whoever the CA signed, every group


@dataclasses.dataclass(frozen=True)
class ExecutorConfig:
    """How an action is run. Times in seconds."""

    type: str
    private_data_root: Path
    ansible_playbook: Path | None = None  # None = the one beside this Python, else on PATH
    environment: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    extra_vars: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    max_parallel: int = 4
    max_attempts: int = 5
    max_failures: int = 5
    failure_pause: float = 30.0
    failure_pause_max: float = 900.0
    keep_successful_artifacts: bool = False
    keep_failed_artifacts: int = 50


@dataclasses.dataclass(frozen=True)
class Config:
    """The whole file, with defaults and absolute paths. Times in seconds."""

    ledger: str
    scaling_groups_dir: Path
    executor: ExecutorConfig
    host: str = "127.0.0.1"
    port: int = 9087
    tls: Tls | None = None
    tokens: tuple[Token, ...] = ()
    inventory: Path | None = None
    max_body_bytes: int = 1024 * 1024
    alert_max_age: float = 900.0
    sweep_period: float = 60.0
    reconcile_period: float = 600.0  # 0 = no reconcile is ever started
    reconcile_soon: float = 5.0
    controller_ttl: float = 30.0
    prometheus_url: str | None = None
    prometheus_ca: Path | None = None
    prometheus_token_file: Path | None = None
    node: str = dataclasses.field(default_factory=socket.gethostname)
    playbooks: t.Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(PLAYBOOKS))


_AS_WRITTEN = (
    *("ledger", "max_body_bytes", "alert_max_age", "sweep_period", "reconcile_period", "reconcile_soon"),
    *("controller_ttl", "prometheus_url", "node"),
)


def load_config(path: str | os.PathLike[str]) -> Config:
    """Read and check the file at *path*; relative paths in it are meant from its own folder.

    :raises ConfigError: with every fault of the file at once.
    """
    path = Path(path).absolute()
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the configuration {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"the configuration {path} is not YAML: {error}") from error
    problems = [
        f"{error.json_path.replace('$.', '').replace('$', 'the file')}: {error.message}"
        for error in sorted(jsonschema.Draft202012Validator(SCHEMA).iter_errors(data), key=lambda e: e.json_path)
    ]
    if problems:
        raise _refused(path, problems)
    config = _build(data, path.parent)
    problems = list(_problems(config, insecure_http=data.get("insecure_http", False)))
    if problems:
        raise _refused(path, problems)
    return config


def _refused(path: Path, problems: t.Sequence[str]) -> ConfigError:
    return ConfigError(
        f"the configuration {path} has {len(problems)} fault(s): " + "; ".join(problems),
        remedy="docs/receiver.md describes every field",
    )


def _build(data: dict[str, t.Any], base: Path) -> Config:
    def full(value: str) -> Path:
        return base / Path(value).expanduser()

    def caller(entry: t.Mapping[str, t.Any]) -> Caller:
        groups = entry.get("groups", "*")
        return Caller(entry["name"], None if groups == "*" else frozenset(groups))

    values: dict[str, t.Any] = {name: data[name] for name in _AS_WRITTEN if name in data}
    values["playbooks"] = {**PLAYBOOKS, **data.get("playbooks", {})}
    for name in ("inventory", "scaling_groups_dir", "prometheus_ca", "prometheus_token_file"):
        if name in data:
            values[name] = full(data[name])
    if "listen" in data:
        host, _sep, port = data["listen"].rpartition(":")
        values.update(host=host.strip("[]"), port=int(port))
    if "tls" in data:
        tls = data["tls"]
        values["tls"] = Tls(
            cert=full(tls["cert"]),
            key=full(tls["key"]),
            client_ca=full(tls["client_ca"]) if "client_ca" in tls else None,
            clients=tuple(caller(entry) for entry in tls["clients"]) if "clients" in tls else None,
        )
    values["tokens"] = tuple(Token(caller(entry), full(entry["token_file"])) for entry in data.get("tokens", ()))
    executor = dict(data["executor"])
    for name in ("private_data_root", "ansible_playbook"):
        if name in executor:
            executor[name] = full(executor[name])
    # The play reads the same specs as the receiver, wherever its inventory lies.
    executor["extra_vars"] = {"scaling_groups_dir": str(values["scaling_groups_dir"]), **executor.get("extra_vars", {})}
    return Config(executor=ExecutorConfig(**executor), **values)


def _problems(config: Config, *, insecure_http: bool) -> t.Iterator[str]:
    """What a schema cannot say."""
    if config.port > 65535:
        yield f"listen: port {config.port} is above 65535"
    if not config.tokens and not (config.tls and config.tls.client_ca):
        yield "tokens: nobody could deliver; name at least one token, or a tls.client_ca"
    names = [token.caller.name for token in config.tokens]
    yield from (f"tokens: the name {name!r} stands twice" for name in sorted({n for n in names if names.count(n) > 1}))
    for token in config.tokens:
        try:
            read_token(token.file)
        except ConfigError as error:
            yield f"tokens[{token.caller.name}]: {error.message}"
    if config.tls and config.tls.clients and not config.tls.client_ca:
        yield "tls.clients: needs tls.client_ca, which says whose certificates are believed"
    if config.tls is None and not insecure_http and not _is_loopback(config.host):
        yield f"listen: {config.host} without tls would send tokens in clear; add tls, or insecure_http: true"
    if not config.scaling_groups_dir.is_dir():
        yield f"scaling_groups_dir: {config.scaling_groups_dir} is not a folder"
    if config.inventory and not config.inventory.exists():
        yield f"inventory: {config.inventory} does not exist"
    command = config.executor.ansible_playbook
    if command and not os.access(command, os.X_OK):
        yield f"executor.ansible_playbook: {command} is not a program that this user may run"
    for field, file in (
        ("tls.cert", config.tls and config.tls.cert),
        ("tls.key", config.tls and config.tls.key),
        ("tls.client_ca", config.tls and config.tls.client_ca),
        ("prometheus_ca", config.prometheus_ca),
    ):
        if file and not os.access(file, os.R_OK):
            yield f"{field}: {file} cannot be read"
    if config.prometheus_token_file:
        try:
            read_token(config.prometheus_token_file)
        except ConfigError as error:
            yield f"prometheus_token_file: {error.message}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(file: Path) -> str:
    """The token in *file*, without the line end.

    :raises ConfigError: not readable, readable by everybody, empty, short, or not a token by its characters.
    """
    try:
        mode = file.stat().st_mode
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if mode & 0o007:
        raise ConfigError(f"{file} is open to every user (mode {mode & 0o777:04o}); run chmod o= on it")
    if len(text) < 16 or not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigError(f"{file} does not hold a token: one word of 16 or more printable ASCII characters")
    return text
