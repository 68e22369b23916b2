"""A submission that is wrong but plausible: each answer makes a mistake that people make.

Each cell below replaces the answer of that name in the solved notebook. POINTS says what the checks
then give; a check that is not named there gives all its points.
"""

import hashlib
import itertools
import json
import math

POINTS = {
    "floors": 0,
    "binds": 0,
    "joules": 0,
    "sparser": 0,
    "hits": 0,
    "breaks": 0,
    "text-steady": 0,
    "text-found": 0,
    "home-moves": 0,
    "choose-bound": 0,
    "choose-found": 0,
    "projects": 0,
}


# %% floors-answer
def floors(token, weights, chip, chips):
    """Let parts of sequences fit."""
    compute_s = sum(count / chip["peaks"][name] for name, count in token["flops"].items())
    batch = (0.9 * chips * chip["memory"] - weights) / token["kept"]
    if batch < 1:
        return compute_s, math.inf
    return compute_s, (weights / batch + token["read"]) / chip["bytes_s"]


# %% binds-answer
def binds_from(token, weights, chip):
    """Forget what each sequence reads of its own."""
    compute_s = sum(count / chip["peaks"][name] for name, count in token["flops"].items())
    return math.ceil(weights / (compute_s * chip["bytes_s"]))


# %% joules-answer
def joules(chip_s, wall_w, idle_w, use):
    """Let idle hours draw as much as working ones."""
    return chip_s * wall_w / use


# %% sparser-answer
def sparser(share, total, always, expert, visits, experts):
    """Add experts by the share of the experts alone."""
    fewer = (share * total - always) / expert
    return (fewer if fewer >= 0 else None), visits / share


# %% hits-answer
def hits(requests, least, block):
    """Compare whole blocks first, and the least length with them."""
    found = []
    for i, request in enumerate(requests):
        agreed = 0
        for earlier in requests[:i]:
            pairs = zip(request, earlier, strict=False)
            agreed = max(agreed, sum(1 for _ in itertools.takewhile(lambda p: p[0] == p[1], pairs)))
        whole = agreed // block * block
        found.append(whole if whole >= least else 0)
    return found


# %% breaks-answer
def breaks(requests):
    """Compare with the request just before."""
    found = [None] * min(1, len(requests))
    for earlier, request in itertools.pairwise(requests):
        at = 0
        while at < min(len(request), len(earlier)) and request[at] == earlier[at]:
            at += 1
        if at in (len(request), len(earlier)):
            found.append(None)
            continue
        lost = sum(len(text) for name, text in request[at + 1 :] if (name, text) in earlier)
        found.append((request[at][0], lost))
    return found


# %% text-answer
def sent_text(request):
    """Sort the tools by name, leave their fields, and put the clock before the talk."""
    tools = [json.dumps(tool) for tool in sorted(request["tools"], key=lambda tool: tool["name"])]
    return "\n".join([*tools, request["rules"], request["clock"], *request["messages"]])


# %% home-answer
def home(session, servers):
    """Take a number of the session, modulo the servers."""
    number = int.from_bytes(hashlib.sha256(session.encode()).digest()[:8], "big")
    return sorted(servers)[number % len(servers)]


# %% choose-answer
def choose(session, loads):
    """Stay at home, whatever its load."""
    return max(loads, key=lambda server: hashlib.sha256(f"{session}/{server}".encode()).digest())


# %% projects-answer
def worth_doing(bill, projects, months):
    """Do what pays alone."""
    saved = {name: bill[part] * (1 - 1 / factor) for name, (part, factor, _) in projects.items()}
    return [name for name in projects if saved[name] * months > projects[name][2]]
