"""The lab's checks see mistakes that people make, one at a time, and pass what is right in another way."""

import re
import textwrap

import pytest

from labs import course as c

CELLS = c.cells("tiers")

WRITE_SYNC = '    disk.write(f"{name}.tmp", digest + page)\n    disk.sync(f"{name}.tmp")\n'
RENAME = '    disk.rename(f"{name}.tmp", name)\n'
FOLDER = "    disk.sync_folder()\n"
STAMP = 'hashlib.sha256(name.encode() + b"/" + page).digest()'
KEPT = f"return page if {STAMP} == digest else None"
LATER = "min(later)"
SPLITS = "for k in range(len(computes) + 1)"
STORE = "store-whole store-kept store-checked"

#: Each mistake: the checks that should see it, and the changes of the solved answer of that name.
WRONG = {
    "overlaps stored twice": ("bytes", "bytes", [("min(1, window / spacing)", "window / spacing")]),
    "whole windows only": ("bytes", "bytes", [("window / spacing", "window // spacing")]),
    "windows of the full layers": ("bytes", "bytes", [("full + sliding * min", "(full + sliding) * min")]),
    "no full layers in the comparison": ("spacing", "spacing", [("(full + sliding) / times", "sliding / times")]),
    "negative instead of none": ("spacing", "spacing", [(" if spare > 0 else None", "")]),
    "a ratio, not tokens": ("spacing", "spacing", [("sliding * window / spare", "spare / sliding")]),
    "whole tokens": ("spacing", "spacing", [("sliding * window / spare", "sliding * window // spare")]),
    "a copy stays below": ("exclusive", "exclusive", [("            del tiers[where][page]\n", "            pass\n")]),
    "first in, first out": (
        "exclusive",
        "exclusive",
        [
            (
                "        if where < len(tiers):\n",
                "        if where == 0:\n            continue\n        if where < len(tiers):\n",
            )
        ],
    ),
    "the youngest goes down": ("exclusive", "exclusive", [("next(iter(tier))", "list(tier)[-2]")]),
    "drops counted as writes": (
        "exclusive",
        "exclusive",
        [("[0] * (len(sizes) - 1)", "[0] * len(sizes)"), ("if i < len(written):", "if True:")],
    ),
    "one page too many": ("exclusive", "exclusive", [("len(tier) <= sizes[i]", "len(tier) <= sizes[i] + 1")]),
    "computed first": (
        "exclusive",
        "exclusive",
        [("return found, written", "return found[-1:] + found[:-1], written")],
    ),
    "up by one tier only": (
        "exclusive",
        "exclusive",
        [
            (
                "for i, tier in enumerate(tiers):\n            tier[moving]",
                "first = max(where - 1, 0) if where < len(tiers) else 0\n"
                "        for i, tier in list(enumerate(tiers))[first:]:\n            tier[moving]",
            )
        ],
    ),
    "used above only": (
        "inclusive",
        "inclusive",
        [("zip(tiers, sizes, strict=True):", "list(zip(tiers, sizes))[: where + 1]:")],
    ),
    "loads written": ("inclusive", "inclusive", [("if where == len(tiers):", "if where:")]),
    "evictions written": (
        "inclusive",
        "inclusive",
        [
            ("            written = [n + 1 for n in written]\n", "            pass\n"),
            (
                "                del tier[next(iter(tier))]",
                "                del tier[next(iter(tier))]\n                written = [n + 1 for n in written]",
            ),
        ],
    ),
    "order of coming in": ("inclusive", "inclusive", [("            tier.pop(page, None)\n", "")]),
    "one drive for all": ("years", "years", [("drives * drive_bytes", "drive_bytes")]),
    "no warranty": ("years", "years", [(" * 365 * warranty_years", " * 365")]),
    "at most the warranty": (
        "years",
        "years",
        [
            (
                "return allowed / (written_bytes_s * 365 * 86_400)",
                "return min(warranty_years, allowed / (written_bytes_s * 365 * 86_400))",
            )
        ],
    ),
    "years of 365.25 days": ("years", "years", [("written_bytes_s * 365 ", "written_bytes_s * 365.25 ")]),
    "never is zero": ("years", "years", [("else math.inf", "else 0.0")]),
    "found when written": ("selective", "selective", [("counts - uses, 0", "counts - uses + 1, 0")]),
    "all references once written": (
        "selective",
        "selective",
        [("np.maximum(counts - uses, 0).sum()", "counts[counts > uses].sum()")],
    ),
    "one use later": ("selective", "selective", [("counts >= uses", "counts > uses")]),
    "the slow home rents nothing": ("gap", "gap", [("(fast[0] - slow[0])", "fast[0]")]),
    "the fast home reads for nothing": ("gap", "gap", [("(slow[1] - fast[1])", "slow[1]")]),
    "reads an hour": (
        "gap",
        "gap",
        [("(slow[1] - fast[1]) / (fast[0] - slow[0])", "(fast[0] - slow[0]) / (slow[1] - fast[1])")],
    ),
    "the next lower rent": ("homes", "homes", [(LATER, "min(later, key=lambda each: -offers[each[2]][0])")]),
    "the first crossing of all": ("homes", "homes", [("if p < rent]", "]")]),
    "moments in between": (
        "homes",
        "homes",
        [("gap, _, best = min(later)", "gap, _, best = min(later, key=lambda each: (each[0], -each[1]))")],
    ),
    "the dearest of equal beginnings": (
        "homes",
        "homes",
        [("(offers[name][1], offers[name][0])", "(offers[name][1], -offers[name][0])")],
    ),
    "no beginning": ("homes", "homes", [("found = [(best, 0.0)]", "found = []")]),
    "one after the other": (
        "ends",
        "ends",
        [("max(sum(computes[:k]), sum(loads[k:]))", "sum(computes[:k]) + sum(loads[k:])")],
    ),
    "loads from the front": ("ends", "ends", [("sum(loads[k:])", "sum(loads[: len(loads) - k])")]),
    "some of each": ("ends-edges", "ends", [(SPLITS, "for k in range(1, len(computes))")]),
    "never all computed": ("ends", "ends", [(SPLITS, "for k in range(len(computes))")]),
    "the largest split": ("ends-edges", "ends", [("ends.index(best)", "len(ends) - 1 - ends[::-1].index(best)")]),
    "written over": (
        "store-whole",
        "store",
        [(WRITE_SYNC, "    disk.write(name, digest + page)\n    disk.sync(name)\n"), (RENAME, "")],
    ),
    "renamed before it is safe": (
        "store-whole",
        "store",
        [(WRITE_SYNC + RENAME, '    disk.write(f"{name}.tmp", digest + page)\n' + RENAME + "    disk.sync(name)\n")],
    ),
    "never synced": ("store-kept", "store", [('    disk.sync(f"{name}.tmp")\n', ""), (FOLDER, "")]),
    "names never synced": ("store-kept", "store", [(FOLDER, "")]),
    "removed first": (
        "store-whole",
        "store",
        [
            (
                RENAME,
                "    if disk.read(name) is not None:\n        disk.remove(name)\n        disk.sync_folder()\n" + RENAME,
            )
        ],
    ),
    "no digest": ("store-checked", "store", [(KEPT, "return page")]),
    "a digest of the page alone": (
        "store-checked",
        "store",
        [
            (f"digest = {STAMP}", "digest = hashlib.sha256(page).digest()"),
            (KEPT, "return page if hashlib.sha256(page).digest() == digest else None"),
        ],
    ),
    "a digest of the length": (
        "store-checked",
        "store",
        [
            (f"digest = {STAMP}", "digest = len(page).to_bytes(32, 'big')"),
            (KEPT, "return page if len(page).to_bytes(32, 'big') == digest else None"),
        ],
    ),
    "the first bytes alone": (
        "store-checked",
        "store",
        [
            (f"digest = {STAMP}", 'digest = hashlib.sha256(name.encode() + b"/" + page[:8]).digest()'),
            (KEPT, 'return page if hashlib.sha256(name.encode() + b"/" + page[:8]).digest() == digest else None'),
        ],
    ),
    "an error for a missing page": ("store-checked", "store", [("    if data is None:\n        return None\n", "")]),
    "one file for all pages": (
        STORE,
        "store",
        [(RENAME, '    disk.rename(f"{name}.tmp", "page")\n'), ("disk.read(name)", 'disk.read("pages")')],
    ),
}

