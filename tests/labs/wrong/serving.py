"""A submission that is wrong but plausible: each answer makes a mistake that people make.

Each cell below replaces the answer of that name in the solved notebook. POINTS says what the checks
then give; a check that is not named there gives all its points.
"""

import math

POINTS = {
    "times": 0,
    "waits": 0,
    "mean": 0,
    "compose-budget": 0,
    "after": 0,
    "engine-equal": 0,
    "decode-rate": 0,
    "ratio": 0,
    "split": 0,
    "ttft-load": 0,
    "tpot-load": 0,
    "longest": 0,
    "rule": 0,
    "design-seen": 0,
    "design-unseen": 0,
    "shares": 0,
    "binding": 0,
}


# %% times-answer
def times(arrival_s, begun_s, token_s):
    """Leave the queue out, and divide by all tokens."""
    worst_s = max((token_s[i + 1] - token_s[i] for i in range(len(token_s) - 1)), default=0)
    return token_s[0] - begun_s, (token_s[-1] - token_s[0]) / len(token_s), worst_s


# %% waits-answer
def waits(arrivals, services):
    """Take what the request itself needs, not the one before it."""
    found = [0.0]
    for i in range(1, len(arrivals)):
        found.append(max(0.0, found[-1] + services[i] - (arrivals[i] - arrivals[i - 1])))
    return found


# %% mean-answer
def mean_wait(rate, service_s):
    """Take the queue whose services vary as exponential ones do."""
    used = rate * service_s
    return used / (1 - used) * service_s


# %% compose-answer
def compose(running, waiting, budget, most):
    """Give prompts the whole budget, whoever decodes beside them."""
    decoding = [call for call in running if call.read == call.prompt]
    left, pieces = budget, []
    for call in running:
        piece = min(call.prompt - call.read, left)
        if piece > 0:
            pieces.append((call, piece))
            left -= piece
    while waiting and left > 0 and len(running) < most:
        call = waiting.pop(0)
        running.append(call)
        pieces.append((call, min(call.prompt, left)))
        left -= pieces[-1][1]
    return decoding, pieces


# %% after-answer
def after_step(running, decoding, pieces, now_s):
    """Let the first token come with the first decode step, not with the prompt's end."""
    for call, tokens in pieces:
        call.read += tokens
    for call in decoding:
        call.token_s.append(now_s)
        if len(call.token_s) == call.answer:
            running.remove(call)


# %% decode-answer
def decode_rate(prompt, answer, tpot_s):
    """Count a step for the first token too."""
    context, batch = prompt + answer / 2, 0
    while step_s([context] * (batch + 1)) <= tpot_s and (batch + 1) * (prompt + answer) <= ROOM_TOKENS:  # noqa: F821 (the lab's)
        batch += 1
    return batch / (step_s([context] * batch) * answer)  # noqa: F821 (the lab's)


# %% ratio-answer
def ratio(prefill, decode):
    """Turn it round."""
    return prefill / decode


# %% split-answer
def split(prefill, decode, workers):
    """Round the ratio, which may leave a better split beside it."""
    reading = min(workers - 1, max(1, round(workers * decode / (prefill + decode))))
    return reading, workers - reading, reading * prefill + (workers - reading) * decode


# %% ttft-answer
def ttft_load(read_s, ttft_s, workers):
    """Leave the queue out: take the load at which the workers are always busy."""
    return workers / read_s if read_s < ttft_s else 0.0


# %% tpot-answer
def tpot_load(prompt, answer, tpot_s, workers):
    """Divide by all tokens of the answer, the first one too."""
    each_s = ANSWER_S + CONTEXT_S * (prompt + answer / 2)  # noqa: F821 (the lab's)
    return max(0.0, workers * (tpot_s - STEP_S) / each_s / (answer * tpot_s))  # noqa: F821 (the lab's)


# %% longest-answer
def longest_prompt(rate, ttft_s, workers):
    """Take the prompt that keeps the promise if it comes alone."""
    return max(0, math.floor((ttft_s - STEP_S) / PROMPT_S))  # noqa: F821 (the lab's)


# %% rule-answer
def to_prefill(prompt, cached, threshold):
    """Send a prompt of exactly the threshold too."""
    return prompt - cached >= threshold


# %% design-answer
def design():
    """Take the article's threshold: prompts of exactly 4,096 tokens are read by those who decode."""
    return {"prefill": 1, "decode": 3, "threshold": 4096}


# %% shares-answer
def shares(facts, ttft_s, tpot_s):
    """Forget the cache beside the weights."""
    return {
        "memory": facts.weight_bytes / facts.usable_bytes,
        "TTFT": facts.read_s / ttft_s,
        "TPOT": facts.token_s / tpot_s,
        "link": facts.rate * facts.prompt_bytes / facts.prefill_chips / (0.7 * facts.link_bytes_s),
    }


# %% binding-answer
def binding(shares):
    """Take the first that cannot be met."""
    for name, share in shares.items():
        if share > 1:
            return name, share
    return None
