"""Speculative decoding that runs: a family of small models of bytes, their text, and an n-gram table beside them."""
