"""Traces: what a server was asked, as requests in order of time, read row by row.

A trace names no words. It names blocks: the prompt is cut every `block_tokens` tokens, and a block's id stands for its
tokens and all before them, so that two prompts share a prefix as far as their ids agree. Six formats are read:

- `mooncake`: JSON lines with timestamp (ms), input_length, output_length, hash_ids of 512-token blocks; a session_id
  if you like, and then later turns may have a delay (ms after the turn before came) instead of a timestamp;
- `bailian`: JSON lines with chat_id, parent_chat_id, timestamp (s), lengths, type, turn, hash_ids of 16-token blocks;
- `csv`: CSV with time_s, input_tokens, output_tokens and, if you like, blocks (ids with a space between them; may be
  empty) and session;
- `azure`: CSV with TIMESTAMP, ContextTokens, GeneratedTokens;
- `burstgpt`: CSV with Timestamp (s), Request tokens, Response tokens and, if you like, Session ID;
- `vidur`: CSV with arrived_at (s), num_prefill_tokens, num_decode_tokens.

The last three carry lengths only, as do the others where ids are missing: nothing in them can hit.

A row that does not fit is an error that names file, line and column, or is skipped and counted. Ids that are not
chained, so that one stands behind different ones, are counted: hits are then an upper bound. `generators` makes
traces of chats, agents and questions about documents.

Chapter: cache
"""

from costlab.traces.files import read
from costlab.traces.formats import FORMATS
from costlab.traces.generators import CHAT, SHAPES, Shape, generate, sessions
from costlab.traces.requests import Found, Noted, Request, RequestSource, Trace, TraceError
from costlab.traces.writing import replacing, write

__all__ = [
    "CHAT", "FORMATS", "SHAPES", "Found", "Noted", "Request", "RequestSource", "Shape", "Trace", "TraceError",
    "generate", "read", "replacing", "sessions", "write",
]  # fmt: skip
