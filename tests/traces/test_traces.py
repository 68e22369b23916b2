"""Traces: each format as its publisher writes it, and each fault named by file, line and column."""

import bz2
import gzip
import io
import itertools
import json
import lzma
import os
import pickle
import sys
import threading
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab import traces
from costlab.cache.sim.plan import Plan
from costlab.cache.sim.run import replay
from costlab.cache.tiers import standard
from costlab.traces import Request, Trace, TraceError, chains, formats, lines, read, write, writing

SHARED = Path(__file__).parents[3] / "shared"
TRACE = SHARED / "traces" / "conversation_trace.jsonl"

MOONCAKE = (
    '{"timestamp": 0, "input_length": 700, "output_length": 5, "hash_ids": [0, 1]}\n'
    '{"timestamp": 1500, "input_length": 512, "output_length": 7, "hash_ids": [0]}\n'
)
BAILIAN = (
    '{"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.5, "input_length": 20, "output_length": 3, '
    '"type": "text", "turn": 1, "hash_ids": [7, 8]}\n'
    '{"chat_id": 4, "parent_chat_id": 1, "timestamp": 2.25, "input_length": 33, "output_length": 3, '
    '"type": "text", "turn": 2, "hash_ids": [7, 9, 10]}\n'
    '{"chat_id": 9, "parent_chat_id": 4, "timestamp": 2.25, "input_length": 1, "output_length": 3, '
    '"type": "search", "turn": 3, "hash_ids": [11]}\n'
)
AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.0319600,3180,8\n"
)
BURSTGPT = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    "5,12,1.5,ChatGPT,472,18,490,Conversation log\n45,,0.5,GPT-4,417,0,417,API log\n"
)
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n0.0,3772,54\n2.828480710548229,2015,156\n"
GENERIC = "time_s,input_tokens,output_tokens,blocks,session\n0.25,700,3,5 6,\n1,512,4,5,12\n2,100,1,,\n"

EXAMPLES = {
    "mooncake": MOONCAKE,
    "bailian": BAILIAN,
    "azure": AZURE,
    "burstgpt": BURSTGPT,
    "vidur": VIDUR,
    "csv": GENERIC,
}
EXPECTED = {
    "mooncake": [Request(0, 700, 5, (0, 1)), Request(1.5, 512, 7, (0,))],
    "bailian": [
        Request(0.5, 20, 3, (7, 8), 1),
        Request(2.25, 33, 3, (7, 9, 10), 1),
        Request(2.25, 1, 3, (11,), 1),
    ],
    "azure": [Request(0, 4808, 10, ()), Request(pytest.approx(0.052), 3180, 8, ())],
    "burstgpt": [Request(5, 472, 18, (), 12), Request(45, 417, 0, ())],
    "vidur": [Request(0, 3772, 54, ()), Request(2.828480710548229, 2015, 156, ())],
    "csv": [Request(0.25, 700, 3, (5, 6)), Request(1, 512, 4, (5,), 12), Request(2, 100, 1, ())],
}


@pytest.fixture
def put(tmp_path):
    """A function that writes bytes or text and returns the path."""

    def write_file(content, name="trace.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def refused(path, **options):
    with pytest.raises(TraceError) as caught:
        list(read(path, **options))
    return str(caught.value)


# --- what is read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", EXAMPLES)
def test_each_format_is_recognised_by_its_first_row(format, put):
    trace = read(put(EXAMPLES[format]))
    assert trace.format == format
    assert list(trace) == EXPECTED[format] == list(trace)
    assert trace.block_tokens == {"mooncake": 512, "bailian": 16, "csv": 512}.get(format)


@pytest.mark.parametrize("format", EXAMPLES)
@pytest.mark.parametrize("dress", ["crlf", "mark", "blank lines", "room", "no last newline"])
def test_dressed_otherwise(format, dress, put):
    raw = EXAMPLES[format].encode()
    content = {
        "crlf": raw.replace(b"\n", b"\r\n"),
        "mark": b"\xef\xbb\xbf" + raw,
        "blank lines": b"\n" + raw.replace(b"\n", b"\n\n \n"),
        "room": b"  " + raw.replace(b"\n", b" \n") if raw.startswith(b"{") else raw,
        "no last newline": raw.rstrip(),
    }[dress]
    trace = read(put(content, "trace"))
    assert (trace.format, list(trace)) == (format, EXPECTED[format])


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.jsonl", "mooncake"),
        ("qwen_traceA_blksz_16.jsonl.gz", "bailian"),
        ("Azure_conv.csv", "azure"),
        ("b.csv", "csv"),
    ],
)
def test_a_broken_first_row_leaves_the_name_to_tell(name, format, put):
    content = b"broken\n" + EXAMPLES[format].encode()
    assert read(put(gzip.compress(content) if name.endswith(".gz") else content, name)).format == format


def test_unknown_at_all(put):
    message = refused(put("hello world\n"))
    assert "trace.txt, line 1: 'hello world' is of no known format" in message
    assert "give one (--format): mooncake, bailian, azure, burstgpt, vidur, csv" in message


