"""Bills from the counts in one's own logs: usage records as providers return them.

>>> import io
>>> from costlab.prices import usage
>>> line = b'{"model": "gpt-5.5", "created": 1783152000, "usage": {"prompt_tokens": 117231, "completion_tokens": 225,'
>>> line += b' "prompt_tokens_details": {"cached_tokens": 115584}}}'
>>> float(usage.bill_usage(usage.read_usage(io.BytesIO(line))).total.total)
0.072777

A usage object counts tokens by the convention of its provider (`formats`, told apart by `recognition`); a record adds
which model answered and when (`records`); a log is a file of them (`logs`), whose calls are priced one by one, each at
its own moment (`billing`), and summed up exactly (`totals`). `documents` reads the JSON, `fields` the counts in it.
"""

from costlab.prices.usage.billing import UsageAccount, UsageBill, bill_usage
from costlab.prices.usage.fields import UsageFault, UsageFields
from costlab.prices.usage.formats import USAGE_FORMATS, UsageReading, read_counts
from costlab.prices.usage.logs import UsageLog, read_usage
from costlab.prices.usage.recognition import recognised
from costlab.prices.usage.records import UsageDefaults, UsageRecord, usage_record
from costlab.prices.usage.totals import UsageCell, UsageSum

__all__ = [
    "USAGE_FORMATS", "UsageAccount", "UsageBill", "UsageCell", "UsageDefaults", "UsageFault", "UsageFields", "UsageLog",
    "UsageReading", "UsageRecord", "UsageSum", "bill_usage", "read_counts", "read_usage", "recognised", "usage_record",
]  # fmt: skip
