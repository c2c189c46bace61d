# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options: a subset of ``vllm serve``, by command line and YAML file; what is unknown ends with exit code 2."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

#: Accepted and ignored, as only a real engine needs them: those with a value, and those without.
_VALUES = """
    allowed-headers allowed-methods allowed-origins block-size chat-template compilation-config config-format
    data-parallel-size device-ids distributed-executor-backend download-dir dtype generation-config
    gpu-memory-utilization hf-overrides kv-cache-dtype kv-cache-memory-bytes load-format max-log-len
    max-num-batched-tokens middleware model-loader-extra-config override-generation-config pipeline-parallel-size
    quantization reasoning-parser revision root-path scheduling-policy seed speculative-config
    sse-keep-alive-interval stream-interval tensor-parallel-size tokenizer tokenizer-mode tokenizer-revision
    tool-call-parser uvicorn-log-level
"""
_SWITCHES = """
    aggregate-engine-logging allow-credentials async-scheduling disable-custom-all-reduce disable-fastapi-docs
    enable-auto-tool-choice enable-chunked-prefill enable-log-requests enable-prefix-caching
    enable-prompt-tokens-details enable-request-id-headers enable-scale-out enable-ssl-refresh enforce-eager
    trust-remote-code
"""
VALUES, SWITCHES = _VALUES.split(), _SWITCHES.split()


class Environment:
    """What the environment sets."""

    def __init__(self, source: dict[str, str] | None = None) -> None:
        source = dict(os.environ) if source is None else source

        def number(name: str, default: float) -> float:
            return float(source.get(name) or default)

        self.load = number("VLLM_STUB_LOAD_SECONDS", 2)
        self.rate = number("VLLM_STUB_TOKENS_PER_SECOND", 50)
        self.kv_tokens = int(number("VLLM_STUB_KV_TOKENS", 65536))
        self.cold = number("VLLM_STUB_COLD_SECONDS", 0)
        self.pace = number("VLLM_STUB_PACE", 1)
        self.keep_alive = number("VLLM_HTTP_TIMEOUT_KEEP_ALIVE", 5)
        self.api_key = source.get("VLLM_API_KEY") or None


def parse(arguments: list[str]) -> argparse.Namespace:
    """The options of ``serve``; those of the command line win over those of the file.

    :raises SystemExit: with 2, as argparse does, when an option is unknown or has a bad value.
    """
    parser = _parser()
    first = _dashes(arguments)
    config = _config_file(first)
    if config is not None:
        try:
            from_file = _as_arguments(read_config(Path(config).read_text()))
        except OSError as error:
            parser.error(f"cannot read the config file: {error}")
        except ValueError as error:
            parser.error(f"{config}: {error}")
        first = [first[0], *from_file, *first[1:]] if first else first
    options = parser.parse_args(first)
    options.model = options.model_tag or options.model or "Qwen/Qwen3-0.6B"
    options.served_model_name = options.served_model_name or [options.model]
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vllm", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", allow_abbrev=False)
    serve.add_argument("model_tag", nargs="?")
    serve.add_argument("--config")
    serve.add_argument("--model")
    serve.add_argument("--served-model-name", nargs="+")
    serve.add_argument("--host", default="")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--api-key", nargs="+")
    for name, default in (
        ("max-num-seqs", 256),
        ("max-num-queued-reqs", None),
        ("max-model-len", None),
        ("shutdown-timeout", 0),
    ):
        serve.add_argument(f"--{name}", type=int, default=default)
    for name in ("ssl-keyfile", "ssl-certfile", "ssl-ca-certs", "disable-access-log-for-endpoints"):
        serve.add_argument(f"--{name}")
    serve.add_argument("--ssl-cert-reqs", type=int, default=0)
    serve.add_argument("--disable-log-stats", action="store_true")
    for name in ("enable-server-load-tracking", "disable-uvicorn-access-log", *SWITCHES):
        serve.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=False)
    serve.add_argument("-O", "--optimization-level")
    for name in VALUES:
        serve.add_argument(f"--{name}", nargs="+" if name == "device-ids" else None)
    return parser


def _dashes(arguments: list[str]) -> list[str]:
    """``--max_num_seqs`` is ``--max-num-seqs``."""
    changed = []
    for word in arguments:
        name, equals, value = word.partition("=")
        changed.append(f"{name.replace('_', '-')}{equals}{value}" if word.startswith("--") else word)
    return changed


def _config_file(arguments: list[str]) -> str | None:
    for position, word in enumerate(arguments):
        if word == "--config" and position + 1 < len(arguments):
            return arguments[position + 1]
        if word.startswith("--config="):
            return word.partition("=")[2]
    return None


def _as_arguments(config: dict[str, Any]) -> list[str]:
    words: list[str] = []
    for key, value in config.items():
        name = f"--{str(key).replace('_', '-')}"
        if isinstance(value, bool):
            words += [name] if value else []
        elif isinstance(value, list):
            words += [name, *map(str, value)] if value else []
        elif isinstance(value, dict):
            words.append(f"{name}={json.dumps(value)}")
        elif value is not None:
            words.append(f"{name}={value}")
    return words


def read_config(text: str) -> dict[str, Any]:
    """A YAML file of ``key: value`` lines and simple lists, or JSON.

    :raises ValueError: a line that is neither.
    """
    if text.lstrip().startswith("{"):
        return json.loads(text)
    found: dict[str, Any] = {}
    last = ""
    for number, line in enumerate(text.splitlines(), 1):
        content = line.strip()
        if not content or content.startswith("#") or content in {"---", "..."}:
            continue
        if (
            content.startswith("- ")
            and last
            and found[last] in (None, found[last] if isinstance(found[last], list) else None)
        ):
            found[last] = [*(found[last] or []), _scalar(content[2:])]
            continue
        key, colon, value = content.partition(":")
        if not colon or line[0] in " \t" or (value and value[0] not in " \t"):
            raise ValueError(f"line {number} is neither 'key: value' nor '- item': {content}")
        last = str(_scalar(key))
        found[last] = _scalar(value)
    return found


def _scalar(text: str) -> Any:
    text = text.strip()
    if text[:1] == "'":
        return text[1 : text.rindex("'")].replace("''", "'")
    if text[:1] in {'"', "[", "{"}:
        try:
            return json.JSONDecoder().raw_decode(text)[0]
        except ValueError:
            if text.startswith("[") and text.endswith("]"):
                return [_scalar(item) for item in text[1:-1].split(",") if item.strip()]
            raise
    text = text.split(" #")[0].rstrip()
    lowered = text.lower()
    if lowered in {"true", "false", "yes", "no"}:
        return lowered in {"true", "yes"}
    return None if lowered in {"", "null", "~"} else text
