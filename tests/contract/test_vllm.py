# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What we count on in a vLLM endpoint: the stub keeps it, and so does the real one (``make test-vllm``)."""

from __future__ import annotations

import json
import threading
import time

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from lab.vllm_kit import KEY, Endpoint, wait_for

LIMIT = 6  # of requests in the queue and running, four of them running
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}
LONG = 700
HISTOGRAMS = [
    "time_to_first_token_seconds",
    "inter_token_latency_seconds",
    "e2e_request_latency_seconds",
    "request_queue_time_seconds",
    "request_prefill_time_seconds",
    "request_decode_time_seconds",
    "request_time_per_output_token_seconds",
    "iteration_tokens_total",
]


@pytest.fixture(scope="module")
def vllm(tmp_path_factory):
    """Most tests ask this one."""
    folder = tmp_path_factory.mktemp("vllm")
    with Endpoint(folder, {"VLLM_API_KEY": KEY}, max_num_queued_reqs=LIMIT) as running:
        yield running


def body(tokens=8, *, stream=True, **more):
    usage = {"stream_options": {"include_usage": True}} if stream else {}
    return {
        "model": Endpoint.model, "prompt": "Say hello.", "max_tokens": tokens, "ignore_eos": True, "stream": stream,
        **usage, **more,
    }  # fmt: skip


def post(endpoint, path, content, **options):
    return requests.post(endpoint.url + path, json=content, headers=AUTHORIZED, timeout=120, **options)


class Stream(threading.Thread):
    """A client that reads a stream to its end, in the background."""

    def __init__(self, endpoint, content, path="/v1/completions"):
        super().__init__(daemon=True)
        self.endpoint, self.path, self.content = endpoint, path, content
        self.status, self.events, self.done, self.cut = 0, [], False, None
        self.kind = ""
        self.start()

    def run(self):
        try:
            with post(self.endpoint, self.path, self.content, stream=True) as answer:
                self.status, self.kind = answer.status_code, answer.headers["content-type"]
                for line in answer.iter_lines():
                    data = line.removeprefix(b"data: ")
                    if data == b"[DONE]":
                        self.done = True
                    elif data:
                        self.events.append(json.loads(data))
        except (requests.RequestException, ValueError) as error:
            self.cut = error

    def began(self):
        return any(event.get("choices") for event in list(self.events))

    def end(self):
        self.join(120)
        assert not self.is_alive(), "the stream did not end"
        return self

    @property
    def finish(self):
        return [choice["finish_reason"] for event in self.events for choice in event.get("choices") or []][-1]

    @property
    def usage(self):
        return [event["usage"] for event in self.events if event.get("usage")][-1]

    @property
    def errors(self):
        return [event["error"] for event in self.events if event.get("error")]


def many(endpoint, count, tokens=LONG, **more):
    return [Stream(endpoint, body(tokens, **more, prompt=f"Number {number}.")) for number in range(count)]


# The start


def test_while_it_starts_connections_are_refused_and_the_port_is_taken(tmp_path):
    """Who tests for a free port, or for an open one, is told nothing: only an answer counts."""
    endpoint = Endpoint(tmp_path)
    try:
        endpoint.start()
        wait_for(lambda: "non-default args:" in endpoint.log.read_text(), "the first line of the journal")
        assert endpoint.status("/health") == 0
        endpoint.wait_ready()
    finally:
        endpoint.stop()
    journal = endpoint.log.read_text()
    marks = [
        "non-default args:",
        "Initializing a V1 LLM engine",
        "Starting to load model",
        "Loading weights took",
        "init engine (profile, create kv cache, warmup model) took",
        "Application startup complete",
    ]
    places = [journal.find(mark) for mark in marks]
    assert -1 not in places
    assert places == sorted(places)


# Pages


@pytest.mark.parametrize("path", ["/health", "/ping", "/load", "/version", "/metrics"])
def test_pages_without_the_key(vllm, path):
    assert requests.get(vllm.url + path, timeout=10).status_code == 200


def test_version_and_models(vllm):
    assert json.loads(vllm.page("/version"))["version"].startswith("0.32.0")
    (row,) = json.loads(vllm.page("/v1/models"))["data"]
    assert (row["id"], row["max_model_len"]) == ("tiny", 1024)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/completions", "/v1/chat/completions"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}])
def test_the_key_guards_v1(vllm, path, headers):
    method = "GET" if path == "/v1/models" else "POST"
    answer = requests.request(method, vllm.url + path, json=body(), headers=headers, timeout=10)
    assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})


def test_inference_without_the_key(vllm):
    """Why a proxy has to let through only what it knows."""
    answer = requests.post(vllm.url + "/invocations", json=body(4, stream=False), timeout=60)
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 4
    answer = requests.post(vllm.url + "/tokenize", json={"model": "tiny", "prompt": "hello"}, timeout=10)
    assert answer.json()["count"] > 0