def test_columns_in_any_order_and_others_let_be(put):
    path = put('GeneratedTokens,"TIMESTAMP",Region,ContextTokens\n10,"2024-05-10 00:00:00.5+00:00",x,4808\n')
    assert list(read(path)) == [Request(0, 4808, 10, ())]


def test_other_block_sizes(put):
    path = put('{"timestamp": 0, "input_length": 130, "output_length": 5, "hash_ids": [0, 1, 2]}\n')
    trace = read(path, block_tokens=64)
    assert (trace.block_tokens, len(list(trace))) == (64, 1)
    assert "3 ids for 130 tokens, should be 1 blocks of 512" in refused(path)


def test_a_parent_before_the_trace_began_stands_for_the_session(put):
    row = json.loads(BAILIAN.splitlines()[0]) | {"parent_chat_id": 77}
    assert [r.session for r in read(put(json.dumps(row)))] == [77]
    row |= {"parent_chat_id": -1, "chat_id": 2**64 - 1}
    assert [r.session for r in read(put(json.dumps(row)))] == [2**64 - 1]


def test_sessions_take_bounded_memory(put, monkeypatch):
    monkeypatch.setattr(formats, "CHATS_REMEMBERED", 2)
    base = json.loads(BAILIAN.splitlines()[0])
    parents = [(1, -1), (2, -1), (3, -1), (4, 3), (5, 1)]  # by 5, chat 1 is forgotten: its own number stands for it
    rows = [base | {"chat_id": chat, "parent_chat_id": parent} for chat, parent in parents]
    assert [r.session for r in read(put("\n".join(map(json.dumps, rows))))] == [1, 2, 3, 3, 1]


def test_a_stream_is_read_once():
    trace = read(io.BytesIO(MOONCAKE.encode()))
    assert list(trace) == EXPECTED["mooncake"]
    with pytest.raises(TraceError, match="can be read once"):
        list(trace)
    assert trace.is_stream


def test_traces_travel_to_other_processes(put):
    trace = read(put(BAILIAN))
    iterator = iter(trace)
    next(iterator)
    assert list(pickle.loads(pickle.dumps(trace))) == EXPECTED["bailian"]


def test_share_read_ends_at_one(put):
    path = put(MOONCAKE * 1 + MOONCAKE.splitlines()[1].join(["", "\n"]) * 3000)
    trace = read(path)
    assert trace.share_read() is None
    shares = [trace.share_read() for _ in trace]
    assert shares == sorted(shares) and 0 < shares[0] < 0.5 and shares[-1] == 1
    assert trace.share_read() is None
    assert Trace([]).share_read() is None


def test_memory_does_not_grow_with_the_file(put):
    row = MOONCAKE.splitlines()[1] + "\n"

    def peak(rows):
        trace = read(put(row * rows, f"{rows}.jsonl"))
        tracemalloc.start()
        assert sum(1 for _ in trace) == rows
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(30_000) < peak(300) + 100_000


@pytest.mark.skipif(not TRACE.exists(), reason="the conversation trace is not here")
def test_conversation_trace():
    requests = list(read(TRACE))
    assert len(requests) == 12_031
    assert sum(r.input_tokens for r in requests) / 12_031 == pytest.approx(12_035, abs=1)
    assert sum(r.output_tokens for r in requests) / 12_031 == pytest.approx(343, abs=1)
    assert sum(len(r.blocks) for r in requests) == 288_500
    assert {r.blocks[0] for r in requests} == {0}
    assert 3_536 < requests[-1].time_s < 3_537


# --- faults ----------------------------------------------------------------------------------------------------


def changed(**fields):
    return json.dumps(json.loads(MOONCAKE.splitlines()[1]) | fields)


