"""The small models of bytes: against transformers' Llama, against themselves without a cache, against a 5-gram."""

import sysconfig
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from costlab.nn.speculative import (
    MTP,
    ByteModel,
    ByteSize,
    NGrams,
    as_llama,
    held_out_text,
    load_family,
    text,
    train,
    training_text,
)
from costlab.nn.speculative.cache import ancestors, depths
from costlab.nn.speculative.family import FAMILY_WEIGHTS
from costlab.nn.speculative.model import bits_by_position

SMALL = ByteSize(layers=3, hidden=32, heads=4, inner=48, context=64)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return ByteModel(SMALL).double().eval()


@pytest.fixture(scope="module")
def mtp(model):
    torch.manual_seed(1)
    return MTP(model, 3).double().eval()


@pytest.fixture(scope="module")
def family():
    return load_family()


@pytest.fixture(autouse=True)
def no_grad():
    with torch.inference_mode():
        yield


def random_bytes(*shape, seed=0):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed))


def close(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


# --- against transformers --------------------------------------------------------------------------------------


def llama(model):
    dimensions, weights = as_llama(model)
    theirs = LlamaForCausalLM(LlamaConfig(**dimensions)).double().eval()
    theirs.load_state_dict(weights)
    for part in theirs.modules():  # its own norms compute in float32 whatever the weights are
        if isinstance(part, LlamaRMSNorm):
            part.forward = partial(torch.rms_norm, normalized_shape=[len(part.weight)], weight=part.weight, eps=1e-6)
    return theirs


def test_logits_are_those_of_transformers_llama(model):
    tokens = random_bytes(2, 40)
    torch.testing.assert_close(model(tokens), llama(model)(tokens).logits, rtol=0, atol=1e-9)


def test_the_trained_target_is_a_llama_too(family):
    tokens = torch.tensor([list(held_out_text("code")[:300])])
    ours = ByteModel(family.target.size).double()
    ours.load_state_dict(family.target.state_dict())
    theirs = llama(ours)
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=0, atol=1e-9)
    written = theirs.generate(tokens[:, :60], max_new_tokens=30, do_sample=False, pad_token_id=0)
    assert written[0, 60:].tolist() == greedy(ours, tokens[:, :60], 30)


def greedy(model, tokens, count):
    cache = model.new_cache()
    out = [int(model(tokens, cache)[0, -1].argmax())]
    while len(out) < count:
        out.append(int(model(torch.tensor([out[-1:]]), cache)[0, -1].argmax()))
    return out


# --- the cache -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(12,), (1,) * 12, (5, 1, 4, 2), (0, 12)])
def test_rows_through_the_cache_are_those_of_one_call(model, sizes):
    tokens = random_bytes(2, 12)
    cache = model.new_cache(2)
    pieces = [model(piece, cache) for piece in tokens.split(list(sizes), 1) if piece.shape[1]]
    close(torch.cat(pieces, 1), model(tokens))
    assert cache.lengths == [12, 12]


def test_a_ragged_batch_is_single_runs(model):
    """Unlike prompts, then rounds in which sequences keep unlike numbers of rows, also none."""
    tokens = random_bytes(4, 40)
    alone = model(tokens)
    cache = model.new_cache(4, 40)
    model(tokens[:, :9], cache, [9, 4, 1, 0])
    close_rows(cache, model, tokens, alone, [(3, 5, 1, 2), (4, 4, 4, 4), (0, 1, 5, 0), (1, 1, 1, 1)], [2, 0, 1, 1])


def close_rows(cache, model, tokens, alone, rounds, taken_back):
    for counts in rounds:
        starts = cache.lengths
        rows = torch.stack([line[start : start + 5] for line, start in zip(tokens, starts, strict=True)])
        rows = rows[:, : max(counts)]
        out = model(rows, cache, counts)
        for line, (start, count) in enumerate(zip(starts, counts, strict=True)):
            close(out[line, :count], alone[line, start : start + count])
        kept = [max(n - back, 0) for n, back in zip(cache.lengths, taken_back, strict=True)]
        cache.rewind(kept)


