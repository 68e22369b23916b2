"""The lab's checks see mistakes that people make, one at a time, and pass what is right in another way."""

import re
import textwrap

import pytest

from labs import course as c

CELLS = c.cells("limits")

NUMBER = 'hashlib.sha256(f"{session}/{server}".encode()).digest()'
AGREE = "itertools.takewhile(lambda p: p[0] == p[1], pairs)"
DUMPED = "json.dumps(tool, sort_keys=True)"
JOINED = '[*tools, request["rules"], *request["messages"], request["clock"]]'
LATEST = "max(latest_first, key=lambda old: equal_parts(request, old), default=[])"
BOUND = "math.ceil(1.25 * (sum(loads.values()) + 1) / len(loads))"
WORKS = 'sum(count / chip["peaks"][name] for name, count in token["flops"].items())\n    spare'

#: Each mistake: the checks that should see it, and the changes of the solved answer of that name.
WRONG = {
    "one peak for all": ("floors", "floors", [('count / chip["peaks"][name]', 'count / max(chip["peaks"].values())')]),
    "only the slowest part": ("floors", "floors", [("sum(count /", "max(count /")]),
    "parts of sequences": ("floors", "floors", [("math.floor((0.9", "((0.9")]),
    "all memory": ("floors", "floors", [("0.9 * chips", "chips")]),
    "a copy of the weights on each chip": (
        "floors",
        "floors",
        [('chip["memory"] - weights)', 'chip["memory"] - chips * weights)')],
    ),
    "weights for each sequence": ("floors", "floors", [("weights / batch", "weights")]),
    "all that is kept": ("floors", "floors", [('token["read"]) / chip', 'token["kept"]) / chip')]),
    "a chip's part of the bytes": ("floors", "floors", [('/ chip["bytes_s"]', '/ chip["bytes_s"] / chips')]),
    "memory first": (
        "floors",
        "floors",
        [
            (
                'return compute_s, (weights / batch + token["read"]) / chip["bytes_s"]',
                'return (weights / batch + token["read"]) / chip["bytes_s"], compute_s',
            )
        ],
    ),
    "zero where nothing fits": ("floors", "floors", [("return compute_s, math.inf", "return compute_s, 0.0")]),
    "no bytes of its own": ("binds", "binds", [(' - token["read"]', "")]),
    "not whole": ("binds", "binds", [("math.ceil(weights / spare)", "weights / spare")]),
    "one too few": ("binds", "binds", [("math.ceil(weights / spare)", "int(weights / spare)")]),
    "one too many": ("binds", "binds", [("math.ceil(weights / spare)", "int(weights / spare) + 1")]),
    "a negative batch": ("binds", "binds", [(" if spare > 0 else None", "")]),
    "idle for nothing": ("joules", "joules", [(" + (1 / use - 1) * idle_w", "")]),
    "idle as long as the hour": ("joules", "joules", [("(1 / use - 1)", "(1 - use)")]),
    "idle as much as work": ("joules", "joules", [("(wall_w + (1 / use - 1) * idle_w)", "wall_w / use")]),
    "the mean of both": (
        "joules",
        "joules",
        [("(wall_w + (1 / use - 1) * idle_w)", "(use * wall_w + (1 - use) * idle_w)")],
    ),
    "no logarithm of 2": ("orders", "orders", [(" * math.log(2)", "")]),
    "the ratio itself": ("orders", "orders", [("math.log10(", "(")]),
    "natural powers": ("orders", "orders", [("math.log10(energy", "math.log(energy")]),
    "one bit": ("orders", "orders", [("bits * BOLTZMANN", "BOLTZMANN")]),
    "the logarithm to the base of 2": ("orders", "orders", [("math.log(2)", "math.log2(2)")]),
    "never below": (
        "orders",
        "orders",
        [
            (
                "return math.log10(energy / (bits * BOLTZMANN * kelvin * math.log(2)))",
                "found = math.log10(energy / (bits * BOLTZMANN * kelvin * math.log(2)))\n    return max(0.0, found)",
            )
        ],
    ),
    "the share of the experts": (
        "sparser",
        "sparser",
        [("(share * total - always) / expert", "share * total / expert")],
    ),
    "a negative visit": ("sparser", "sparser", [("(fewer if fewer >= 0 else None)", "fewer")]),
    "no visit at all is refused": ("sparser", "sparser", [("fewer >= 0", "fewer > 0")]),
    "further experts alone": ("sparser", "sparser", [("experts + (active", "(active")]),
    "a total that stays": ("sparser", "sparser", [("(active / share - total) / expert", "active / share / expert")]),
    "the request before": ("hits", "hits", [("requests[:i]:", "requests[max(i - 1, 0) : i]:")]),
    "tokens at any place": ("hits", "hits", [(AGREE, "(p for p in pairs if p[0] == p[1])")]),
    "no blocks": ("hits", "hits", [("agreed // block * block", "agreed")]),
    "rounded up": ("hits", "hits", [("agreed // block * block", "-(-agreed // block) * block")]),
    "more than the least": ("hits", "hits", [("agreed >= least", "agreed > least")]),
    "blocks before the least": ("hits", "hits", [("if agreed >= least", "if agreed // block * block >= least")]),
    "the sum over earlier ones": (
        "hits",
        "hits",
        [("agreed = max(agreed, sum(1 for _ in " + AGREE + "))", "agreed += sum(1 for _ in " + AGREE + ")")],
    ),
    "no least": ("hits", "hits", [(" if agreed >= least else 0", "")]),
    "the earliest": ("breaks", "breaks", [("requests[:i][::-1]", "requests[:i]")]),
    "the one before": ("breaks", "breaks", [(LATEST, "requests[i - 1] if i else []")]),
    "the culprit lost too": ("breaks", "breaks", [("request[at + 1 :]", "request[at:]")]),
    "all behind the culprit": ("breaks", "breaks", [(" if (name, text) in earlier", "")]),
    "parts, not characters": ("breaks", "breaks", [("sum(len(text) for", "sum(1 for")]),
    "the same place only": (
        "breaks",
        "breaks",
        [
            (
                "if (name, text) in earlier",
                "if (name, text) in [b for a, b in zip(request, earlier, strict=False) if a == b]",
            )
        ],
    ),
    "appended parts break": (
        "breaks",
        "breaks",
        [("if at in (len(request), len(earlier)):", "if at == len(request):")],
    ),
    "names alone": ("breaks", "breaks", [("lambda pair: pair[0] == pair[1]", "lambda pair: pair[0][0] == pair[1][0]")]),
    "the clock first": (
        "text-found",
        "text",
        [(JOINED, '[request["clock"], *tools, request["rules"], *request["messages"]]')],
    ),
    "the clock before the talk": (
        "text-found",
        "text",
        [(JOINED, '[*tools, request["rules"], request["clock"], *request["messages"]]')],
    ),
    "no clock": ("text-whole", "text", [(', request["clock"]]', "]")]),
    "the talk before the rules": (
        "text-found",
        "text",
        [(JOINED, '[*tools, *request["messages"], request["rules"], request["clock"]]')],
    ),
    "fields as they come": ("text-steady", "text", [(", sort_keys=True", "")]),
    "tools as they come": ("text-steady", "text", [("sorted(json", "list(json")]),
    "lists sorted too": (
        "text-steady",
        "text",
        [
            (
                DUMPED,
                'json.dumps({**tool, "takes": {**tool["takes"],'
                ' "units": sorted(tool["takes"]["units"])}}, sort_keys=True)',
            )
        ],
    ),
    "the newest message first": ("text-whole", "text", [('*request["messages"]', '*request["messages"][::-1]')]),
    "each message once": ("text-whole", "text", [('*request["messages"]', '*dict.fromkeys(request["messages"])')]),
    "how many messages, first": ("text-found", "text", [("[*tools,", '[str(len(request["messages"])), *tools,')]),
    "names of tools alone": ("text-whole", "text", [(DUMPED, 'tool["name"]')]),
    "sorted by name alone": (
        "text-steady",
        "text",
        [
            (
                f'sorted({DUMPED} for tool in request["tools"])',
                f"[{DUMPED} for tool in sorted(request[\"tools\"], key=lambda tool: tool['name'])]",
            )
        ],
    ),
    "a modulus": (
        "home-moves",
        "home",
        [
            (
                f"max(servers, key=lambda server: {NUMBER})",
                "sorted(servers)[hashlib.sha256(session.encode()).digest()[0] % len(servers)]",
            )
        ],
    ),
    "a modulus of the list": (
        "home-even home-moves",
        "home",
        [
            (
                f"max(servers, key=lambda server: {NUMBER})",
                "servers[hashlib.sha256(session.encode()).digest()[0] % len(servers)]",
            )
        ],
    ),
    "the first server": ("home-even", "home", [(f"max(servers, key=lambda server: {NUMBER})", "min(servers)")]),
    "Python's hash": ("home-even", "home", [(NUMBER, "hash((session, server))")]),
    "a sum of letters": ("home-even", "home", [(NUMBER, "(sum((session + server).encode()) % 97, server)")]),
    "one ring, one place each": (
        "home-even",
        "home",
        [
            (
                f"return max(servers, key=lambda server: {NUMBER})",
                "number = lambda text: int.from_bytes(hashlib.sha256(text.encode()).digest(), 'big')\n"
                "    return min(servers, key=lambda server: (number(server) - number(session)) % 2**256)",
            )
        ],
    ),
    "home whatever the load": ("choose-bound choose-found", "choose", [("if running < bound", "")]),
    "the least busy": (
        "choose-found",
        "choose",
        [(f"max(free, key=lambda server: {NUMBER})", "min(free, key=loads.get)")],
    ),
    "one over the bound": ("choose-bound choose-found", "choose", [("running < bound", "running <= bound")]),
    "no room for the request": (
        "choose-bound",
        "choose",
        [
            (
                "math.ceil(1.25 * (sum(loads.values()) + 1) / len(loads))",
                "math.floor(1.25 * sum(loads.values()) / len(loads))",
            ),
            ("    return max(free", '    if not free:\n        raise ValueError("all are full")\n    return max(free'),
        ],
    ),
    "a bound of twice the mean": ("choose-bound choose-found", "choose", [("1.25 *", "2 *")]),
    "the fullest that is free": (
        "choose-found",
        "choose",
        [(f"max(free, key=lambda server: {NUMBER})", "max(free, key=loads.get)")],
    ),
    "what pays alone": (
        "projects",
        "projects",
        [("list(max(sets, key=worth))", "[name for name in projects if worth([name]) > 0]")],
    ),
    "the best alone": (
        "projects",
        "projects",
        [("for size in range(len(projects) + 1)", "for size in range(min(2, len(projects) + 1))")],
    ),
    "something must be done": (
        "projects",
        "projects",
        [("for size in range(len(projects) + 1)", "for size in range(1, len(projects) + 1)")],
    ),
    "all of them": ("projects", "projects", [("list(max(sets, key=worth))", "list(projects)")]),
    "factors that add": (
        "projects",
        "projects",
        [
            (
                "after[projects[name][0]] /= projects[name][1]",
                "after[projects[name][0]] -= bill[projects[name][0]] * (1 - 1 / projects[name][1])",
            )
        ],
    ),
    "no costs": ("projects", "projects", [("sum(projects[name][2] for name in names)", "0")]),
    "a month": ("projects", "projects", [("saved * months", "saved")]),
    "the soonest paid back, while they pay": (
        "projects",
        "projects",
        [
            (
                "return list(max(sets, key=worth))",
                "done = []\n"
                "    months_of = lambda part, factor, cost: cost / bill[part] / (1 - 1 / factor)\n"
                "    order = sorted(projects, key=lambda n: months_of(*projects[n]))\n"
                "    for n in order:\n"
                "        done += [n] if worth([*done, n]) > worth(done) else []\n"
                "    return done",
            )
        ],
    ),
    "the most worth first, one after the other": (
        "projects",
        "projects",
        [
            (
                "return list(max(sets, key=worth))",
                "done = []\n"
                "    while rest := [n for n in projects if n not in done and worth([*done, n]) > worth(done)]:\n"
                "        done.append(max(rest, key=lambda n: worth([*done, n])))\n"
                "    return done",
            )
        ],
    ),
}