JSON_FAULTS = {
    "no JSON": ('{"timestamp": 1500, "input_length": 5 "x"}', ["column 39:", "not JSON"]),
    "half a row": ('{"timestamp": 1500, "inp', ["column 21:", "not JSON"]),
    "a list": ("[1, 2]", ["column 1:", "a list, should be an object", "hash_ids"]),
    "no field": ('{"timestamp": 1, "input_length": 1, "hash_ids": [1]}', ["no 'output_length'"]),
    "negative": (changed(input_length=-1), ["column 21 (input_length)", "-1 should be a whole number of at least 0"]),
    "half a token": (changed(output_length=1.5), ["(output_length)", "1.5 should be a whole number"]),
    "truth": (changed(output_length=True), ["(output_length)", "True"]),
    "text": (changed(input_length="512"), ["(input_length)", "'512'"]),
    "null": (changed(timestamp=None), ["column 2 (timestamp)", "None should be a number"]),
    "nan": (changed(timestamp=float("nan")), ["(timestamp)", "nan"]),
    "endless": (changed(timestamp=float("inf")), ["(timestamp)", "inf"]),
    "before zero": (changed(timestamp=-1), ["(timestamp)", "-1"]),
    "back in time": (changed(timestamp=999), ["2 (timestamp)", "999 ms should be 1000 ms or later", "--sort"]),
    "too few": (changed(hash_ids=[]), ["column 62 (hash_ids)", "0 ids for 512 tokens, should be 1 blocks of 512"]),
    "too many": (changed(hash_ids=[1, 2]), ["(hash_ids)", "2 ids for 512 tokens"]),
    "no ids": (changed(hash_ids=["a"]), ["(hash_ids)", "['a'] should be a list of whole numbers"]),
    "no list": (changed(hash_ids=5), ["(hash_ids)", "5 should be a list"]),
    "huge id": (changed(hash_ids=[2**64]), ["(hash_ids)", "64 bits"]),
    "huge digits": (changed().replace("512", "9" * 5000), ["column 1", "not a row of a trace"]),
    "twice": (changed(input_length=1500, hash_ids=[3, 4, 3]), ["63 (hash_ids)", "id 3 comes twice", "--chain"]),
    "a true id": (changed(hash_ids=[True]), ["(hash_ids)", "[True] should be a list of whole numbers"]),
    "a long prompt": (changed(input_length=10**16), ["(input_length)", "10000000000000000 should be a whole number"]),
    "no turn before": (
        '{"session_id": "x", "delay": 5, "input_length": 5, "output_length": 5}',
        ["column 21 (delay)", "no earlier turn of its session_id"],
    ),
    "half a character": (
        '{"session_id": "\\ud800", "delay": 5, "input_length": 5, "output_length": 5}',
        ["(delay)", "no earlier turn"],
    ),
    "a delay of nobody": (
        '{"delay": 5, "input_length": 5, "output_length": 5}',
        ["column 2 (delay)", "no earlier turn"],
    ),
    "an odd session": (changed(session_id=[1]), ["(session_id)", "[1] should be a name or a whole number"]),
    "deep": ("[" * 200_000, ["column 1", "not a row of a trace"]),
    "not UTF-8": (changed().encode() + b"\xff", ["column 78:", "byte 0xff is not UTF-8"]),
}


def with_row(row):
    first = MOONCAKE.splitlines()[0].replace('"timestamp": 0', '"timestamp": 1000')
    rows = [first, row, changed(timestamp=2000)]
    return b"\n".join(each if isinstance(each, bytes) else each.encode() for each in rows)


@pytest.mark.parametrize("name", JSON_FAULTS)
def test_a_bad_row_of_json(name, put):
    row, words = JSON_FAULTS[name]
    path = put(with_row(row), "bad.jsonl")
    message = refused(path)
    for word in [f"{path}, line 2, column", *words]:
        assert word in message, message
    assert len(message) < 400


@pytest.mark.parametrize("name", JSON_FAULTS)
def test_a_bad_row_skipped(name, put):
    trace = read(put(with_row(JSON_FAULTS[name][0]), "bad.jsonl"), errors="skip")
    assert [r.time_s for r in trace] == [1, 2]
    assert trace.skipped.count == 1
    assert "line 2" in trace.skipped.messages[0]
    assert len(list(trace)) == 2 and trace.skipped.count == 1  # each pass counts anew


def test_only_the_first_messages_are_kept(put):
    trace = read(put(MOONCAKE + "x\n" * 100, "bad.jsonl"), errors="skip")
    assert len(list(trace)) == 2
    assert (trace.skipped.count, len(trace.skipped.messages)) == (100, 5)


CSV_FAULTS = {
    "azure": [
        ("yesterday,1,1", ["column 1 (TIMESTAMP)", "'yesterday' should be a date"]),
        (
            "2023-11-16 18:17:03,1,1",
            [
                "column 1 (TIMESTAMP)",
                "2023-11-16 18:17:03 should be 2023-11-16 18:17:04.0319600 or later: time goes back",
            ],
        ),
        ("2023-11-16 18:18:03,-1,1", ["column 2 (ContextTokens)", "'-1' should be a whole number of at least 0"]),
        ("2023-11-16 18:18:03,1,1.5", ["column 3 (GeneratedTokens)", "'1.5'"]),
        ("2023-11-16 18:18:03,1", ["column 3:", "2 cells, the first row has 3"]),
        ("2023-11-16 18:18:03,1,1,1", ["column 4:", "4 cells"]),
        ("2023-11-16 18:18:03,٣,1", ["column 2 (ContextTokens)", "'٣'"]),
        ('"2023-11-16 18:18:03,1,1', ["not CSV"]),
    ],
    "csv": [
        ("x,700,3,5 6,", ["column 1 (time_s)", "'x' should be a number of seconds"]),
        ("inf,700,3,5 6,", ["column 1 (time_s)", "'inf'"]),
        ("3,700,3,5,", ["column 4 (blocks)", "1 ids for 700 tokens, should be 2"]),
        ("3,700,3,5 b,", ["column 4 (blocks)", "'5 b' should be whole numbers"]),
        (f"3,700,3,5 {2**64},", ["column 4 (blocks)", "64 bits"]),
        ("3,,3,5 6,", ["column 2 (input_tokens)", "''"]),
        ("3,99999999999999999,3,5 6,", ["column 2 (input_tokens)"]),
        (f"3,{'9' * 5000},3,5 6,", ["column 2 (input_tokens)"]),
        ("3,700,3,5 5,", ["column 4 (blocks)", "id 5 comes twice in one prompt"]),
        ("0.1,700,3,5 6,", ["column 1 (time_s)", "0.1 s should be 2 s or later", "time goes back"]),
    ],
}


