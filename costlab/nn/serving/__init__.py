"""Running models as a server runs them.

Prefixes kept and loaded (`prefix`), prefill timed (`speed`), an engine of several processes with prefill and decode in
one or in two of them (`engine`), and both layouts measured under one load (`compare`).
"""