@pytest.mark.parametrize("path", ["/sleep", "/collective_rpc", "/reset_prefix_cache", "/nothing"])
def test_no_developers_routes(vllm, path):
    assert requests.post(vllm.url + path, timeout=10).status_code == 404


def test_metrics_names_types_and_labels(vllm):
    post(vllm, "/v1/completions", body(stream=False)).raise_for_status()
    families = {family.name: family for family in text_string_to_metric_families(vllm.page("/metrics"))}
    expected = dict.fromkeys(("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"), "gauge")
    expected |= dict.fromkeys(("prompt_tokens", "generation_tokens", "num_preemptions", "request_success"), "counter")
    expected |= dict.fromkeys(HISTOGRAMS, "histogram")
    assert {name: families[f"vllm:{name}"].type for name in expected} == expected
    for name in expected:
        labels = families[f"vllm:{name}"].samples[0].labels
        assert (labels["model_name"], labels["engine"]) == ("tiny", "0")
    reasons = {sample.labels["finished_reason"] for sample in families["vllm:request_success"].samples}
    assert {"stop", "length", "abort", "error"} <= reasons
    rejections = {sample.labels["reason"] for sample in families["vllm:admission_rejections"].samples}
    assert "max_num_queued_reqs" in rejections
    assert "vllm:gpu_cache_usage_perc" not in families


# Answers


def test_a_whole_answer_has_exactly_the_tokens(vllm):
    answer = post(vllm, "/v1/completions", body(17, stream=False, temperature=0.7)).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    usage = answer["usage"]
    assert usage["completion_tokens"] == 17
    assert usage["total_tokens"] == usage["prompt_tokens"] + 17


@pytest.mark.parametrize("chat", [False, True])
def test_a_stream_has_exactly_the_tokens(vllm, chat):
    content = body(17, min_tokens=17)
    if chat:
        content["messages"] = [{"role": "user", "content": content.pop("prompt")}]
    stream = Stream(vllm, content, "/v1/chat/completions" if chat else "/v1/completions").end()
    assert (stream.status, stream.kind, stream.done) == (200, "text/event-stream; charset=utf-8", True)
    assert (stream.finish, stream.usage["completion_tokens"]) == ("length", 17)
    if chat:
        assert stream.events[0]["choices"][0]["delta"]["role"] == "assistant"


def test_a_prompt_of_token_ids(vllm):
    answer = post(vllm, "/v1/completions", body(stream=False, prompt=list(range(100, 150)))).json()
    assert answer["usage"]["prompt_tokens"] == 50


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"max_tokens": 0}, 400),
        ({"max_tokens": 5000}, 400),
        ({"temperature": -1}, 400),
        ({"min_tokens": 20}, 400),
        ({"model": "other"}, 404),
    ],
)
def test_bad_requests(vllm, change, status):
    answer = post(vllm, "/v1/completions", {**body(), **change})
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == status


def test_bodies_that_are_no_requests(vllm):
    url = f"{vllm.url}/v1/completions"
    bad = requests.post(url, data="{bad", headers={**AUTHORIZED, "Content-Type": "application/json"}, timeout=10)
    assert bad.status_code == 400
    assert requests.post(url, data="{}", headers=AUTHORIZED, timeout=10).status_code == 400
    assert requests.get(url, headers=AUTHORIZED, timeout=10).status_code == 405


# Load


def test_four_run_and_two_wait_and_the_pages_say_so(vllm):
    streams = many(vllm, LIMIT)
    wait_for(lambda: vllm.metric("num_requests_running") == 4 and vllm.metric("num_requests_waiting") == 2, "a queue")
    assert vllm.load() == LIMIT
    assert vllm.metric("kv_cache_usage_perc") > 0
    steps = vllm.metric("iteration_tokens_total_count")
    wait_for(lambda: vllm.metric("iteration_tokens_total_count") > steps, "a step")
    assert [(stream.end().finish, stream.usage["completion_tokens"]) for stream in streams] == [("length", LONG)] * 6
    wait_for(vllm.idle, "an idle endpoint")
    assert vllm.metric("kv_cache_usage_perc") == 0


def test_beyond_the_queues_limit_503(vllm):
    before = vllm.metric("admission_rejections_total", reason="max_num_queued_reqs")
    streams = many(vllm, LIMIT)
    wait_for(lambda: vllm.metric("num_requests_waiting") == 2, "a full queue")
    for stream in (False, True):
        refused = post(vllm, "/v1/completions", body(stream=stream))
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, 503)
    assert vllm.metric("admission_rejections_total", reason="max_num_queued_reqs") == before + 2
    assert {stream.end().finish for stream in streams} == {"length"}


