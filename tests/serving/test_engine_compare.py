"""What is measured of both layouts: the figures of a run, and a timeline that a picture can be drawn from."""

import json
from dataclasses import astuple
from itertools import pairwise

import pytest
from serving.engine_texts import model, requests_of

from costlab.nn.serving.compare import measure_layouts, record_timeline, text_load, times_of
from costlab.nn.serving.engine import COLOCATED, SEPARATED, Role, TextRequest, TextResult


def test_the_figures_of_a_run_computed_by_hand() -> None:
    requests = [TextRequest(b"a", 3, time_s=1.0), TextRequest(b"b", 2, time_s=2.0)]
    results = [
        TextResult("finished", b"xyz", (0.5, 0.6, 1.0), 0, ""),  # the last token at 2.0
        TextResult("finished", b"uv", (1.5, 1.8), 0, ""),  # at 3.8
    ]
    times = times_of(requests, results)
    assert times.ttft_s == pytest.approx(1.0)
    assert times.ttft_p90_s == pytest.approx(0.5 + 0.9)
    assert times.gap_s == pytest.approx((0.1 + 0.4 + 0.3) / 3)
    assert times.gap_p99_s == pytest.approx(0.3 + 0.98 * 0.1)
    assert times.worst_gap_s == pytest.approx((0.4 + 0.3) / 2)
    assert times.tokens_per_s == pytest.approx(5 / (3.8 - 1.0))


def test_a_run_that_served_not_all_has_no_figures() -> None:
    with pytest.raises(ValueError, match="was rejected: too long"):
        times_of([TextRequest(b"a", 1)], [TextResult("rejected", b"", (), 0, "too long")])


def test_layouts_are_measured_side_by_side() -> None:
    found = measure_layouts(model(), requests_of([(40, 3), (20, 5)]), rounds=1)
    assert list(found) == ["separated", "co-located", "co-located, in pieces"]
    for times in found.values():
        assert all(0 < value < float("inf") for value in astuple(times))
        assert times.ttft_p90_s >= times.ttft_s  # of two requests
        assert times.gap_p99_s >= times.gap_s


@pytest.mark.parametrize("roles", [SEPARATED, COLOCATED])
def test_a_timeline_tells_each_worker_s_work_once(roles: tuple[Role, ...]) -> None:
    """Nobody does two things at once; a request is read, moved if need be, and decoded, in this order."""
    requests = requests_of([(60, 4), (30, 6), (50, 1)], seed=8)
    requests[0] = TextRequest(requests[0].prompt, 4, time_s=0.02)
    found = record_timeline(model(), requests, roles, chunk_tokens=25)
    assert json.loads(json.dumps(found)) == found
    assert [len(each["token_s"]) for each in found["requests"]] == [4, 6, 1]
    assert [each["arrival_s"] for each in found["requests"]] == [0.02, 0, 0]
    for number in range(2):
        spans = sorted((start, end) for worker, _, start, end, _ in found["activities"] if worker == number)
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
    for place, request in enumerate(found["requests"]):
        own = [each for each in found["activities"] if place in each[4]]
        kinds = [each[1] for each in sorted(own, key=lambda each: each[2])]
        reads = -(-len(requests[place].prompt) // 25)
        assert kinds[:reads] == ["prefill"] * reads
        moves = ["transfer"] if roles == SEPARATED and len(request["token_s"]) > 1 else []
        assert kinds[reads : reads + len(moves)] == moves
        assert set(kinds[reads + len(moves) :]) == ({"decode"} if len(request["token_s"]) > 1 else set())
        read = max(end for _, kind, _, end, _ in own if kind == "prefill")
        assert request["token_s"][0] == pytest.approx(read, abs=1e-6)
        assert request["token_s"][-1] == pytest.approx(max(each[3] for each in own), abs=1e-6)


def test_loads() -> None:
    steady, burst = text_load(400, 9, 2, per_s=50.0, seed=1), text_load(3, 9, 2, per_s=None)
    assert {(len(each.prompt), each.output_tokens) for each in (*steady, *burst)} == {(9, 2)}
    assert len({each.prompt for each in steady}) > 200
    assert steady[-1].time_s == pytest.approx(399 / 50, rel=0.2)  # 4 standard deviations
    assert [each.time_s for each in burst] == [0, 0, 0]
    assert text_load(400, 9, 2, per_s=50.0, seed=1) == steady


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"requests": 0}, "requests"),
        ({"input_tokens": 0}, "input_tokens"),
        ({"input_tokens": 10**9}, "the text has"),
        ({"output_tokens": 0}, "output_tokens"),
        ({"per_s": 0.0}, "per_s = 0.0"),
        ({"per_s": float("nan")}, "per_s = nan"),
        ({"per_s": float("inf")}, "per_s = inf"),
    ],
)
def test_loads_of_nothing_are_refused(values: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        text_load(**{"requests": 2, "input_tokens": 3, "output_tokens": 4, "per_s": 1.0} | values)  # type: ignore[arg-type]


def test_no_rounds_measure_nothing() -> None:
    with pytest.raises(ValueError, match="rounds"):
        measure_layouts(model(), [], rounds=0)
