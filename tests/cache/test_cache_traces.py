"""Traces: each format as its publisher writes it, and each fault named by file, line and column."""

import gzip
import io
import itertools
import json
import os
import pickle
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from costlab.cache import traces
from costlab.cache.traces import Request, Trace, TraceError, read, write

TRACE = Path(__file__).parents[3] / "shared" / "traces" / "conversation_trace.jsonl"

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
GENERIC = "time_s,input_tokens,output_tokens,blocks,session\n0.25,700,3,5 6,\n1,512,4,5,12\n2,100,1,,\n"

EXAMPLES = {"mooncake": MOONCAKE, "bailian": BAILIAN, "azure": AZURE, "csv": GENERIC}
EXPECTED = {
    "mooncake": [Request(0, 700, 5, (0, 1)), Request(1.5, 512, 7, (0,))],
    "bailian": [
        Request(0.5, 20, 3, (7, 8), 1),
        Request(2.25, 33, 3, (7, 9, 10), 1),
        Request(2.25, 1, 3, (11,), 1),
    ],
    "azure": [Request(0, 4808, 10, ()), Request(pytest.approx(0.052), 3180, 8, ())],
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
    assert trace.block_tokens == {"mooncake": 512, "bailian": 16, "azure": None, "csv": 512}[format]


@pytest.mark.parametrize("format", EXAMPLES)
@pytest.mark.parametrize("dress", ["crlf", "mark", "gz", "blank lines", "no last newline"])
def test_dressed_otherwise(format, dress, put):
    raw = EXAMPLES[format].encode()
    content = {
        "crlf": raw.replace(b"\n", b"\r\n"),
        "mark": b"\xef\xbb\xbf" + raw,
        "gz": gzip.compress(raw),
        "blank lines": b"\n" + raw.replace(b"\n", b"\n\n \n"),
        "no last newline": raw.rstrip(),
    }[dress]
    trace = read(put(content, "trace.gz" if dress == "gz" else "trace"))
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
    assert "mooncake, bailian, azure, csv" in message


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


def test_sessions_take_bounded_memory(put, monkeypatch):
    monkeypatch.setattr(traces, "CHATS_REMEMBERED", 2)
    base = json.loads(BAILIAN.splitlines()[0])
    parents = [(1, -1), (2, -1), (3, -1), (4, 3), (5, 1)]  # by 5, chat 1 is forgotten: its own number stands for it
    rows = [base | {"chat_id": chat, "parent_chat_id": parent} for chat, parent in parents]
    assert [r.session for r in read(put("\n".join(map(json.dumps, rows))))] == [1, 2, 3, 3, 1]


def test_a_stream_is_read_once():
    trace = read(io.BytesIO(MOONCAKE.encode()))
    assert list(trace) == EXPECTED["mooncake"]
    with pytest.raises(TraceError, match="can be read once"):
        list(trace)
    assert list(read(io.BytesIO(AZURE.encode()), format="azure")) == EXPECTED["azure"]


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
    "back in time": (changed(timestamp=999), ["(timestamp)", "0.999 should be 1 s or later", "time goes back"]),
    "too few": (changed(hash_ids=[]), ["column 62 (hash_ids)", "0 ids for 512 tokens, should be 1 blocks of 512"]),
    "too many": (changed(hash_ids=[1, 2]), ["(hash_ids)", "2 ids for 512 tokens"]),
    "no ids": (changed(hash_ids=["a"]), ["(hash_ids)", "['a'] should be a list of whole numbers"]),
    "no list": (changed(hash_ids=5), ["(hash_ids)", "5 should be a list"]),
    "huge id": (changed(hash_ids=[2**64]), ["(hash_ids)", "64 bits"]),
    "huge digits": (changed().replace("512", "9" * 5000), ["column 1", "not a row of a trace"]),
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
        ("2023-11-16 18:17:03,1,1", ["column 1 (TIMESTAMP)", "time goes back"]),
        ("2023-11-16 18:18:03,-1,1", ["column 2 (ContextTokens)", "'-1' should be a whole number of at least 0"]),
        ("2023-11-16 18:18:03,1,1.0", ["column 3 (GeneratedTokens)", "'1.0'"]),
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
        ("3,700,3,5 6,me", ["column 5 (session)", "'me'"]),
        ("0.1,700,3,5 6,", ["column 1 (time_s)", "time goes back"]),
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
    monkeypatch.setattr(traces, "LONGEST_ROW_BYTES", 1000)
    message = refused(put(MOONCAKE + "[" + "1," * 600 + "1]\n", "long.jsonl"), errors="skip")
    assert "line 3: longer than 1,000 bytes" in message


@pytest.mark.parametrize("spoil", [lambda packed: packed[:-9], lambda packed: packed[:12] + b"\x00" * 9 + packed[21:]])
def test_a_spoilt_archive(spoil, put):
    rows = "".join(changed(timestamp=1000 + i) + "\n" for i in range(500))
    message = refused(put(spoil(gzip.compress(rows.encode())), "cut.jsonl.gz"))
    assert "cut.jsonl.gz" in message and "cannot be read" in message


def test_not_an_archive(put):
    assert "cannot be read" in refused(put(MOONCAKE, "plain.jsonl.gz"))


def test_files_that_are_not_there(tmp_path):
    assert "No such file" in refused(tmp_path / "nothing.jsonl")
    assert "Is a directory" in refused(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "parquet"}, ["'parquet'", "mooncake"]),
        ({"errors": "ignore"}, ["'ignore'", "'skip'"]),
        ({"block_tokens": 0}, ["block_tokens = 0"]),
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


# --- writing ---------------------------------------------------------------------------------------------------


@st.composite
def written(draw):
    lengths = draw(st.lists(st.integers(0, 3000), min_size=1, max_size=8))
    times = sorted(draw(st.lists(st.integers(0, 10**9), min_size=len(lengths), max_size=len(lengths))))
    ids = st.integers(-(2**63), 2**64 - 1)
    return [
        Request(time / 1e6, tokens, draw(st.integers(0, 99)), tuple(draw(ids) for _ in range(-(-tokens // 512))))
        for time, tokens in zip(times, lengths, strict=True)
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
    with pytest.raises(ValueError, match=r"at 0 s after 1 s"):
        write([Request(1, 1, 1, (1,)), Request(0, 1, 1, (1,))], path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]
    assert path.stat().st_mode & 0o777 == 0o666 & ~traces._umask()
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
