"""Published measurements of serving beside what we compute, from the same settings: sizes where they follow, else signs.

The figures stand in `costlab/catalog/serving.toml` with their sources.
"""

import numpy as np
import pytest

from costlab import catalog
from costlab.serving.links import Link, SentBytes

PUBLISHED = catalog.tables().serving


# --- transfers ---------------------------------------------------------------------------------------------------


def fitted_link(table, rows):
    """Set-up time and bandwidth with the smallest relative errors at some of a table's rows."""
    sizes, seconds = (np.array(column)[rows] for column in (table.moved_bytes, table.transfer_s))
    weighted = np.stack([1 / seconds, sizes / seconds], axis=1)
    (setup, per_byte), *_ = np.linalg.lstsq(weighted, np.ones(len(seconds)), rcond=None)
    return Link(1 / per_byte, setup)


def errors(table, link):
    return [abs(link.alone_s(size) / seconds - 1) for size, seconds in zip(table.moved_bytes, table.transfer_s)]


@pytest.mark.parametrize("name", PUBLISHED.transfers)
def test_a_set_up_time_and_a_bandwidth_make_a_whole_transfer_table(name):
    """Nine lengths from 128 to 32,768 tokens within 8%; each half of them foretells the other within 10%."""
    table = PUBLISHED.transfers[name]
    assert len(table.input_tokens) == 9
    assert max(errors(table, fitted_link(table, slice(None)))) < 0.08
    for first in (0, 1):
        assert max(errors(table, fitted_link(table, slice(first, None, 2)))) < 0.10
    alone = Link(table.moved_bytes[-1] / table.transfer_s[-1])
    assert max(errors(table, alone)) > 0.5  # bandwidth without a set-up time


def test_the_bytes_of_a_table_are_those_that_the_model_sends():
    """Four heads on eight chips are sent twice, and the source prints 12.62 GB."""
    table = PUBLISHED.transfers["qwen3-235b"]
    sent = SentBytes.of("qwen3-235b-a22b", table.tensor_parallel)
    assert [sent(tokens) for tokens in table.input_tokens] == list(table.moved_bytes)
    assert round(sent(32_768) / 1e9, 2) == 12.62


# --- DistServe ---------------------------------------------------------------------------------------------------


def test_three_numbers_of_distserve_make_its_factor():
    """1.6 requests/s a GPU doing both, 5.6 and 10 doing one phase: 2 + 1 GPUs serve 2.1 times as much each."""
    rates = PUBLISHED.rates["distserve-13b"]
    assert rates.separated_requests_s(2, 1) / rates.both_requests_s == pytest.approx(2.1, abs=0.05)
    assert rates.separated_requests_s(1, 1) / rates.both_requests_s == pytest.approx(1.75)
