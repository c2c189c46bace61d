# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Private to the collection; may change without notice.

One scrape job of ours with its companions, in a fragment of its own or in marked blocks of the main file.
"""

from __future__ import annotations

import glob
import re
import typing as t
from dataclasses import dataclass
from pathlib import Path

from .._common import _atomic_file, _marked_block
from .._common._config_change import ManagedFile, candidate, check, converge, diff_entry
from .._common._errors import ConflictError, InvalidSpecError, NotFoundError, RefusedError
from .._common._marked_block import Marker
from .._common._waiter import Waiter
from ._client import PrometheusClient
from ._config import MainConfig, make_folders, owned_file, render_owned

LIST = ("scrape_configs",)
FRAGMENTS = "scrape_config_files"
_PLAIN = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


@dataclass(frozen=True)
class ScrapeJob:
    """What is wanted. ``job`` is one entry of ``scrape_configs``; ``None`` means that there shall be no such job.

    ``name`` stands in the marks or is the name of the fragment; ``job_name`` is the same unless ``job`` says otherwise.
    ``companions`` are jobs that come and go with it, each with a ``job_name``.
    """

    name: str
    job: t.Mapping[str, t.Any] | None
    config_file: str
    method: str = "auto"  # auto | fragment | block
    fragment_dir: str | None = None
    promtool: str = "promtool"
    companions: t.Sequence[t.Mapping[str, t.Any]] = ()


def ensure(
    wish: ScrapeJob, client: PrometheusClient, *, waiter: t.Callable[[], Waiter] | None, check_mode: bool
) -> dict[str, t.Any]:
    """Make it so: check, install, reload, verify, or put everything back.

    :returns: ``changed``, ``job_name``, ``companions`` (their names), ``method``, ``path`` (the file that holds
        the job), ``created_directories``, ``diff``.
    """
    bodies = _bodies(wish)
    with _atomic_file.locked(_atomic_file.resolve(wish.config_file)):
        main = MainConfig(wish.config_file)
        method, fragment = _place(wish, main)
        own = owned_file(fragment, main.path) if fragment else None
        old = _old_job_names(main, own, wish.name)
        names = [body["job_name"] for body in bodies]
        others = _names_of_others(main, wish.name)
        for name in names:
            if name in others:
                raise ConflictError(
                    f"{main.path} has a job {name} that is not ours",
                    remedy="Remove that job, or give this one another name.",
                )
        main.file.after = _edit(main.text, bodies if method == "block" else [], wish.name).encode()
        if own:
            own.after = render_owned({"scrape_configs": bodies}) if bodies and method == "fragment" else None
        files = [main.file, own] if own else [main.file]
        if any(entry.changed for entry in files):
            _check(wish, main, own)
        created = make_folders(_target_folders(bodies, (fragment or main.path).parent), check_mode=check_mode)
        gone = [name for name in old or ([] if names else [wish.name]) if name not in names]
        changed = converge(
            files,
            reload=client.reload,
            loaded=lambda: _loaded(client, names, gone, method),
            what=f"Scrape job {wish.name} in {main.path}",
            waiter=waiter,
            remedy=lambda: _advice(client, main),
            check_mode=check_mode,
        )
    path = fragment if method == "fragment" and fragment else main.path
    return {
        "changed": changed or bool(created),
        "job_name": [*names, *gone][0],
        "companions": names[1:],
        "method": method,
        "path": str(path),
        "created_directories": created,
        "diff": _diff(main, own, wish.name),
    }


def _bodies(wish: ScrapeJob) -> list[dict[str, t.Any]]:
    """The job, which may get its name here, and its companions, which must have one each; nothing when it shall go."""
    if wish.job is None:
        return []
    found = []
    for job in (wish.job, *wish.companions):
        name = job.get("job_name") or (wish.name if not found else "")
        if not name or any(name == other["job_name"] for other in found):
            raise InvalidSpecError(
                f"A companion of the scrape job {wish.name} has the job_name {name!r}",
                remedy="Give each companion a job_name of its own.",
            )
        found.append({"job_name": name, **{key: value for key, value in job.items() if key != "job_name"}})
    return found


def _marker(name: str, companion: str = "") -> Marker:
    return Marker("companion of job", f"{name} / {companion}") if companion else Marker("job", name)


def _markers(text: str, name: str) -> list[Marker]:
    """Of our blocks in *text*: the job's, and one for each companion that is there."""
    begin = re.escape(_marker(name, "@").begin.removesuffix("@"))
    return [_marker(name), *(_marker(name, found) for found in re.findall(rf"^[ ]*{begin}(.+?)[ \t]*$", text, re.M))]


def _place(wish: ScrapeJob, main: MainConfig) -> tuple[str, Path | None]:
    """``block`` or ``fragment``, and the path that a fragment has or had (``None`` where there can be none)."""
    fragment = _fragment_path(wish, main)
    if wish.method == "fragment" and fragment is None:
        where = f"{wish.fragment_dir}/*.yml" if wish.fragment_dir else "scrape.d/*.yml"
        raise NotFoundError(
            f"{main.path} reads no fragments" + (f" from {wish.fragment_dir}" if wish.fragment_dir else ""),
            remedy=f"Add {FRAGMENTS}: [{where}] to it (Prometheus 2.43 or later), or use method=block.",
        )
    if wish.method == "auto":
        return ("fragment" if fragment else "block"), fragment
    return wish.method, fragment