@pytest.mark.parametrize(
    ("format", "row", "words"), [(f, *fault) for f, faults in CSV_FAULTS.items() for fault in faults]
)
def test_a_bad_row_of_csv(format, row, words, put):
    path = put(EXAMPLES[format] + row + "\n", "bad.csv")
    line = len(EXAMPLES[format].splitlines()) + 1
    message = refused(path)
    for word in [f"{path}, line {line}, column", *words]:
        assert word in message, message
    trace = read(path, errors="skip")
    assert list(trace) == EXPECTED[format] and trace.skipped.count == 1


@pytest.mark.parametrize("errors", ["raise", "skip"])
@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (b"", {}, ["the file is empty"]),
        (b"\n \r\n", {}, ["the file is empty"]),
        (b"", {"format": "mooncake"}, ["no request in 0 lines"]),
        (b"TIMESTAMP,ContextTokens,GeneratedTokens\n", {}, ["no request in 1 lines"]),
        (b"2023-11-16 18:17:03,4808,10\n", {"format": "azure"}, ["line 1, column 1", "should name each of TIMESTAMP,"]),
        (b"time_s,time_s,input_tokens,output_tokens,blocks\n", {"format": "csv"}, ["line 1", "each of time_s,"]),
        (
            b"time_s,input_tokens,output_tokens,blocks,blocks\n1,1,1,1,2",
            {},
            ["each of time_s,input_tokens,output_tokens once"],
        ),
        (MOONCAKE.encode("utf-16"), {"format": "mooncake"}, ["line 1", "UTF-16", "save it as UTF-8"]),
        (MOONCAKE.encode("utf-16"), {}, ["line 1", "UTF-16"]),
        (b"\xff\n" + AZURE.encode()[5:], {"format": "azure"}, ["not UTF-8", "should name each"]),
    ],
)
def test_bad_as_a_whole(content, options, words, errors, put):
    message = refused(put(content), errors=errors, **options)
    assert any(word in message for word in words), message


def test_all_rows_bad(put):
    message = refused(put("x\ny\n", "bad.jsonl"), errors="skip")
    assert "no request in 2 lines; first: " in message and "line 1, column 1" in message


def test_a_row_without_end(put, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_ROW_BYTES", 1000)
    message = refused(put(MOONCAKE + "[" + "1," * 600 + "1]\n", "long.jsonl"), errors="skip")
    assert "line 3: longer than 1,000 bytes" in message


@pytest.mark.parametrize("spoil", [lambda packed: packed[:-9], lambda packed: packed[:12] + b"\x00" * 9 + packed[21:]])
def test_a_spoilt_archive(spoil, put):
    rows = "".join(changed(timestamp=1000 + i) + "\n" for i in range(500))
    message = refused(put(spoil(gzip.compress(rows.encode())), "cut.jsonl.gz"))
    assert "cut.jsonl.gz" in message and "cannot be read" in message


def test_files_that_are_not_there(tmp_path):
    assert "No such file" in refused(tmp_path / "nothing.jsonl")
    assert "Is a directory" in refused(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "parquet"}, ["'parquet'", "mooncake"]),
        ({"errors": "ignore"}, ["'ignore'", "'skip'"]),
        ({"block_tokens": 0}, ["block_tokens = 0"]),
        ({"limit": 0}, ["limit = 0 should be at least 1"]),
        ({"from_s": -1}, ["from_s = -1 should be a number of seconds"]),
        ({"from_s": float("nan")}, ["from_s = nan"]),
    ],
)
def test_wrong_options(options, words, put):
    with pytest.raises(ValueError) as caught:
        read(put(MOONCAKE), **options)
    for word in words:
        assert word in str(caught.value)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content):
    for format in traces.FORMATS:
        for errors in ("raise", "skip"):
            try:
                found = list(read(io.BytesIO(content), format, errors))
            except TraceError as error:
                assert "stream" in str(error)
            else:
                assert found


# --- one door --------------------------------------------------------------------------------------------------


def zstd_packed(raw):
    return pytest.importorskip(*(["compression.zstd"] if sys.version_info >= (3, 14) else ["backports.zstd"])).compress(
        raw
    )


def with_frame_to_skip(raw):
    return b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstd_packed(raw)


PACKINGS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zstd": zstd_packed,
    "zstd after a frame to skip": with_frame_to_skip,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


class Dripping(io.RawIOBase):
    """A stream that gives as many bytes at a time as it likes, as a pipe does."""

    def __init__(self, raw, sizes):
        self.raw, self.sizes = io.BytesIO(raw), itertools.cycle(sizes)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.raw.readinto(memoryview(buffer)[: min(next(self.sizes), len(buffer))])


def piped(path, raw):
    """A named pipe into which somebody writes."""
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(raw,), daemon=True).start()
    return path


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("format", EXAMPLES)
def test_content_tells_packing_and_format_wherever_it_comes_from(format, packing, put, tmp_path):
    raw = PACKINGS[packing](EXAMPLES[format].encode())
    for source in (put(raw, "named.gz"), piped(tmp_path / "pipe", raw), io.BytesIO(raw), Dripping(raw, [1])):
        trace = read(source)
        assert (trace.format, list(trace)) == (format, EXPECTED[format])
        assert trace.is_stream == (source != tmp_path / "named.gz")


