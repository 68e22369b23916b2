"""Queues that the simulator must agree with, each written again as a short loop or a closed form.

Nothing here imports `costlab.serving`. The engines at the end take one step at a time over plain
lists; NVIDIA's replay gives the same times (`benchmarks/serving.py`).
"""

import math
from dataclasses import dataclass, field
from itertools import cycle, pairwise

import numpy as np


def poisson(rate, count, seed=0):
    """Arrival times of a Poisson stream."""
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count)).tolist()


# --- one server --------------------------------------------------------------------------------------------------


def lindley(arrivals, services):
    """Each customer's wait at one server, first come first served (Lindley 1952)."""
    waits = [0.0]
    for (before, now), service in zip(pairwise(arrivals), services, strict=False):
        waits.append(max(0.0, waits[-1] + service - (now - before)))
    return waits


def pollaczek_khinchine(rate, services):
    """Mean wait at one server behind Poisson arrivals, from a sample of service times (M/G/1)."""
    mean, square = np.mean(services), np.mean(np.square(services))
    return rate * square / (2 * (1 - rate * mean))


def deterministic_ttft(rate, service):
    """Mean time to first token of one replica whose prefills all take the same time (DistServe, section 3.1)."""
    return service + rate * service**2 / (2 * (1 - rate * service))


def pipeline_ttft(rate, service):
    """The same with the layers on two chips in a row: half the time apart, the whole time long."""
    return service + rate * service**2 / (4 * (2 - rate * service))


def tensor_ttft(rate, service, speed_up):
    """The same with each layer on two chips, which is `speed_up` times as fast."""
    return service / speed_up + rate * service**2 / (2 * speed_up * (speed_up - rate * service))


# --- several servers ---------------------------------------------------------------------------------------------


def kiefer_wolfowitz(arrivals, services, servers):
    """Each customer's wait at several servers behind one queue: the time until the first of them is free."""
    free, waits = [0.0] * servers, []
    for arrival, service in zip(arrivals, services, strict=True):
        first = free.index(min(free))
        waits.append(max(0.0, free[first] - arrival))
        free[first] = arrival + waits[-1] + service
    return waits


def exponential_wait(rate, service, servers):
    """Mean wait of M/M/c, from Erlang's C formula."""
    load = rate * service
    terms = [load**k / math.factorial(k) for k in range(servers)]
    full = load**servers / math.factorial(servers) * servers / (servers - load)
    return full / (sum(terms) + full) * service / (servers - load)


def constant_wait(rate, service, servers):
    """Mean wait of M/D/c (Cosmetatos 1975)."""
    share = rate * service / servers
    excess = (1 - share) * (servers - 1) * (math.sqrt(4 + 5 * servers) - 2) / (16 * share * servers)
    return exponential_wait(rate, service, servers) / 2 * (1 + excess)


def shared_sojourn(work, share):
    """Mean time in a server that all present share equally, of a customer with so much work (M/G/1-PS)."""
    return work / (1 - share)


# --- a decode pool without limits --------------------------------------------------------------------------------


def fluid_batch(rate, tokens, step, per_sequence):
    """Mean sequences in a decode step of `step + per_sequence * n` seconds, and the seconds of that step."""
    if rate * tokens * per_sequence >= 1:
        raise ValueError(f"saturated: {rate} requests/s of {tokens} tokens need {per_sequence} s each")
    batch = rate * tokens * step / (1 - rate * tokens * per_sequence)
    return batch, step + per_sequence * batch


# --- engines, a step at a time -----------------------------------------------------------------------------------


@dataclass
class Call:
    """A request, and where it stands."""

    arrival: float
    prompt: int
    output: int
    name: int = 0
    computed: int = 0  # tokens whose KV is held
    blocks: int = 0
    times: list = field(default_factory=list)  # of its tokens
    reads: bool = True  # whether it computes a prompt, or anew what it lost
    preempted: int = 0

    @property
    def known(self):
        return self.prompt + len(self.times)

    @property
    def left(self):
        return self.known - self.computed