def test_padding_is_not_kept_and_needs_no_room(model):
    """One sequence is full; its neighbour still brings rows."""
    cache = model.new_cache(2, 10)
    model(random_bytes(2, 10), cache, [10, 3])
    full = [table[0].clone() for table in (*cache.keys, *cache.values)]
    out = model(random_bytes(2, 4, seed=1), cache, [0, 4])
    assert cache.lengths == [10, 7]
    assert all(torch.equal(table[0], before) for table, before in zip((*cache.keys, *cache.values), full, strict=True))
    assert not out.isnan().any()


TREE = [-1, 0, 0, 1, 2, 2, 4]  # a root, its two children, one and two of theirs, one of one of these
PATHS = [[0, 1, 3], [0, 2, 4, 6], [0, 2, 5]]


def test_a_tree_is_its_branches(model):
    assert depths(TREE) == [0, 1, 1, 2, 2, 2, 3]
    assert ancestors(TREE).sum(1).tolist() == [1, 2, 2, 3, 3, 3, 4]
    prompts, nodes = random_bytes(2, 8), random_bytes(2, len(TREE), seed=1)
    for counts in ([8, 8], [8, 5]):
        cache = model.new_cache(2)
        model(prompts, cache, counts)
        out = model(nodes, cache, parents=[TREE, TREE])
        for line, count in enumerate(counts):
            for path in PATHS:
                branch = torch.cat([prompts[line, :count], nodes[line, path]])[None]
                close(out[line, path], model(branch)[0, count:])


def test_trees_differ_by_sequence(model):
    prompts, nodes = random_bytes(2, 6), random_bytes(2, 3, seed=1)
    cache = model.new_cache(2)
    model(prompts, cache)
    out = model(nodes, cache, parents=[[-1, 0, 1], [-1, -1, 1]])
    close(out[0], model(torch.cat([prompts[0], nodes[0]])[None])[0, 6:])
    close(out[1, [1, 2]], model(torch.cat([prompts[1], nodes[1, [1, 2]]])[None])[0, 6:])


def test_the_accepted_path_of_a_tree_stays(model):
    prompts, nodes, more = random_bytes(2, 6), random_bytes(2, len(TREE), seed=1), random_bytes(2, 2, seed=2)
    cache = model.new_cache(2)
    model(prompts, cache)
    model(nodes, cache, parents=[TREE, TREE])
    cache.keep([PATHS[1], []])
    assert cache.lengths == [10, 6]
    out = model(more, cache)
    close(out[0], model(torch.cat([prompts[0], nodes[0, PATHS[1]], more[0]])[None])[0, -2:])
    close(out[1], model(torch.cat([prompts[1], more[1]])[None])[0, -2:])