@st.composite
def traffic(draw):
    """Rows of any format: times in whole ms, ids that differ in a prompt."""
    lengths = draw(st.lists(st.integers(0, 1500), min_size=1, max_size=6))
    times = sorted(draw(st.lists(st.integers(0, 10**6), min_size=len(lengths), max_size=len(lengths))))
    ids = st.integers(0, 2**64 - 1)
    return [
        Request(
            at / 1e3,
            tokens,
            draw(st.integers(0, 9)),
            tuple(draw(st.lists(ids, min_size=-(-tokens // 512), max_size=-(-tokens // 512), unique=True))),
            draw(st.integers(0, 99)),
        )
        for at, tokens in zip(times, lengths, strict=True)
    ]


def json_row(request, **fields):
    row = {"input_length": request.input_tokens, "output_length": request.output_tokens, **fields}
    return json.dumps(row | ({"hash_ids": request.blocks} if request.blocks else {}))


def csv_text(head, requests, row):
    return "\n".join([head, *(",".join(map(str, row(request))) for request in requests)])


#: How requests are written in each format, and what of them it has no place for.
WRITERS = {
    "mooncake": lambda rs: "\n".join(json_row(r, timestamp=r.time_s * 1e3, session_id=r.session) for r in rs),
    "bailian": lambda rs: "\n".join(json_row(r, timestamp=r.time_s, chat_id=r.session, parent_chat_id=-1) for r in rs),
    "csv": lambda rs: csv_text(
        "session,blocks,time_s,input_tokens,output_tokens",
        rs,
        lambda r: (r.session, " ".join(map(str, r.blocks)), r.time_s, r.input_tokens, r.output_tokens),
    ),
    "burstgpt": lambda rs: csv_text(
        "Timestamp,Session ID,Request tokens,Response tokens",
        rs,
        lambda r: (r.time_s, r.session, r.input_tokens, r.output_tokens),
    ),
    "vidur": lambda rs: csv_text(VIDUR.split("\n")[0], rs, lambda r: (r.time_s, r.input_tokens, r.output_tokens)),
    "azure": lambda rs: csv_text(
        AZURE.split("\n")[0],
        rs,
        lambda r: (
            datetime.fromtimestamp(round(r.time_s * 1e3) // 1000, UTC).replace(
                microsecond=round(r.time_s * 1e3) % 1000 * 1000
            ),
            r.input_tokens,
            r.output_tokens,
        ),
    ),
}
LACKS = {"burstgpt": {"blocks": ()}, "vidur": {"blocks": (), "session": None}, "azure": {"blocks": (), "session": None}}


@given(
    requests=traffic(),
    format=st.sampled_from(list(WRITERS)),
    packing=st.sampled_from(list(PACKINGS)),
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=5),
    way=st.sampled_from(["file", "pipe", "stream"]),
)
def test_what_comes_in_any_way_is_read_whole(requests, format, packing, sizes, way, tmp_path_factory):
    raw = PACKINGS[packing](WRITERS[format](requests).encode())
    path = tmp_path_factory.mktemp("door") / "t"
    if way == "file":
        path.write_bytes(raw)
    source = {"file": lambda: path, "pipe": lambda: piped(path, raw), "stream": lambda: Dripping(raw, sizes)}[way]()
    trace = read(source, block_tokens=512)
    start = requests[0].time_s if format == "azure" else 0
    assert trace.format == format
    assert list(trace) == [
        replace(r, time_s=pytest.approx(r.time_s - start, abs=1e-6), **LACKS.get(format, {})) for r in requests
    ]
    assert not trace.skipped.count


def test_a_pipe_is_read_once(tmp_path):
    trace = read(piped(tmp_path / "pipe", MOONCAKE.encode()))
    assert list(trace) == EXPECTED["mooncake"] and trace.is_stream
    with pytest.raises(TraceError, match="pipe: a stream can be read once"):
        list(trace)


def test_descriptors_of_files_can_be_read_again(put):
    with open(put(MOONCAKE)) as file:
        trace = read(f"/dev/fd/{file.fileno()}")
        assert list(trace) == list(trace) == EXPECTED["mooncake"] and not trace.is_stream


def test_streams_are_left_open():
    stream = io.BytesIO(MOONCAKE.encode())
    assert list(read(stream)) == EXPECTED["mooncake"] and not stream.closed


def test_packed_ways_that_are_not_read(put, monkeypatch):
    assert "packed as zip, which is not read here: unpack it first" in refused(put(b"PK\x03\x04rest"))
    assert "packed as Parquet" in refused(put(b"PAR1rest"))
    for module in ("compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, module, None)
    assert "packed as zstd" in (message := refused(put(b"\x28\xb5\x2f\xfdrest")))
    assert "unpack it first, or pip install backports.zstd" in message


@pytest.mark.parametrize("packing", ["gzip", "zstd", "bzip2", "xz"])
def test_half_an_archive(packing, put):
    rows = "".join(changed(timestamp=i, hash_ids=[i * 7919 % 1009]) + "\n" for i in range(500))
    message = refused(put(PACKINGS[packing](rows.encode())[:-20]), errors="skip")
    assert "cannot be read on" in message


def test_streams_of_text_are_refused():
    with pytest.raises(TraceError, match="stream: cannot be read: gives str, should be a blocking stream of bytes"):
        read(io.StringIO(MOONCAKE))


@pytest.mark.skipif(not TRACE.exists(), reason="the traces are not here")
@pytest.mark.parametrize(
    ("name", "requests", "tokens"),
    [("azure_2023_conv.csv", 19_366, 22_361_870), ("azure_2023_code.csv", 8_819, 18_059_974)],
)
def test_azure_traces(name, requests, tokens):
    """Counted with awk too."""
    found = [request.input_tokens for request in read(SHARED / "traces" / name)]
    assert (len(found), sum(found)) == (requests, tokens)


CASES = {
    "bailian_nohash.jsonl": ("bailian", 1, 521),
    "lengths_only.jsonl": ("mooncake", 2, 556),
    "nonchained.jsonl": ("mooncake", 2, 2048),
    "session_delay.jsonl": ("mooncake", 2, 1500),
    "u64.jsonl.zst": ("mooncake", 2, 2048),
    "azure_lmm25_nosuffix.csv": ("azure", 2, 4000),
    "burstgpt.csv": ("burstgpt", 3, 1976),
    "vidur.csv": ("vidur", 2, 5787),
}


@pytest.mark.skipif(not SHARED.exists(), reason="the public cases are not here")
@pytest.mark.parametrize("name", CASES)
def test_public_cases(name):
    trace = read(SHARED / "cases" / name)
    found = [request.input_tokens for request in trace]
    assert (trace.format, len(found), sum(found)) == CASES[name]


@pytest.mark.skipif(not TRACE.exists(), reason="the conversation trace is not here")
def test_the_beginning_of_a_pipe_is_not_lost(tmp_path):
    raw = b"".join(TRACE.read_bytes().splitlines(keepends=True)[:200])
    assert len(list(read(piped(tmp_path / "pipe", raw), errors="skip"))) == 200


# --- ids, times, and what part is wanted -----------------------------------------------------------------------


def rows(*each):
    return "\n".join(json.dumps({"output_length": 1, **row}) for row in each)


def prompts(*ids, tokens=1024):
    return rows(*({"timestamp": i, "input_length": tokens, "hash_ids": each} for i, each in enumerate(ids)))


def hit_tokens(trace):
    return replay(trace, Plan("llama-3.1-70b", standard("640GB"), block_tokens=trace.block_tokens)).hit_tokens


#: Three rows of aiperf's documentation (docs/benchmark-modes/trace-replay.md): id 1 stands behind 0, then first.
AIPERF = rows(
    {"timestamp": 0, "input_length": 1200, "hash_ids": [0, 1, 2]},
    {"timestamp": 105, "input_length": 1800, "hash_ids": [0, 3, 4, 5]},
    {"timestamp": 274, "input_length": 1300, "hash_ids": [1, 4, 6]},
)


@pytest.mark.parametrize(
    ("content", "unchained", "words", "as_they_are", "chained"),
    [
        (prompts([1, 2], [2, 1]), 2, "line 2: id 2 stands first, before it stood behind 1", 1023, 0),
        (AIPERF, 2, "line 3: id 1 stands first, before it stood behind 0", 1536, 512),
        (prompts([1, 2], [1, 3], [1, 2]), 0, None, 512 + 1023, 512 + 1023),
    ],
)
def test_ids_that_are_not_chained(content, unchained, words, as_they_are, chained, put):
    """Hits by hand: 512 of 4300 tokens in aiperf's rows are a prefix that came before."""
    trace = read(put(content))
    assert hit_tokens(trace) == as_they_are
    assert trace.found.unchained.count == unchained
    if words:
        assert words in trace.found.unchained.first
        assert f"{unchained} of {trace.found.references} block ids stand behind" in trace.notes()[1]
        assert "hits are an upper bound" in trace.notes()[1]
    trace = read(put(content), chain=True)
    assert hit_tokens(trace) == chained
    assert trace.notes() == [f"trace {trace.name}: mooncake, blocks of 512 tokens"]


prompt_ids = st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=4), min_size=1, max_size=12)


def links_of(prompt):
    return [(each, prompt[i - 1] if i else None) for i, each in enumerate(prompt)]


@given(prompt_ids)
def test_every_break_of_a_chain_is_counted(listed):
    """Against a dictionary filled link by link; a prompt with an id twice leaves no trace."""
    ours, theirs = chains.Links(), {}
    for prompt in listed:
        broken = ours.broken(tuple(prompt))
        if len(set(prompt)) < len(prompt):
            assert broken.twice == next(x for i, x in enumerate(prompt) if x in prompt[:i])
            continue
        assert (broken.count if broken else 0) == sum(
            theirs.setdefault(x, ahead) != ahead for x, ahead in links_of(prompt)
        )
        assert broken is None or broken.twice is None


@given(prompt_ids)
def test_chained_ids_agree_as_far_as_prefixes_do(listed):
    made = {}
    for prompt in listed:
        for i, each in enumerate(chains.chained(prompt), 1):
            assert made.setdefault(each, prompt[:i]) == prompt[:i]
    assert len(made) == len({tuple(prompt[:i]) for prompt in listed for i in range(1, len(prompt) + 1)})


def test_ids_take_bounded_memory(monkeypatch):
    monkeypatch.setattr(chains, "IDS_REMEMBERED", 3)
    links = chains.Links()
    for i in range(100):
        assert links.broken((i, 1000 + i)) is None
        assert links.broken((1000 + i, 2000 + i)) is not None or len(links._ahead) == 2
        assert len(links._ahead) <= 6


def test_repeated_ids_can_be_chained(put):
    content = prompts([7, 8, 7, 9], [7, 8, 7, 7], tokens=2048)
    assert "line 1, column" in refused(put(content)) and "id 7 comes twice" in refused(put(content))
    trace = read(put(content), chain=True)
    assert [len(set(request.blocks)) for request in trace] == [4, 4]
    assert hit_tokens(trace) == 3 * 512


def test_ids_may_be_missing(put):
    """guidellm and aiperf take rows without them; some rows may have them and others not."""
    trace = read(
        put(rows({"timestamp": 0, "input_length": 256}, {"timestamp": 500, "input_length": 300, "hash_ids": None}))
    )
    assert list(trace) == [Request(0, 256, 1, ()), Request(0.5, 300, 1, ())]
    assert trace.notes() == [f"trace {trace.name}: mooncake, lengths only, so nothing can hit"]
    bailian = put(json.dumps({k: v for k, v in json.loads(BAILIAN.splitlines()[0]).items() if k != "hash_ids"}))
    assert list(read(bailian)) == [Request(0.5, 20, 3, (), 1)]
    assert list(read(put("time_s,input_tokens,output_tokens\n1,2,3\n"))) == [Request(1, 2, 3, ())]
    trace = read(put(MOONCAKE + rows({"timestamp": 2000, "input_length": 9})))
    assert len(list(trace)) == 3
    assert trace.notes()[1:] == ["1 of 3 requests carry no block ids, so cannot hit"]


def test_requests_without_an_answer_are_counted(put):
    trace = read(put(BURSTGPT))
    assert list(trace) == EXPECTED["burstgpt"]
    assert trace.notes()[1:] == ["1 of 2 requests have no output tokens"]


def test_turns_with_a_delay_follow_the_turn_before(put):
    trace = read(
        put(
            rows(
                {"session_id": "a", "timestamp": 100, "input_length": 1},
                {"session_id": 7, "created_time": 200.0, "input_tokens": 2.0},
                {"session_id": "a", "delay": 150, "input_length": 3},
                {"session_id": 7, "delay_ms": 50.5, "timestamp": None, "input_length": 4},
                {"session_id": "a", "timestamp": 900, "delay": 1, "input_length": 5},
                {"session_id": "a", "delay": 1, "input_length": 6},
            )
        )
    )
    found = list(trace)
    assert [r.time_s for r in found] == pytest.approx([0.1, 0.2, 0.25, 0.2505, 0.9, 0.901])
    assert [r.input_tokens for r in found] == [1, 2, 3, 4, 5, 6]
    assert [r.session == found[0].session for r in found] == [True, False, True, False, True, True]
    assert found[1].session == 7
    assert trace.notes()[1].startswith("3 turns have a delay instead of a time")


UNSORTED = rows(*({"timestamp": at, "input_length": tokens} for at, tokens in [(1000, 1), (900, 2), (1000, 3), (0, 4)]))


def test_rows_out_of_order_are_put_in_order(put):
    path = put(UNSORTED)
    assert "line 2, column 22 (timestamp): 900 ms should be 1000 ms or later: time goes back (--sort" in refused(path)
    for _ in range(2):
        trace = read(path, sort=True)
        assert [(r.time_s, r.input_tokens) for r in trace] == [(0, 4), (0.9, 2), (1, 1), (1, 3)]
    late = AZURE.splitlines()
    trace = read(put("\n".join([late[0], late[2], late[1]])), sort=True)
    assert [(r.time_s, r.input_tokens) for r in trace] == [(0, 4808), (pytest.approx(0.052), 3180)]


def test_a_delay_that_goes_back_is_shown_as_the_time_it_makes(put):
    turns = [{"session_id": "a", "timestamp": 0}, {"timestamp": 700}, {"session_id": "a", "delay": 500}]
    message = refused(put(rows(*({"input_length": 1, **turn} for turn in turns))))
    assert "line 3" in message and "500 ms should be 700 ms or later" in message


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"limit": 2}, [1, 2]),
        ({"limit": 99}, [1, 2, 3, 4]),
        ({"from_s": 4.0}, [3, 4]),
        ({"from_s": 4.0001}, [4]),
        ({"from_s": 0.5, "limit": 1}, [2]),
        ({"from_s": 0.5, "limit": 1, "sort": True}, [2]),
    ],
)
def test_a_part_of_a_trace(options, kept, put):
    """Seconds count from the first request; times stay as they are."""
    at = {1: 10, 2: 11, 3: 14, 4: 20}
    path = put(rows(*({"timestamp": time * 1000, "input_length": each} for each, time in at.items())))
    assert [(r.input_tokens, r.time_s) for r in read(path, **options)] == [(each, at[each]) for each in kept]