#: Each other way that is right: the checks that should pass, and the answer.
RIGHT = {
    "tokens of one window": (
        "bytes",
        """
        def token_bytes(full, sliding, window, spacing):
            if spacing == math.inf:
                return np.float32(full)
            return np.float32((full * spacing + sliding * min(spacing, window)) / spacing)
        """,
    ),
    "the ratio first": (
        "spacing",
        """
        def spacing_for(times, full, sliding, window):
            ratio = ((full + sliding) / times - full) / sliding if sliding else 0
            return window / ratio if ratio > 0 else None
        """,
    ),
    "one list cut in pieces": (
        "exclusive",
        """
        def exclusive(references, sizes):
            ends, order = np.cumsum(sizes), []
            found, written = np.zeros(len(sizes) + 1, int), np.zeros(len(sizes) - 1, int)
            for page in references:
                at = order.index(page) if page in order else len(order)
                new = page not in order
                where = len(sizes) if new else int(np.searchsorted(ends, at, side="right"))
                found[where] += 1
                order = [page, *order[:at], *order[at + 1:]][: ends[-1]]
                for i, end in enumerate(ends[:-1]):
                    written[i] += where > i and len(order) > end
            return found, written
        """,
    ),
    "ordered dictionaries and times of use": (
        "inclusive",
        """
        def inclusive(references, sizes):
            tiers, found, written = [dict() for _ in sizes], [0] * (len(sizes) + 1), 0
            for now, page in enumerate(references):
                at = [page in tier for tier in tiers]
                where = at.index(True) if any(at) else len(sizes)
                found[where] += 1
                written += where == len(sizes)
                for size, tier in zip(sizes, tiers):
                    if page not in tier and len(tier) == size:
                        tier.pop(min(tier, key=tier.get))
                    tier[page] = now
            return tuple(found), (written,) * (len(sizes) - 1)
        """,
    ),
    "days": (
        "years",
        """
        def drive_years(drives, drive_bytes, writes_a_day, warranty_years, written_bytes_s):
            a_day = written_bytes_s * 24 * 60 * 60 / drives / drive_bytes
            return warranty_years * writes_a_day / a_day if a_day > 0 else float("inf")
        """,
    ),
    "a counter": (
        "selective",
        """
        def selective(references, uses):
            from collections import Counter
            counts = Counter(references)
            return sum(n >= uses for n in counts.values()), sum(max(0, n - uses) for n in counts.values())
        """,
    ),
    "the difference at an hour": (
        "gap",
        """
        def equal_gap(fast, slow):
            rents, reads = np.array(fast) - np.array(slow)
            return -reads / rents
        """,
    ),
    "a hull": (
        "homes",
        """
        def homes(offers):
            hull = []
            for name in sorted(offers, key=lambda n: (-offers[n][0], offers[n][1])):
                p, r = offers[name]
                while hull:
                    q, s = offers[hull[-1][0]]
                    gap = 0.0 if r <= s else (r - s) / (q - p) if q > p else math.inf
                    if gap > hull[-1][1] or (gap == hull[-1][1] == 0.0 and r > s):
                        break
                    hull.pop()
                else:
                    hull.append([name, 0.0])
                    continue
                if gap < math.inf:
                    hull.append([name, gap])
            return hull
        """,
    ),
    "two hands": (
        "ends ends-edges",
        """
        def both_ends(computes, loads):
            best = (0, float(sum(loads)))
            front, back = 0.0, float(sum(loads))
            for k, (compute, load) in enumerate(zip(computes, loads), 1):
                front, back = front + compute, sum(loads[k:])
                if max(front, back) < best[1]:
                    best = (k, max(front, back))
            return list(best)
        """,
    ),
    "a file for the digest, versions in names": (
        STORE,
        """
        def save(disk, name, page):
            page = bytes(page)
            stamp = hashlib.sha256((name + ":").encode() + page).hexdigest()
            body = (name + "|" + stamp + "|").encode() + page
            for each in disk.names():
                if each.startswith(name + "~"):
                    disk.remove(each)
            disk.write(name + "~1", body)
            disk.sync(name + "~1")
            disk.sync_folder()
            disk.rename(name + "~1", name + ".page")
            disk.sync_folder()

        def load(disk, name):
            try:
                label, stamp, page = disk.read(name + ".page").split(b"|", 2)
            except (AttributeError, ValueError):
                return None
            if label != name.encode():
                return None
            return page if hashlib.sha256(name.encode() + b":" + page).hexdigest().encode() == stamp else None
        """,
    ),
    "everything synced at every step": (
        STORE,
        """
        def save(disk, name, page):
            disk.write("new", hashlib.blake2b(page, key=name.encode()).digest() + page)
            disk.sync_all()
            disk.rename("new", "p" + name)
            disk.sync_all()

        def load(disk, name):
            data = disk.read("p" + name) or b""
            right = hashlib.blake2b(data[64:], key=name.encode()).digest() == data[:64]
            return bytes(data[64:]) if right else None
        """,
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_checks_see_a_mistake(mistake: str) -> None:
    checks, answer, changes = WRONG[mistake]
    c.failed(CELLS, checks, c.given("tiers", f"{answer}-answer", changes))


@pytest.mark.parametrize("way", RIGHT)
def test_checks_pass_another_way(way: str) -> None:
    checks, answer = RIGHT[way]
    c.passed(CELLS, checks, c.with_answer("tiers", textwrap.dedent(answer)))


def test_the_model_answer_quotes_what_the_cell_prints(capsys: pytest.CaptureFixture[str]) -> None:
    exec(CELLS["choice-shown"], dict(c.told("tiers")))
    shown = capsys.readouterr().out
    quoted = re.findall(r"\d+(?:%| MB/s| years| s\b)", CELLS["choice-answer"].partition("To grade")[0])
    assert len(quoted) >= 10
    assert [number for number in quoted if number not in shown] == []