#: Each other way that is right: the checks that should pass, and the answer.
RIGHT = {
    "rates first": (
        "floors",
        """
        def floors(token, weights, chip, chips):
            by_part = [token["flops"][name] / chip["peaks"][name] for name in token["flops"]]
            batch = int((chips * chip["memory"] * 9 / 10 - weights) // token["kept"])
            moved = token["read"] + weights / batch if batch > 0 else np.inf
            return np.array([np.sum(by_part), moved / chip["bytes_s"]])
        """,
    ),
    "a search by halving": (
        "binds",
        """
        def binds_from(token, weights, chip):
            each = sum(n / chip["peaks"][name] for name, n in token["flops"].items())
            if each <= token["read"] / chip["bytes_s"]:
                return None
            low, high = 0, 10**9
            while high - low > 1:
                batch = (low + high) // 2
                enough = batch * each * chip["bytes_s"] >= weights + batch * token["read"]
                low, high = (low, batch) if enough else (batch, high)
            return high
        """,
    ),
    "an hour's energy by an hour's tokens": (
        "joules",
        """
        def joules(chip_s, wall_w, idle_w, use):
            tokens = 3600 * use / chip_s
            return np.float32((use * wall_w + (1 - use) * idle_w) * 3600 / tokens)
        """,
    ),
    "a difference of logarithms": (
        "orders",
        """
        def orders_above(energy, bits, kelvin):
            bound = np.log10(BOLTZMANN * kelvin * np.log(2)) + np.log10(bits)
            return np.log10(energy) - bound
        """,
    ),
    "the rest by itself": (
        "sparser",
        """
        def sparser(share, total, always, expert, visits, experts):
            rest = total - experts * expert
            needed = ((always + visits * expert) / share - rest) / expert
            if always > share * total:
                return None, needed
            return share * total / expert - always / expert, needed
        """,
    ),
    "loops": (
        "hits",
        """
        def hits(requests, least, block):
            found = np.zeros(len(requests), int)
            for i, one in enumerate(requests):
                for other in requests[:i]:
                    n = 0
                    while n < len(one) and n < len(other) and one[n] == other[n]:
                        n += 1
                    if n >= least:
                        found[i] = max(found[i], n - n % block)
            return found
        """,
    ),
    "a loop that remembers": (
        "breaks",
        """
        def breaks(requests):
            found = []
            for i, request in enumerate(requests):
                most, best = -1, None
                for earlier in requests[:i]:
                    n = 0
                    for mine, theirs in zip(request, earlier):
                        if tuple(mine) != tuple(theirs):
                            break
                        n += 1
                    if n >= most:
                        most, best = n, earlier
                if best is None or most >= len(request) or most >= len(best):
                    found.append(None)
                else:
                    lost = [len(part[1]) for part in request[most + 1 :] if part in best]
                    found.append([request[most][0], sum(lost)])
            return found
        """,
    ),
    "one JSON, its fields named in order": (
        "text-whole text-steady text-found",
        """
        def sent_text(request):
            tools = sorted(request["tools"], key=lambda tool: json.dumps(tool, sort_keys=True))
            body = {"1 rules": request["rules"], "2 tools": tools, "3 talk": request["messages"]}
            body["4 now"] = request["clock"]
            return json.dumps(body, sort_keys=True, indent=1)
        """,
    ),
    "headings": (
        "text-whole text-steady text-found",
        """
        def sent_text(request):
            def flat(value):
                if isinstance(value, dict):
                    return "{" + ";".join(k + "=" + flat(value[k]) for k in sorted(value)) + "}"
                return "[" + ",".join(map(flat, value)) + "]" if isinstance(value, list) else str(value)

            text = "RULES " + request["rules"] + " TOOLS " + "|".join(sorted(map(flat, request["tools"])))
            for i, said in enumerate(request["messages"]):
                text += f" [{i}] {said}"
            return text + " NOW " + request["clock"]
        """,
    ),
    "a ring with many places": (
        "home-even home-moves",
        """
        def place(text):
            return int.from_bytes(hashlib.md5(text.encode()).digest()[:8], "big")

        RINGS = {}

        def home(session, servers):
            import bisect
            key = tuple(sorted(servers))
            if key not in RINGS:
                RINGS[key] = sorted((place(f"{server}#{i}"), server) for server in key for i in range(400))
            ring = RINGS[key]
            return ring[bisect.bisect(ring, (place(session), "")) % len(ring)][1]
        """,
    ),
    "random numbers of the pair": (
        "home-even home-moves",
        """
        def home(session, servers):
            import random
            return max(sorted(servers), key=lambda server: random.Random(f"{server} {session}").random())
        """,
    ),
    "home, or the least busy": (
        "choose-bound choose-found",
        """
        def choose(session, loads):
            most = math.ceil(1.25 * (1 + sum(loads.values())) / len(loads))
            at = max(loads, key=lambda server: hashlib.md5((server + session).encode()).digest())
            return at if loads[at] + 1 <= most else min(loads, key=loads.get)
        """,
    ),
    "the next in the list": (
        "choose-bound choose-found",
        """
        def choose(session, loads):
            import zlib
            servers, running = sorted(loads), sum(loads.values()) + 1
            at = zlib.crc32(session.encode()) % len(servers)
            while (loads[servers[at]] + 1 - 1) >= math.ceil(running * 5 / 4 / len(servers)):
                at = (at + 1) % len(servers)
            return servers[at]
        """,
    ),
    "part by part": (
        "projects",
        """
        def worth_doing(bill, projects, months):
            done = set()
            for part, usd in bill.items():
                mine = [name for name in projects if projects[name][0] == part]
                best, most = (), 0.0
                for n in range(2 ** len(mine)):
                    names = [name for i, name in enumerate(mine) if n >> i & 1]
                    left = usd / math.prod([projects[name][1] for name in names])
                    value = (usd - left) * months - sum(projects[name][2] for name in names)
                    if value > most:
                        best, most = names, value
                done.update(best)
            return sorted(done)
        """,
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_checks_see_a_mistake(mistake: str) -> None:
    checks, answer, changes = WRONG[mistake]
    c.failed(CELLS, checks, c.given("limits", f"{answer}-answer", changes))


@pytest.mark.parametrize("way", RIGHT)
def test_checks_pass_another_way(way: str) -> None:
    checks, answer = RIGHT[way]
    c.passed(CELLS, checks, c.with_answer("limits", textwrap.dedent(answer)))


def test_the_model_answer_quotes_what_the_cell_prints(capsys: pytest.CaptureFixture[str]) -> None:
    exec(CELLS["first-shown"], dict(c.told("limits")))
    shown = capsys.readouterr().out
    quoted = re.findall(
        r"\d[\d,.]*\d", CELLS["first-answer"].partition("To grade")[0].replace("$6,402", "").replace("200 tasks", "")
    )
    assert len(quoted) >= 8
    assert [number for number in quoted if number not in shown and number not in ("0.2", "3,000")] == []