def test_nothing_left_of_a_trace(put):
    assert "no request in 2 lines, or none 9 s after the first" in refused(put(MOONCAKE), from_s=9)


def test_a_limit_reads_no_further(put):
    assert list(read(put(MOONCAKE + "broken"), limit=2)) == EXPECTED["mooncake"]
    ours, theirs = os.pipe()
    os.write(theirs, MOONCAKE.encode())
    assert list(read(f"/dev/fd/{ours}", limit=2)) == EXPECTED["mooncake"]  # though the pipe stays open
    os.close(ours), os.close(theirs)


def test_whole_numbers_as_tables_with_holes_have_them(put):
    assert list(read(put(changed(input_length=512.0)))) == [EXPECTED["mooncake"][1]]
    assert list(read(put(VIDUR.replace(",54", ",54.0")))) == EXPECTED["vidur"]


def test_traces_side_by_side_count_apart(put):
    trace = read(put(MOONCAKE + "broken"), errors="skip")
    twin = trace.apart()
    assert list(twin) == EXPECTED["mooncake"]
    assert (twin.skipped.count, trace.skipped.count) == (1, 0)


@pytest.mark.parametrize("options", [{"sort": True}, {"limit": 2}])
def test_share_of_a_part(options, put):
    trace = read(put(UNSORTED), errors="skip", **options)
    shares = [trace.share_read() for _ in trace]
    assert shares == sorted(shares) and shares[-1] == 1