def _fragment_path(wish: ScrapeJob, main: MainConfig) -> Path | None:
    if not _PLAIN.match(wish.name):
        if wish.method == "fragment":
            raise InvalidSpecError(f"{wish.name!r} cannot be the name of a file", remedy="Use method=block.")
        return None
    folders = [Path(pattern).parent for pattern in main.patterns(FRAGMENTS)]
    if wish.fragment_dir:
        folders = [main.folder / wish.fragment_dir]
    for folder in folders:
        for suffix in (".yml", ".yaml"):
            path = folder / f"{wish.name}{suffix}"
            if not glob.has_magic(str(folder)) and main.includes(FRAGMENTS, path):
                return path
    return None


def _edit(text: str, bodies: t.Sequence[t.Mapping[str, t.Any]], name: str) -> str:
    wanted = {_marker(name, body["job_name"] if number else ""): body for number, body in enumerate(bodies)}
    for marker in _markers(text, name):
        if marker not in wanted:
            text = _marked_block.remove_item(text, LIST, marker)
    for marker, body in wanted.items():
        text = _marked_block.put_item(text, LIST, body, marker)
    return text


def _old_job_names(main: MainConfig, own: ManagedFile | None, name: str) -> list[str]:
    """What our jobs are called now; empty when there is none."""
    items = [_marked_block.block_item(main.text, marker) for marker in _markers(main.text, name)]
    if not any(items) and own is not None and own.before is not None:
        found = _marked_block.parse(own.text(), str(own.path)).get("scrape_configs")
        items = found if isinstance(found, list) else []
    return [str(item["job_name"]) for item in items if isinstance(item, dict) and item.get("job_name")]


def _names_of_others(main: MainConfig, name: str) -> set[str]:
    """Jobs in the main file that stand outside of our blocks."""
    without = _marked_block.parse(_edit(main.text, [], name), str(main.path))
    jobs = without.get("scrape_configs")
    return {job.get("job_name", "") for job in jobs if isinstance(job, dict)} if isinstance(jobs, list) else set()


def _check(wish: ScrapeJob, main: MainConfig, own: ManagedFile | None) -> None:
    """promtool reads copies that lie where the files will lie; a fragment through a list that names its copy."""
    text = (main.file.after or b"").decode()
    if own is None or (own.after is None and own.before is None):
        _run_promtool(wish.promtool, main, text, {})
        return
    others = [str(path) for path in main.included_files(FRAGMENTS) if path.resolve() != own.path.resolve()]
    if own.after is None:
        _run_promtool(wish.promtool, main, _marked_block.with_list(text, FRAGMENTS, others), {})
        return
    made = make_folders([own.path.parent], check_mode=True)
    if made:
        raise NotFoundError(f"The fragment folder {own.path.parent} does not exist", remedy="Create it first.")
    with candidate(own.path, own.after, like=main.path) as copy:
        listed = _marked_block.with_list(text, FRAGMENTS, [*others, str(copy)])
        _run_promtool(wish.promtool, main, listed, {str(copy): str(own.path)})


def _run_promtool(promtool: str, main: MainConfig, text: str, shown: t.Mapping[str, str]) -> None:
    with candidate(main.path, text.encode()) as copy:
        check(
            promtool,
            ["check", "config", str(copy)],
            shown={**shown, str(copy): str(main.path)},
            remedy="Correct the job, or what else the message names.",
            package="Prometheus",
        )


def _target_folders(bodies: t.Sequence[t.Mapping[str, t.Any]], base: Path) -> list[Path]:
    """Folders of file_sd files: Prometheus never watches one that is missing when it reads its configuration."""
    entries = [body.get("file_sd_configs") or [] for body in bodies]
    rows = [row for entry in entries if isinstance(entry, list) for row in entry if isinstance(row, dict)]
    names = [name for row in rows for name in row.get("files") or []]
    folders = dict.fromkeys(base / Path(str(name)).parent for name in names)
    return [folder for folder in folders if not glob.has_magic(str(folder))]


def _loaded(client: PrometheusClient, names: t.Sequence[str], gone: t.Sequence[str], method: str) -> bool:
    """Whether Prometheus has the jobs, and none by a name that one of ours had before."""
    if any(client.job_known(name) for name in gone):
        return False
    if all(client.job_known(name) for name in names):
        return True
    # From 2.43 up to 3.0 a job from a fragment shows nowhere until it has a target; that the fragments are read at all
    # is what can be seen.
    return method == "fragment" and _before_3(client) and bool(client.running_config().get(FRAGMENTS))


def _before_3(client: PrometheusClient) -> bool:
    return str(client.get("status/buildinfo").get("version", "")).startswith("2.")


def _advice(client: PrometheusClient, main: MainConfig) -> str:
    return (
        f"Prometheus was started with --config.file={client.config_file() or '(unknown)'}; "
        f"check that {main.path} is that file, and url the same server."
    )


def _diff(main: MainConfig, own: ManagedFile | None, name: str) -> list[dict[str, str]]:
    texts = (main.text, (main.file.after or b"").decode())
    before, after = (
        "\n".join(filter(None, (_marked_block.block_text(text, marker) for marker in _markers(text, name))))
        for text in texts
    )
    entries = []
    if before != after or own is None:
        entries.append(diff_entry(f"{main.path} (job {name})", before, after))
    if own is not None:
        entries.append(diff_entry(str(own.path), _text(own.before), _text(own.after)))
    return entries


def _text(content: bytes | None) -> str:
    try:
        return (content or b"").decode()
    except UnicodeDecodeError as error:
        raise RefusedError(f"A fragment is not UTF-8 text: {error}") from error
