"""The needle demonstration: shipped weights, small; recall falls with compression and with too small a k."""

from dataclasses import replace

import pytest
import torch
from attention import dims as d

from costlab.nn.attention import build_layer
from costlab.nn.experiments import needle, training

GUESS = 1 / needle.NeedleTask().values


@pytest.fixture(scope="module")
def rows():
    found = needle.ask_all(needle.trained_readers(), texts=64)
    return {(row.variant, row.top_k): row for row in found}


def test_weights_are_small():
    assert needle.NEEDLE_WEIGHTS.stat().st_size < 2_000_000


def test_texts_hide_every_part_of_every_answer():
    task = needle.NeedleTask()
    text, answers = task.texts(5, torch.Generator().manual_seed(1))
    assert text.shape == (5, task.tokens) and answers.shape == (5, task.needles, task.parts)
    for row, answer in zip(text.tolist(), answers.tolist(), strict=True):
        placed = [t - task.kinds_of_hay for t in row[: task.hay] if t >= task.kinds_of_hay]
        value_of = {divmod(code // task.values, task.parts): code % task.values for code in placed}
        asked = [t - task.first_question for t in row[task.hay :]]
        assert [[value_of[key, part] for part in range(task.parts)] for key in asked] == answer
        assert len(placed) == task.needles * task.parts


def test_compression_costs_recall(rows):
    shares = [rows["full", None].recall, *(rows[f"HCA {m}", None].recall for m in (4, 16, 64))]
    assert shares[0] > 0.9
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < shares[0] - 0.1


def test_recall_breaks_below_the_number_of_parts(rows):
    """An answer lies in four places: fewer entries cannot hold it, more than four add little."""
    csa = {k: row.recall for (name, k), row in rows.items() if name == "CSA 4"}
    assert csa[1] < csa[2] - 0.1 < csa[4] - 0.2
    assert csa[4] > csa[max(csa)] - 0.06
    assert csa[1] < 1 / 4 + GUESS + 0.1


def test_bytes_are_counted(rows):
    """132 tokens of 32 BF16 values each, whole; then 33 entries of them, 33 index keys of 16, and a window of 8."""
    assert rows["full", None].kept_bytes == 132 * 64
    assert rows["CSA 4", 1].kept_bytes == 33 * (64 + 32) + 8 * 64
    assert rows["CSA 4", 1].read_bytes == 1 * 64 + 33 * 32 + 8 * 64


def test_same_seed_same_recall():
    reader = needle.trained_readers()["HCA 4"]
    assert needle.ask("HCA 4", reader, texts=8) == needle.ask("HCA 4", reader, texts=8)


def test_asking_with_few_entries_leaves_the_reader_as_it_was():
    """The largest k first, so that a k that stayed would show."""
    reader = needle.trained_readers()["CSA 4"]
    before, dims = needle.ask("CSA 4", reader, texts=16), reader.attention.dims
    assert needle.ask("CSA 4", reader, top_k=1, texts=16).recall < before.recall - 0.1
    assert needle.ask("CSA 4", reader, texts=16) == before
    with pytest.raises(TypeError):
        needle.ask("CSA 4", reader, top_k=2, texts="many")
    assert reader.attention.dims == dims


def test_none_reads_as_many_entries_as_there_are():
    """Also of a reader that was built to read fewer."""
    reader, few = needle.trained_readers()["CSA 4"], needle.trained_readers()["CSA 4"]
    few.attention.dims = replace(few.attention.dims, top_k=1)
    assert needle.ask("CSA 4", few, texts=16) == needle.ask("CSA 4", reader, texts=16)
    assert few.attention.dims.top_k == 1


def test_k_needs_an_indexer():
    with pytest.raises(ValueError, match="top_k = 3 needs a CSA layer"):
        needle.ask("HCA 4", needle.trained_readers()["HCA 4"], top_k=3)


def test_index_loss_trains_the_indexer_alone():
    torch.manual_seed(0)
    layer = build_layer(d.CSA, d.HIDDEN)
    hidden = d.hidden_states(61)
    loss = needle.index_loss(layer, hidden)
    loss.backward()
    moved = {name.split(".")[0] for name, p in layer.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"index", "index_compressor"}
    optimiser = torch.optim.Adam(layer.parameters(), 0.01)
    for _ in range(30):
        optimiser.zero_grad()
        needle.index_loss(layer, hidden).backward()
        optimiser.step()
    assert needle.index_loss(layer, hidden) < 0.7 * loss


def test_weights_come_back_rounded_to_float16(tmp_path):
    task = needle.NeedleTask()
    readers = {name: needle.NeedleReader(task, dims) for name, dims in needle.variants(task).items()}
    training.save_weights(tmp_path / "some.npz", readers)
    for name, again in needle.trained_readers(path=tmp_path / "some.npz").items():
        assert not again.training
        for key, weight in readers[name].state_dict().items():
            assert torch.equal(again.state_dict()[key], weight.half().float()), (name, key)


def test_how_a_loss_fell_is_said_by_means_of_twenty_steps():
    losses = [4.0] * 20 + [2.0] * 60
    assert training.course(losses) == "loss 4.00, 3.00, 2.00, 2.00, 2.00, 2.00, 2.00, 2.00, end 2.000"


def test_too_few_steps_are_refused():
    reader = needle.trained_readers()["HCA 64"]
    with pytest.raises(ValueError, match="steps = 10 should be more than 10"):
        training.train(reader, 10, batch=1)


def test_training_reaches_the_indexer():
    """The choice of entries has no gradient: what moves the indexer is a loss of its own."""
    task = needle.NeedleTask(hay=8, needles=2, parts=1, keys=2, values=2, kinds_of_hay=2)
    reader = needle.NeedleReader(task, needle.variants(task)["CSA 4"], hidden=32)
    before = reader.attention.index.query.weight.clone()
    training.train(reader, 11, batch=2)
    assert not torch.equal(reader.attention.index.query.weight, before)


def test_a_reader_learns():
    """Twenty steps on a tiny task bring the loss below that of guessing."""
    torch.manual_seed(0)
    task = needle.NeedleTask(hay=8, needles=2, parts=1, keys=2, values=2, kinds_of_hay=2)
    reader = needle.NeedleReader(task, needle.variants(task)["full"], hidden=32)
    losses = training.train(reader, 60, batch=64)
    assert sum(losses[-5:]) / 5 < 0.6 < sum(losses[:5]) / 5