def test_of_many_at_once_each_is_answered_or_told(vllm):
    """The real one tells those that come at the very same moment by an error in a stream whose status is 200."""
    wait_for(vllm.idle, "an idle endpoint")
    streams = [stream.end() for stream in many(vllm, 3 * LIMIT, 400)]
    answered = [stream for stream in streams if not stream.errors]
    assert len(answered) >= LIMIT
    assert {(stream.status, stream.finish) for stream in answered} == {(200, "length")}
    told = {(stream.status, error["code"]) for stream in streams for error in stream.errors}
    assert told
    assert told <= {(503, 503), (200, 503)}


def test_a_client_that_leaves_frees_its_place(vllm):
    wait_for(vllm.idle, "an idle endpoint")
    before = vllm.metric("request_success_total", finished_reason="length")
    with post(vllm, "/v1/completions", body(900), stream=True) as answer:
        lines = answer.iter_lines()
        next(lines)
        wait_for(lambda: vllm.metric("num_requests_running") == 1, "a running request")
    wait_for(vllm.idle, "an idle endpoint")
    assert vllm.metric("request_success_total", finished_reason="length") == before


# Ends


def test_sigterm_with_a_timeout_finishes_streams_and_looks_healthy(tmp_path):
    """Why an endpoint is drained before it is stopped: its health page turns red only when it is gone."""
    with Endpoint(tmp_path, shutdown_timeout=60) as leaving:
        streams = many(leaving, 3, 900)
        wait_for(lambda: all(stream.began() for stream in streams), "three streams")
        leaving.terminate()
        refused = wait_for(lambda: _refusal(leaving), "a refusal")
        seen = leaving.status("/health")
        late = Stream(leaving, body(1)).end()
        assert refused == 500
        assert seen == 200
        assert (late.began(), [error["code"] for error in late.errors]) == (False, [500])
        ends = [(stream.end().finish, stream.usage["completion_tokens"]) for stream in streams]
        assert ends == [("length", 900)] * 3
        assert leaving.wait_exit() == 0


def _refusal(endpoint):
    answer = post(endpoint, "/v1/completions", body(1, stream=False))
    return answer.status_code if answer.status_code != 200 else None


def test_sigterm_without_a_timeout_cuts_streams_with_status_200(tmp_path):
    """No client may be there then. It says abort, or ends without a word, and exits with 0; or its HTTP server waits
    for a client to whom nobody talks any more (all three seen of the real one): then only who kills it ends it.
    """
    with Endpoint(tmp_path, shutdown_timeout=0) as leaving:
        (stream,) = many(leaving, 1, 900)
        wait_for(stream.began, "a stream")
        leaving.terminate()
        stream.join(30)
        assert (stream.status, stream.cut) == (200, None)
        assert stream.finish in ("abort", None)
        assert len(stream.events) < 900
        if stream.is_alive():
            assert leaving.process.poll() is None
        else:
            assert leaving.wait_exit() == 0


def test_a_worker_that_dies_ends_streams_with_an_error_and_the_process_with_0(tmp_path):
    """Why the unit has ``Restart=always``: ``on-failure`` would leave it down."""
    with Endpoint(tmp_path) as dying:
        (stream,) = many(dying, 1, 900)
        wait_for(stream.began, "a stream")
        dying.kill_worker()
        stream.end()
        assert (stream.status, len(stream.errors), stream.done) == (200, 1, True)
        assert dying.wait_exit() == 0


def test_a_worker_that_dies_idle_turns_health_red_and_then_ends_it(tmp_path):
    with Endpoint(tmp_path) as dying:
        dying.kill_worker()
        assert wait_for(lambda: _other_than_200(dying), "bad health") in (503, "refused")
        assert dying.wait_exit() == 0


def _other_than_200(endpoint):
    status = endpoint.status("/health")
    return None if status == 200 else status or "refused"


def test_a_frozen_engine_looks_healthy(tmp_path):
    """B2: health 200 alone is not readiness."""
    with Endpoint(tmp_path) as frozen:
        (stream,) = many(frozen, 1, 900)
        wait_for(stream.began, "a stream")
        frozen.freeze()
        wait_for(lambda: _still(frozen), "a standstill")
        late = Stream(frozen, body(1))
        late.join(2)
        assert (late.is_alive(), late.began(), stream.is_alive()) == (True, False, True)
        assert (frozen.status("/health"), frozen.metric("num_requests_running")) == (200, 1)
        assert json.loads(frozen.page("/v1/models"))["data"]
        assert frozen.load() == 2


def _still(endpoint):
    steps = endpoint.metric("iteration_tokens_total_count")

    time.sleep(0.5)
    return steps == endpoint.metric("iteration_tokens_total_count")
