"""Queues that the simulator must agree with, each written again as a short loop or a closed form.

Nothing here imports `costlab.serving`. The engine at the end is vLLM's scheduler taken one step at a time over plain
lists; NVIDIA's replay gives the same times (`benchmarks/serving.py`).
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise

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


# --- a decode pool without limits ----------------------------------------------------------------------------------


def fluid_batch(rate, tokens, step, per_sequence):
    """Mean sequences in a decode step of `step + per_sequence * n` seconds, and the seconds of that step."""
    if rate * tokens * per_sequence >= 1:
        raise ValueError(f"saturated: {rate} requests/s of {tokens} tokens need {per_sequence} s each")
    batch = rate * tokens * step / (1 - rate * tokens * per_sequence)
    return batch, step + per_sequence * batch


# --- a transfer ---------------------------------------------------------------------------------------------------


def layered_end(prefill, layers, transfer):
    """When the last layer's KV has arrived, if each layer's is sent as soon as it is computed and the link is free."""
    end = 0.0
    for layer in range(1, layers + 1):
        end = max(end, prefill * layer / layers) + transfer
    return end


# --- vLLM's scheduler, a step at a time ---------------------------------------------------------------------------


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
    preempted: int = 0

    @property
    def known(self):
        return self.prompt + len(self.times)


@dataclass
class Rules:
    """vLLM V1's options, by the names of this house."""

    blocks: int = 10**9
    block: int = 16
    budget: int = 8192
    running: int = 10**9
    watermark: float = 0.0
    long_prefill: int = 0
    whole_prompt: bool = False


def engine(requests, step_s, rules):
    """Serve (arrival, prompt, output) on one worker; `step_s` takes [(tokens before, new tokens, whether decode)].

    Returns:
        The calls, in the order given, with the time of each token.
    """
    calls = [Call(*request, name) for name, request in enumerate(requests)]
    coming = sorted(calls, key=lambda call: (call.arrival, call.name))
    waiting, running, now = [], [], 0.0
    while coming or waiting or running:
        if not waiting and not running:
            now = max(now, coming[0].arrival)
        while coming and coming[0].arrival <= now:
            waiting.append(coming.pop(0))
        doing = one_step(waiting, running, rules)
        assert doing, f"nothing to do with {len(waiting)} waiting and {len(running)} running"
        now += step_s([(c.computed, new, c.computed >= c.prompt) for c, new in doing])
        for call, new in doing:
            call.computed += new
            if call.computed == call.known:
                call.times.append(now)
            if len(call.times) == call.output:
                running.remove(call)
    return calls


def one_step(waiting, running, rules):
    """Choose who computes how many tokens, and take their blocks: [(call, new tokens)]."""
    doing, budget, victims, place = [], rules.budget, 0, 0
    while place < len(running) and budget:
        call = running[place]
        new = most_new(call, budget, rules)
        while call in running and free_blocks(running, rules) < needed(call, new, rules):
            victim = running.pop()
            budget += sum(took for other, took in doing if other is victim)
            doing = [pair for pair in doing if pair[0] is not victim]
            victim.computed = victim.blocks = 0
            victim.preempted += 1
            victims += 1
            waiting.insert(0, victim)
        if call not in running:
            break
        call.blocks += needed(call, new, rules)
        doing.append((call, new))
        budget -= new
        place += 1
    while waiting and budget and not victims and len(running) < rules.running:
        call = waiting[0]
        new = most_new(call, budget, rules)
        whole = needed(call, call.known if rules.whole_prompt else new, rules)
        kept = int(rules.watermark * rules.blocks) if running else 0
        if free_blocks(running, rules) - kept < whole:
            break
        running.append(waiting.pop(0))
        call.blocks += needed(call, new, rules)
        doing.append((call, new))
        budget -= new
    return doing


def most_new(call, budget, rules):
    left = call.known - call.computed
    return min(left, budget, rules.long_prefill or left)


def needed(call, new, rules):
    return -(-(call.computed + new) // rules.block) - call.blocks


def free_blocks(running, rules):
    return rules.blocks - sum(call.blocks for call in running)
