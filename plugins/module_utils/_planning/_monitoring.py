# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

What Prometheus and Alertmanager get for a group: scrape job, alert rules, route (A2, A3). Plain dicts, as their YAML
wants them.
"""

from __future__ import annotations

import typing as t

from .._common._errors import InvalidSpecError
from . import _model_signals
from ._model_alerts import model_alerts
from ._promql import duration, quote
from ._spec import GroupSpec, Policy, Thresholds
from ._state import IN, OUT

#: Marks our alerts and routes among those of others.
LABEL = "onprem_autoscale"
_MIN_GROUP_INTERVAL = 10
_ADDRESS = "(.+):[0-9]+"
_NAMES = {OUT: "AutoscaleScaleOut", IN: "AutoscaleScaleIn"}


def _absolute(path: str, field: str) -> str:
    if not path.startswith("/"):
        # A relative path is taken relative to the fragment that holds it, which is rarely meant.
        raise InvalidSpecError(f"{field}: value is {path!r}; allowed: an absolute path on the monitoring host")
    return path


def scrape_job(
    spec: GroupSpec, file_sd_path: str, *, scrape_interval: int | None = None, refresh_interval: int = 5
) -> dict[str, t.Any]:
    """One entry of ``scrape_configs``: the group's job, whose targets stand in a file_sd file.

    :param file_sd_path: absolute path of that file on the Prometheus host; its folder must exist before the reload.
    :param scrape_interval: seconds; the group's own by default.
    :param refresh_interval: seconds until a change is seen at the latest, should the file watch fail.
    """
    return {
        "job_name": spec.monitoring.job,
        "scrape_interval": duration(scrape_interval or spec.monitoring.scrape_interval),
        "file_sd_configs": [
            {"files": [_absolute(file_sd_path, "file_sd_path")], "refresh_interval": duration(refresh_interval)}
        ],
        **spec.monitoring.scrape,
    }


def scrape_companions(
    spec: GroupSpec, file_sd_path: str, *, scrape_interval: int | None = None, refresh_interval: int = 5
) -> list[dict[str, t.Any]]:
    """Further entries of ``scrape_configs``: what else the members of a model endpoint tell; none for a service.

    The targets are those of :func:`scrape_job`, with their labels, on another port. ``instance`` is the host alone, so
    that what the canary and vLLM say of one member meets.
    """
    model = spec.model
    if model is None:
        return []
    ports = {"vllm": model.port, "canary": model.canary_port, "dcgm": model.dcgm_port}
    base = scrape_job(spec, file_sd_path, scrape_interval=scrape_interval, refresh_interval=refresh_interval)
    jobs = {
        part: {
            "job_name": _model_signals.job_name(spec, part),
            "scrape_interval": base["scrape_interval"],
            "file_sd_configs": base["file_sd_configs"],
            "relabel_configs": [
                {"source_labels": ["__address__"], "regex": _ADDRESS, "target_label": name, "replacement": replacement}
                for name, replacement in (("instance", "${1}"), ("__address__", f"${{1}}:{port}"))
            ],
        }
        for part, port in ports.items()
        if port is not None
    }
    jobs["vllm"] |= {
        "scheme": model.scheme,
        # Times of creation: a series beside each counter and histogram, which nobody asks for.
        "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": ".+_created", "action": "drop"}],
        **model.scrape,
    }
    return list(jobs.values())


def _cpu(job: str, window: int, *, whole_window: bool = False) -> str:
    """S1's CPU expression.

    ``rate()`` over a window that a series only partly fills is too small, so that its idle time looks like load: a
    member that has just come, or has just been removed, would read as busy as the window is empty, and the group would
    grow after its own actions. With *whole_window* only members count that were there at both ends of the window.
    """
    idle = f'rate(node_cpu_seconds_total{{mode="idle",job={job}}}[{duration(window)}])'
    busy = f"100 - (avg by (instance) ({idle}) * 100)"
    if not whole_window:
        return f"max({busy})"
    return (
        f"max(({busy}) and on (instance) (up{{job={job}}} offset {duration(window)}) and on (instance) up{{job={job}}})"
    )


def _memory(job: str) -> str:
    available = f"avg by (instance) (node_memory_MemAvailable_bytes{{job={job}}})"
    total = f"avg by (instance) (node_memory_MemTotal_bytes{{job={job}}})"
    return f"max((1 - ({available} / {total})) * 100)"


def expression(spec: GroupSpec, policy: Policy, direction: str) -> str:
    """The PromQL of one direction (A3): out when either metric is above, in when both are below.

    That of a model endpoint stands in :mod:`_model_signals` (B4).

    A target that cannot be scraped is read as busy when shrinking (invariant 9): S1's maximum would leave it out and
    shrink under a member that is too busy to answer. A member that was not there for the whole window does not count
    for growing (:func:`_cpu`). ``scale_in_needs_all_targets: false`` and ``scale_out_needs_whole_window: false`` give
    S1's bare expressions.
    """
    if policy.type == _model_signals.TYPE:
        return _model_signals.expression(spec, policy, direction)
    side = t.cast(Thresholds, policy.out if direction == OUT else policy.in_)
    job = quote(spec.monitoring.job)
    sign, joint = (">", "or") if direction == OUT else ("<", "and")
    whole_window = direction == OUT and spec.monitoring.scale_out_needs_whole_window
    parts = [
        f"({text} {sign} {limit:g})"
        for text, limit in (
            (_cpu(job, policy.window, whole_window=whole_window), side.cpu),
            (_memory(job), side.memory),
        )
        if limit is not None
    ]
    text = f"\n{joint}\n".join(parts)
    if direction == IN and spec.monitoring.scale_in_needs_all_targets:
        text = f"({text})" if len(parts) > 1 else text
        text += f"\nunless on ()\n(up{{job={job}}} == 0)"
    return text


def _summary(spec: GroupSpec, direction: str, side: Thresholds) -> str:
    parts = [f"{word} {limit:g} %" for word, limit in (("CPU", side.cpu), ("memory", side.memory)) if limit is not None]
    if direction == OUT:
        return f"A member of {spec.name} is above {' or '.join(parts)}"
    return f"Every member of {spec.name} is below {' and '.join(parts)}"


def _words(spec: GroupSpec, policy: Policy, direction: str, side: Thresholds) -> tuple[str, str]:
    """Summary and description of a rule."""
    if policy.type == _model_signals.TYPE:
        return _model_signals.summary(spec, policy, direction), _model_signals.now(spec, policy, direction)
    return _summary(spec, direction, side), 'Highest value: {{ $value | printf "%.1f" }} %.'


def _rule(spec: GroupSpec, policy: Policy, direction: str) -> dict[str, t.Any]:
    side = t.cast(Thresholds, policy.out if direction == OUT else policy.in_)
    summary, now = _words(spec, policy, direction, side)
    annotations = {
        "summary": f"{summary} for {duration(side.for_)}",
        "description": f"{now} The group scales {direction} within {spec.size.min} to {spec.size.max} members.",
        "runbook": f"The autoscaler answers this alert by itself. Where it lasts, read the group's last events: "
        f"ansible-playbook onprem.autoscale.status -e group={spec.name}",
    }
    if spec.monitoring.runbook_url:
        annotations["runbook_url"] = spec.monitoring.runbook_url
    return {
        "alert": _NAMES[direction],
        "expr": expression(spec, policy, direction),
        "for": duration(side.for_),
        "labels": {
            "group": spec.name,
            "action": f"scale_{direction}",
            LABEL: "true",
            "severity": "warning" if direction == OUT else "info",
        },
        "annotations": annotations,
    }


def alert_rules(
    spec: GroupSpec,
    *,
    runbook_base_url: str = "",
    alerts_off: t.Collection[str] = (),
    alert_labels: t.Mapping[str, str] | None = None,
) -> dict[str, t.Any]:
    """A rule file: one alert a direction, which the autoscaler answers; a direction without limits has none.

    For a model endpoint there are alerts for people besides, which no route of ours takes:

    :param runbook_base_url: where their runbooks are; without it they have no ``runbook_url``.
    :param alerts_off: names of those that are not wanted.
    :param alert_labels: further labels of theirs.
    """
    rules = [
        _rule(spec, policy, direction)
        for policy in spec.policies
        for direction, side in ((OUT, policy.out), (IN, policy.in_))
        if side is not None
    ]
    people = model_alerts(spec, runbook_base_url=runbook_base_url, labels=alert_labels)
    rules += [rule for rule in people if rule["alert"] not in alerts_off]
    name = f"{LABEL}_{spec.name}"
    return {"groups": [{"name": name, "interval": duration(spec.monitoring.evaluation_interval), "rules": rules}]}


def alert_route(
    spec: GroupSpec,
    receiver_url: str,
    token_file: str | None = None,
    *,
    ca_file: str | None = None,
    receiver_name: str | None = None,
    timeout: int | None = None,
    continue_: bool = False,
) -> dict[str, dict[str, t.Any]]:
    """A route and its receiver for Alertmanager: ``{"route": {...}, "receiver": {...}}``.

    :param receiver_url: where the alerts are posted.
    :param token_file: absolute path, on the Alertmanager host, of the file with the Bearer token.
    :param ca_file: absolute path of the CA that signed the receiver's certificate.
    :param receiver_name: ``autoscale-<group>`` by default.
    :param timeout: seconds for one POST; only Alertmanager 0.28 and later knows it, so it is left out by default.
    :param continue_: let later routes see the alert too.
    """
    if not receiver_url.startswith(("http://", "https://")):
        raise InvalidSpecError(f"receiver_url: value is {receiver_url!r}; allowed: a URL with http:// or https://")
    name = receiver_name or f"autoscale-{spec.name}"
    rest = min(spec.cooldown.out, spec.cooldown.in_)
    group_interval = spec.monitoring.group_interval or max(rest // 4, _MIN_GROUP_INTERVAL)
    webhook: dict[str, t.Any] = {"url": receiver_url, "send_resolved": True, "max_alerts": 0}
    http: dict[str, t.Any] = {}
    if token_file:
        http["authorization"] = {"type": "Bearer", "credentials_file": _absolute(token_file, "token_file")}
    if ca_file:
        http["tls_config"] = {"ca_file": _absolute(ca_file, "ca_file")}
    if http:
        webhook["http_config"] = http
    if timeout:
        webhook["timeout"] = duration(timeout)
    route = {
        "receiver": name,
        "matchers": [f'{LABEL}="true"', f'group="{spec.name}"'],
        "group_by": ["group", "action"],
        "group_wait": "0s",
        "group_interval": duration(group_interval),
        "repeat_interval": duration(spec.monitoring.repeat_interval or max(rest, group_interval)),
        "continue": continue_,
    }
    return {"route": route, "receiver": {"name": name, "webhook_configs": [webhook]}}