def test_sequences_can_be_dropped(model):
    tokens = random_bytes(3, 9)
    cache = model.new_cache(3)
    model(tokens[:, :8], cache, [8, 4, 6])
    cache.only([2, 0])
    out = model(torch.stack([tokens[2, 6:7], tokens[0, 8:9]]), cache)
    close(out[0, 0], model(tokens[2:, :7])[0, -1])
    close(out[1, 0], model(tokens[:1])[0, -1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, c: m(random_bytes(2, 9), c), "the last row would be token 19, but there is room for 15 tokens"),
        (lambda m, c: m(random_bytes(2, 65)), "token 65, but there is room for 64 tokens"),
        (lambda m, c: m(random_bytes(3, 1), c), r"3 x 1 rows fit neither counts \[1, 1, 1\] nor 2 sequences"),
        (lambda m, c: m(random_bytes(2, 2), c, [3, 1]), r"counts \[3, 1\]"),
        (lambda m, c: m(random_bytes(2, 2), c, parents=[[-1, 0]]), r"trees of \[2\] rows don't fit 2 x 2"),
        (lambda m, c: m(random_bytes(2, 2), c, parents=[[-1, 1], [-1, 0]]), "row 1 has parent 1"),
        (lambda m, c: c.rewind([11, 3]), r"\[10, 10\] tokens can't be taken back to \[11, 3\]"),
        (lambda m, c: c.rewind([3]), "taken back to"),
        (lambda m, c: c.keep([[10], []]), r"rows \[10\] should rise within the 10"),
        (lambda m, c: c.keep([[1, 0], []]), "should rise"),
        (lambda m, c: c.keep([[0]]), "rows of 1 sequences to keep, but the cache holds 2"),
        (lambda m, c: m.new_cache(0), "needs a sequence and room for a token, not 0 and 64"),
        (lambda m, c: ByteSize(1, 36, 4, 8), "hidden = 36 should divide into 4 heads of an even width"),
        (lambda m, c: MTP(m, 0), "depth = 0 should be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(model, call, message):
    cache = model.new_cache(2, 15)
    model(random_bytes(2, 10), cache)
    before = [table.clone() for table in (*cache.keys, *cache.values)]
    with pytest.raises(ValueError, match=message):
        call(model, cache)
    assert cache.lengths == [10, 10]
    assert all(map(torch.equal, before, (*cache.keys, *cache.values)))


# --- MTP -------------------------------------------------------------------------------------------------------


def test_mtp_modules_through_their_caches_are_those_of_one_call(model, mtp):
    tokens = random_bytes(2, 15)
    rows = 12
    hidden = model.read(tokens[:, :rows])
    caches = mtp.new_caches(2)
    for depth in (1, 2, 3):
        ahead = tokens[:, depth : rows + depth]
        whole = mtp.read(depth, hidden, ahead)
        first = mtp.read(depth, hidden[:, :7], ahead[:, :7], caches[depth - 1], [7, 5])
        assert caches[depth - 1].lengths == [7, 5]
        caches[depth - 1].rewind([5, 5])
        rest = mtp.read(depth, hidden[:, 5:], ahead[:, 5:], caches[depth - 1])
        close(torch.cat([first[:, :5], rest], 1), whole)
        hidden = whole


def test_an_mtp_module_is_what_the_report_says(model, mtp):
    """Equation 21 and 22 of arXiv 2412.19437, written out for one row: attention then reads that row alone."""
    tokens, module = random_bytes(1, 2), mtp.ahead[0]
    hidden = model.read(tokens[:, :1])

    def normed(x, norm):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight

    joined = torch.cat(
        [normed(hidden, module.hidden_norm), normed(model.embedding(tokens[:, 1:]), module.token_norm)], 2
    )
    x = joined @ module.project.weight.T
    value = normed(x, module.block.attention_norm) @ module.block.attention.qkv.weight[-32:].T
    x = x + value @ module.block.attention.out.weight.T
    gate, up = (normed(x, module.block.ffn_norm) @ module.block.ffn.gate_up.T).chunk(2, -1)
    x = x + (gate / (1 + (-gate).exp()) * up) @ module.block.ffn.down.T
    close(mtp.read(1, hidden, tokens[:, 1:]), x)
    close(mtp.logits(1, x), normed(x, module.norm) @ model.head.weight.T)


def test_mtp_shares_embedding_and_head(mtp):
    names = set(mtp.state_dict())
    assert {name.split(".")[:2] == ["ahead", name.split(".")[1]] for name in names} == {True}
    assert {name.split(".")[1] for name in names} == {"0", "1", "2"}
    assert not any("embedding" in name or name.endswith("head.weight") for name in names)


# --- the text --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def learnt():
    """What the shipped weights learnt from, which only one Python holds."""
    found = training_text()
    if text.sha256(found) != text.TRAINING_SHA256:
        pytest.skip(f"the weights were made from the library of {text.TRAINED_ON}, which is not the one that runs")
    return found


@pytest.mark.parametrize("kind", ["code", "prose"])
def test_the_held_out_text_is_the_one_that_was_shipped(kind):
    assert text.sha256(held_out_text(kind)) == text.HELD_OUT_SHA256[kind]


def test_the_held_out_text_ships_with_its_licence():
    folder = Path(text.__file__).parent / "data"
    assert "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2" in (folder / "LICENSE-PYTHON.txt").read_text()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 150_000


def test_another_kind_of_text_is_refused():
    with pytest.raises(ValueError, match="poetry"):
        held_out_text("poetry")


def test_training_text_leaves_out_what_is_held_out_and_what_is_no_text(learnt):
    library = Path(sysconfig.get_path("stdlib"))
    for name in text.HELD_OUT_FILES:
        assert (library / name).read_bytes()[:2000] not in learnt
    assert (library / "argparse.py").read_bytes() in learnt
    assert (library / "encodings" / "cp1252.py").read_bytes()[-2000:] not in learnt


def test_a_folder_without_a_library_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no Python library in"):
        training_text(tmp_path)


def test_few_held_out_lines_stand_in_the_training_text(learnt):
    known = set(learnt.splitlines())
    for kind in ("code", "prose"):
        lines = [line for line in held_out_text(kind).splitlines() if len(line) > 40]
        assert sum(line in known for line in lines) / len(lines) < 0.05


def test_the_held_out_text_packs_to_what_ships(tmp_path, learnt):
    text.pack_held_out(folder=tmp_path)
    shipped = Path(text.__file__).parent / "data"
    assert (tmp_path / "held_out_code.xz").read_bytes() == (shipped / "held_out_code.xz").read_bytes()


# --- n-grams ---------------------------------------------------------------------------------------------------

SAMPLE = held_out_text("prose")[:3000]
BEFORE = b"\x01\x02\x03"  # n-grams of all lengths are counted where one of full length ends: none ends in these


def counted(sample, context):
    """How often each byte followed a context, by looking."""
    found = np.zeros(256)
    for i in range(len(sample) - len(context)):
        if sample[i : i + len(context)] == context:
            found[sample[i + len(context)]] += 1
    return found


def witten_bell(sample, context):
    shorter = witten_bell(sample, context[1:]) if context else np.full(256, 1 / 256)
    found = counted(sample, context)
    kinds, times = (found > 0).sum(), found.sum()
    return (found + kinds * shorter) / (times + kinds) if times else shorter


@pytest.mark.parametrize("context", [b"", b"t", b"th", b"the ", b"in the ", b"xqzt", b"e\x00", b"nst"])
def test_the_law_is_witten_bells_by_counting(context):
    law = NGrams(BEFORE + SAMPLE, 4).law(context)
    assert law.sum() == pytest.approx(1, abs=1e-12)
    assert law.min() > 0
    np.testing.assert_allclose(law, witten_bell(SAMPLE, context[-3:]), rtol=1e-12)


@pytest.mark.parametrize("context", [b"", b"t", b"the ", b"nst", b"xqzt", b"\xff"])
def test_the_next_byte_is_the_most_frequent_behind_the_longest_known_context(context):
    ends = (context[max(0, len(context) - n) :] for n in (3, 2, 1, 0))
    found = next(found for end in ends if (found := counted(SAMPLE, end)).any())
    assert NGrams(BEFORE + SAMPLE, 4).next_byte(context) == found.argmax()


def test_guesses_follow_from_one_another():
    table = NGrams(b"abcdeabcdeabcde" * 3, 3)
    assert table.guess(b"xyza", 7) == b"bcdeabc"
    assert table.guess(b"ab", 0) == b""


@pytest.mark.parametrize(("order", "sample"), [(0, b"abc"), (8, b"abcdefghi"), (5, b"abcd")])
def test_a_table_that_cannot_be_is_refused(order, sample):
    with pytest.raises(ValueError, match=f"{order}"):
        NGrams(sample, order)


# --- what was trained ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["target", "draft", "mtp"])
def test_weights_are_float16_and_below_two_megabytes(name):
    path = FAMILY_WEIGHTS / f"{name}.npz"
    assert path.stat().st_size < 2_000_000
    with np.load(path) as file:
        assert {file[key].dtype for key in file.files} == {np.dtype(np.float16)}


def test_what_is_loaded_answers_and_shares(family):
    assert not any(part.training for part in (family.target, family.draft, family.mtp))
    assert family.mtp.model is family.target
    assert family.target.size.context == family.draft.size.context == max(train.Recipe(1).lengths)


def held_out_pieces(kind, length=768, pieces=24):
    whole = held_out_text(kind)
    step = (len(whole) - length) // (pieces - 1)
    return b"".join(whole[i * step : i * step + length] for i in range(pieces))


@pytest.fixture(scope="module")
def scored(family):
    return {
        kind: (held_out_pieces(kind), bits_by_position(family.target, held_out_pieces(kind), 768))
        for kind in ("code", "prose")
    }


@pytest.fixture(scope="module")
def table(learnt):
    return NGrams(learnt, 5)


#: Bits per byte by which the target is better than the 5-gram; over all of the held-out text it is 0.16 and 0.08.
MARGINS = {"code": 0.1, "prose": 0.04}


@pytest.mark.parametrize("kind", MARGINS)
def test_the_target_beats_a_5_gram_up_to_the_end_of_its_context(scored, table, kind):
    """Both score the same bytes; the 5-gram is counted on all that the target was trained on. Most sequences in
    training were 384 bytes long, so the places behind those are looked at apart."""
    pieces, bits = scored[kind]
    by_table = torch.tensor(table.bits(pieces)).view(-1, 768)[:, 1:]
    for first, last in ((63, 767), (63, 384), (384, 576), (576, 767)):
        assert bits[:, first:last].mean() < by_table[:, first:last].mean() - MARGINS[kind]


def test_context_helps(scored):
    bits = scored["code"][1]
    assert bits[:, 127:].mean() < bits[:, 3:64].mean() - 0.1


def test_the_draft_is_weaker_than_the_target(family, scored):
    for pieces, bits in scored.values():
        draft = bits_by_position(family.draft, pieces[: 8 * 768], 768)
        assert draft.mean() > bits[:8].mean() + 0.1
        assert draft.mean() < 3.2


def test_training_lowers_the_loss(tmp_path, capsys, monkeypatch):
    with torch.inference_mode(False):
        monkeypatch.setattr(train, "DRAFT_SIZE", ByteSize(layers=1, hidden=32, heads=4, inner=32))
        train.train_family(["draft", "--steps", "50", "--folder", str(tmp_path)])
    shown = capsys.readouterr().out
    falling = [float(line.split(": ")[1].split()[0]) for line in shown.splitlines() if "step " in line]
    assert falling[0] > falling[1] + 0.5
    assert (tmp_path / "draft.npz").exists()


# --- distillation ----------------------------------------------------------------------------------------------


def test_a_module_is_compared_where_the_target_predicts_the_same_byte(model, mtp):
    """Module k has read row i and k bytes more; so has the target at row i + k, whose law it should learn."""
    text, laws = random_bytes(2, 12), model(random_bytes(2, 12)).log_softmax(-1)
    for k, (guess, law) in enumerate(train.guesses(mtp, model, text), 1):
        close(law, laws[:, k:])
        for changed, same in ((5 + k, False), (6 + k, True)):  # row 5 reads byte 5 + k last
            other = text.clone()
            other[:, changed] += 1
            moved = [pair[:, 5] for pair in list(train.guesses(mtp, model, other % 256))[k - 1]]
            assert [torch.equal(a, b[:, 5]) for a, b in zip(moved, (guess, law), strict=True)] == [same, same]


def test_who_guesses_like_the_target_has_nothing_to_learn(model):
    accepted, lost = train.distillation_loss(model, model, random_bytes(2, 12))
    assert accepted.item() == pytest.approx(1)
    assert lost.item() == pytest.approx(0, abs=1e-12)


def test_what_is_accepted_and_lost_is_counted_by_hand(model):
    other, text = ByteModel(SMALL).double(), random_bytes(2, 12)
    q, p = (each(text).softmax(-1).numpy() for each in (other, model))
    accepted, lost = train.distillation_loss(other, model, text)
    assert accepted.item() == pytest.approx((1 - abs(p - q).sum(-1) / 2).mean())
    assert lost.item() == pytest.approx((p * np.log(p / q)).sum(-1).mean())


@pytest.mark.parametrize("name", ["draft", "mtp"])
def test_distillation_changes_the_student_alone(name, tmp_path, capsys):
    for path in FAMILY_WEIGHTS.glob("*.npz"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with torch.inference_mode(False):
        train.train_family([f"distil-{name}", "--steps", "2", "--folder", str(tmp_path)])
    assert "of its law accepted" in capsys.readouterr().out
    changed = {path.stem for path in FAMILY_WEIGHTS.glob("*.npz") if not same_weights(path, tmp_path / path.name)}
    assert changed == {name}


def same_weights(one, other):
    with np.load(one) as first, np.load(other) as second:
        return all(np.array_equal(first[key], second[key]) for key in first.files)


#: Share of guesses that the target accepts at temperature 1 in these pieces; before distillation and now.
ACCEPTED = {"draft": (0.790, 0.834), "mtp": (0.828, 0.883)}


@pytest.mark.parametrize("name", ACCEPTED)
def test_distillation_raised_what_the_target_accepts_of_held_out_text(name, family, scored):
    pieces = torch.tensor([list(pieces[i * 768 : (i + 1) * 768]) for pieces, _ in scored.values() for i in range(6)])
    accepted = train.distillation_loss(getattr(family, name), family.target, pieces)[0].item()
    before, now = ACCEPTED[name]
    assert accepted == pytest.approx(now, abs=0.002)
    assert now > before + 0.03