@dataclass
class Rules:
    """Options of the schedulers, by one name each."""

    blocks: int = 10**9
    block: int = 16
    budget: int = 8192
    running: int = 10**9
    watermark: float = 0.0
    long_prefill: int = 0
    whole_prompt: bool = False


def engine(calls, step_s, rules, choose, ranks=1, users=None):
    """Serve calls on one worker until all are done.

    Args:
        calls: `Call`s, or (arrival, prompt, output).
        step_s: seconds of a step [(tokens before, new tokens, call)].
        rules: the scheduler's options.
        choose: who computes how many tokens in a step, with their blocks taken: `vllm`, `sarathi`, ...
        ranks: replicas that get calls in turn, and step together, as long as the slowest.
        users: if given, so many send one call at first, and the next when an answer is there: behind the next step.

    Returns:
        The calls, in the order given, with the time of each token; and [(end of a step, its seconds, who took part)].
    """
    calls = [call if isinstance(call, Call) else Call(*call, name) for name, call in enumerate(calls)]
    coming = sorted(calls, key=lambda call: (call.arrival, call.name))
    later = coming[users:] if users else []
    del coming[len(coming) - len(later) :]
    places = [([], []) for _ in range(ranks)]
    turns, asked, now, steps = cycle(places), [], 0.0, []
    while coming or asked or any(waiting or running for waiting, running in places):
        if not any(waiting or running for waiting, running in places):
            if not coming or coming[0].arrival > now:
                coming, asked = asked + coming, []
            now = max(now, coming[0].arrival)
        while coming and coming[0].arrival <= now:
            next(turns)[0].append(coming.pop(0))
        doing = [choose(waiting, running, rules) for waiting, running in places]
        assert any(doing), "nothing to do"
        coming, asked = coming + asked, []
        seconds = max(step_s([(call.computed, new, call) for call, new in each]) for each in doing)
        now += seconds
        steps.append((now, seconds, [call.name for each in doing for call, _ in each]))
        for (_, running), each in zip(places, doing, strict=True):
            for call, new in each:
                call.computed += new
                if not call.left:
                    call.times.append(now)
                    call.reads = False
                if len(call.times) == call.output:
                    running.remove(call)
                    if later:
                        asked.append(later.pop(0))
                        asked[-1].arrival = now
    return calls, steps


def linear(prompts=0.0, decode=0.0, token=0.0, pair=0.0, sequence=0.0, context=0.0):
    """Seconds of a step: if it reads, if it decodes, and per token read, pair of query and key, sequence, context."""

    def step_s(pieces):
        reads = [(before, new) for before, new, call in pieces if call.reads]
        held = [before + new for before, new, call in pieces if not call.reads]
        seconds = prompts * bool(reads) + decode * bool(held) + sequence * len(held) + context * sum(held)
        return seconds + sum(token * new + pair * (new * before + new * (new + 1) / 2) for before, new in reads)

    return step_s


