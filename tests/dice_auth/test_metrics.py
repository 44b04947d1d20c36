"""What /metrics says, read by Prometheus's own parser."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dice_auth.metrics import CONTENT_TYPE, Metrics
from tests.dice_auth.boards import board
from tests.dice_auth.test_server import PEM, Address, exchange, request, with_server
from tests.exposed_metrics import documented, exposed, has_no_complaint_from_promtool

GET = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"


def samples(text: bytes) -> dict[str, float]:
    """Name and labels -> value."""

    def each() -> Iterator[tuple[str, float]]:
        for family in text_string_to_metric_families(text.decode()):
            assert family.documentation
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
                yield f"{sample.name}{{{labels}}}", sample.value

    return dict(each())


def test_answers_and_failed_checks_are_counted(sqlite_url: str) -> None:
    async def work(address: Address) -> None:
        for sent in (
            request(PEM), request(PEM), request(b"nothing"), request(board(1).root_pem.encode()),
            b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n", b"nonsense\r\n\r\n", request(b"x" * 20_000),
            request(b"", line="POST /api HTTP/1.1"),
        ):  # fmt: skip
            await exchange(address, sent)
        status, _, headers, body = await exchange(address, GET)
        assert status == 200
        assert headers["content-type"] == CONTENT_TYPE
        found = samples(body)
        for expected, count in {200: 2, 401: 2, 405: 1, 400: 1, 413: 1, 404: 1, 503: 0}.items():
            assert found[f"dice_auth_http_responses_total{{status={expected}}}"] == count, expected
        assert found["dice_auth_failed_checks_total{check=no-certificate}"] == 1
        assert found["dice_auth_failed_checks_total{check=is-root}"] == 1
        assert found["dice_auth_failed_checks_total{check=signature}"] == 0
        assert found["dice_auth_verdict_seconds_count{}"] == 4
        assert found["dice_auth_verdict_seconds_bucket{le=+Inf}"] == 4
        assert 0 < found["dice_auth_verdict_seconds_sum{}"] < 4

    with_server(sqlite_url, work)


def test_a_registry_that_does_not_answer_is_counted(sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))

    async def work(address: Address) -> None:
        path.rename(path.with_suffix(".away"))
        assert (await exchange(address, request(PEM)))[0] == 503
        found = samples((await exchange(address, GET))[3])
        assert found["dice_auth_registry_faults_total{}"] == 1
        assert found["dice_auth_http_responses_total{status=503}"] == 1

    with_server(sqlite_url, work)


def test_workers_are_added_up_and_a_replaced_one_goes_on() -> None:
    metrics = Metrics(3)
    for worker in (0, 1, 2, 1):
        metrics.use_row(worker)
        metrics.count_answer(200)
        metrics.count_verdict((), 0.003)
    found = samples(metrics.exposition())
    assert found["dice_auth_http_responses_total{status=200}"] == 4
    assert found["dice_auth_verdict_seconds_bucket{le=0.0025}"] == 0
    assert found["dice_auth_verdict_seconds_bucket{le=0.005}"] == 4
    assert found["dice_auth_verdict_seconds_sum{}"] == pytest.approx(0.012)


def test_a_fork_counts_into_the_same_memory() -> None:
    """As `workers` forks: what a worker counts is seen by the others."""
    metrics = Metrics(2)
    child = os.fork()
    if child == 0:
        metrics.use_row(1)
        metrics.count_answer(401)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert samples(metrics.exposition())["dice_auth_http_responses_total{status=401}"] == 1


def test_promtool_and_the_parser_have_no_complaint_and_the_table_is_complete() -> None:
    metrics = Metrics(2)
    metrics.count_answer(200)
    metrics.count_verdict(("signature",), 0.003)
    metrics.count_appraisal(())
    text = metrics.exposition()
    assert exposed(text) == documented("attestation-server.md", "dice_auth_")
    has_no_complaint_from_promtool(text)