# --- writing ---------------------------------------------------------------------------------------------------


@st.composite
def written(draw):
    lengths = draw(st.lists(st.integers(0, 3000), min_size=1, max_size=8))
    times = sorted(draw(st.lists(st.integers(0, 10**9), min_size=len(lengths), max_size=len(lengths))))
    ids = st.integers(-(2**63), 2**64 - 1)
    return [
        Request(
            time / 1e6,
            tokens,
            draw(st.integers(0, 99)),
            tuple(draw(st.lists(ids, min_size=n, max_size=n, unique=True))),
        )
        for time, tokens, n in zip(times, lengths, [-(-tokens // 512) for tokens in lengths], strict=True)
    ]


@given(requests=written(), packed=st.booleans())
def test_what_is_written_is_read(requests, packed, tmp_path_factory):
    path = tmp_path_factory.mktemp("w") / f"t.jsonl{'.gz' if packed else ''}"
    assert write(requests, path) == len(requests)
    back = list(read(path))
    assert back == [
        Request(pytest.approx(r.time_s, abs=1e-9), r.input_tokens, r.output_tokens, r.blocks) for r in requests
    ]
    assert os.listdir(path.parent) == [path.name]


def test_writing_leaves_all_or_nothing(tmp_path):
    path = tmp_path / "t.jsonl"
    write(EXPECTED["mooncake"], path)
    before = path.read_bytes()

    def stopping():
        yield EXPECTED["mooncake"][0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(stopping(), path)
    with pytest.raises(ValueError, match=r"request 2: 4808 tokens with 0 blocks of 512"):
        write([Request(0, 1, 1, (1,)), Request(1, 4808, 10, ())], path)
    with pytest.raises(ValueError, match=r"request 1: 1024 tokens with 1 blocks of 512"):
        write([Request(0, 1024, 1, (1, 1))], path)
    with pytest.raises(ValueError, match=r"at 0 s after 1 s"):
        write([Request(1, 1, 1, (1,)), Request(0, 1, 1, (1,))], path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]
    assert path.stat().st_mode & 0o777 == 0o666 & ~writing._umask()
    with pytest.raises(OSError):
        write([], tmp_path / "nowhere" / "t.jsonl")


def test_the_writer_speaks_mooncake(tmp_path):
    write([Request(1.5, 700, 5, (0, 1), session=3)], tmp_path / "t.jsonl")
    row = json.loads((tmp_path / "t.jsonl").read_text())
    assert row == {"timestamp": 1500, "input_length": 700, "output_length": 5, "hash_ids": [0, 1]}


@pytest.mark.skipif(not TRACE.exists(), reason="the conversation trace is not here")
def test_the_conversation_trace_is_written_as_it_came(tmp_path):
    write(read(TRACE), tmp_path / "t.jsonl")
    with open(TRACE, "rb") as theirs, open(tmp_path / "t.jsonl", "rb") as ours:
        for a, b in itertools.zip_longest(theirs, ours):
            assert json.loads(a) == json.loads(b)


def test_a_path_in_bytes_is_a_path(put):
    path = put(EXAMPLES["mooncake"].encode(), "rows.jsonl")
    assert list(read(os.fsencode(path))) == EXPECTED["mooncake"]