def needed(call, new, rules):
    return -(-(call.computed + new) // rules.block) - call.blocks


def free_blocks(running, rules):
    return rules.blocks - sum(call.blocks for call in running)


def preempt(call, waiting):
    call.computed = call.blocks = 0
    call.preempted += 1
    call.reads = True
    waiting.insert(0, call)


def vllm(waiting, running, rules):
    """vLLM V1 (`scheduler.py`): running first, the last of them gives way, then the queue unless one gave way."""

    def most(call):
        return min(call.left, budget, rules.long_prefill or call.left)

    doing, budget, victims, place = [], rules.budget, 0, 0
    while place < len(running) and budget:
        call = running[place]
        new = most(call)
        while call in running and free_blocks(running, rules) < needed(call, new, rules):
            victim = running.pop()
            budget += sum(took for other, took in doing if other is victim)
            doing = [pair for pair in doing if pair[0] is not victim]
            preempt(victim, waiting)
            victims += 1
        if call not in running:
            break
        call.blocks += needed(call, new, rules)
        doing.append((call, new))
        budget -= new
        place += 1
    while waiting and budget and not victims and len(running) < rules.running:
        call = waiting[0]
        new = most(call)
        kept = int(rules.watermark * rules.blocks) if running else 0
        if free_blocks(running, rules) - kept < needed(call, call.left if rules.whole_prompt else new, rules):
            break
        running.append(waiting.pop(0))
        call.blocks += needed(call, new, rules)
        doing.append((call, new))
        budget -= new
    return doing


def orca(waiting, running, rules):
    """Orca: whole prompts, admitted while the longest answers of all fit; so nobody ever gives way."""
    while waiting and len(running) < rules.running:
        call = waiting[0]
        most = -(-(call.prompt + call.output - 1) // rules.block)  # the last token is never computed
        if free_blocks(running, rules) < most:
            break
        running.append(waiting.pop(0))
        call.blocks = most
    return [(call, call.left) for call in running]


def sarathi(waiting, running, rules):
    """Sarathi (`sarathi_scheduler.py`): a token of each running answer, then chunks of prompts up to the budget."""
    running.sort(key=lambda call: (call.arrival, call.name))
    doing, budget = [], rules.budget
    for call in list(running):
        if call not in running or not call.times or call.left > 1:
            continue
        while call in running and free_blocks(running, rules) < needed(call, 1, rules):
            preempt(running.pop(), waiting)
        if call in running:
            call.blocks += needed(call, 1, rules)
            doing.append((call, 1))
            budget -= 1
    kept = {id(call) for call in running}
    doing = [pair for pair in doing if id(pair[0]) in kept]
    for call in running:
        if call.left and (call, 1) not in doing and budget > 0:
            doing.append((call, min(call.left, budget)))
            budget -= doing[-1][1]
    while waiting and budget > 0 and len(running) < rules.running:
        call = waiting[0]
        kept = int(rules.watermark * rules.blocks) if running else 0
        if free_blocks(running, rules) - needed(call, call.known, rules) < kept:
            break
        running.append(waiting.pop(0))
        call.blocks = needed(call, call.known, rules)
        doing.append((call, min(call.left, budget)))
        budget -= doing[-1][1]
    return doing


def prefill_first(waiting, running, rules):
    """vLLM V0 and DistServe: a step reads whole prompts as long as any can be admitted, and decodes otherwise."""
    doing, left = [], rules.budget
    while waiting and len(running) < rules.running:
        call = waiting[0]
        kept = int(rules.watermark * rules.blocks) if running else 0
        if (doing and call.left > left) or free_blocks(running, rules) - needed(call, call.left, rules) < kept:
            break
        running.append(waiting.pop(0))
        call.blocks = needed(call, call.left, rules)
        doing.append((call, call.left))
        left -= call.left
    if doing:
        return doing
    for call in list(running):
        while call in running and free_blocks(running, rules) < needed(call, 1, rules):
            preempt(running.pop(), waiting)
        if call in running:
            call.blocks += needed(call, 1, rules)
            doing.append((call, 1))
    return doing


def separated(requests, step_s, rules, transfer_s):
    """One worker prefills, another decodes, and each transfer takes its own time, whatever else is under way.

    Returns:
        The calls with the times of their tokens, the first of which is prefill's.
    """
    prefills, _ = engine([(arrival, prompt, 1) for arrival, prompt, _ in requests], step_s, rules, vllm)
    moved = [
        Call(call.times[0] + transfer_s(prompt), prompt, output, name, prompt, 0, list(call.times), reads=False)
        for name, (call, (_, prompt, output)) in enumerate(zip(prefills, requests, strict=True))
    ]
    engine([call for call in moved if call.output > 1], step_s, rules, vllm)
    return moved
