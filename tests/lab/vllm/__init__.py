# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stub of vLLM 0.32.0: its endpoints, options, metrics, journal, and the bad habits that were measured on a real one.

``python -m lab.vllm serve --config FILE``, and ``vllm serve --config FILE`` from the wheel that ``wheel.py`` writes.
Standard library only, Python 3.11 or newer. ``tests/contract/test_vllm.py`` is passed by this and by the real one.

What it replays
  * the port is bound but does not listen until the start is over; the journal has vLLM's texts, with their pauses
  * SIGUSR1 freezes the engine: /health says 200 for ever, the metrics stand still, completions hang
  * SIGUSR2 kills its worker: busy, streams end with HTTP 200 and an ``error`` event, exit 0 within 1 s; idle, /health
    is 503 after 5 s and the process ends with 0 after 12 s
  * SIGTERM: with ``--shutdown-timeout 0`` streams end with HTTP 200 and ``finish_reason: abort``; with more they are
    finished, new requests get 500, and /health says 200 all through; exit 0
  * the key guards /v1, /v2, /inference and /cohere only; /invocations and /tokenize answer without it

What is different from the real one
  * tokens are words from a list, ``VLLM_STUB_TOKENS_PER_SECOND`` (50) a request whatever else runs; a prompt is read at
    100 times that, and four of its bytes are a token; the KV cache has ``VLLM_STUB_KV_TOKENS`` (65536), no blocks and
    no prefix cache; without ``ignore_eos`` an answer stops after 32 to 95 tokens, always the same for the same prompt
  * a start takes ``VLLM_STUB_LOAD_SECONDS`` (2); the other pauses above are multiplied by ``VLLM_STUB_PACE`` (1)
  * ``VLLM_STUB_COLD_SECONDS`` (0): what the first request of each kind (sampled or not, length) waits, as for a kernel
  * one process, titled ``VLLM::APIServer``: no worker that could stay; a frozen engine is never found out by a timeout
  * ``n`` and lists of prompts are refused with 400; ``stop``, ``logprobs`` and tools are ignored; no dev routes
  * a model's folder has to exist and must not be empty; nothing in it is read
  * SIGTERM with ``--shutdown-timeout 0`` always says ``abort``; the real one may also end streams without a word, or
    leave them silent while its HTTP server waits for their clients to go
  * beyond ``--max-num-queued-reqs`` there is always a 503; the real one tells streams that come at the very same moment
    within their 200, by an ``error`` event
  * most options that only tune a real engine are accepted and ignored (``options.py`` lists them)
"""

from __future__ import annotations

VERSION = "0.32.0"
