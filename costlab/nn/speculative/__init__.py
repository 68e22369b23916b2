"""Speculative decoding that runs: small models of bytes, the text that they learn from, and a table of n-grams."""

from costlab.nn.speculative.cache import RaggedCache
from costlab.nn.speculative.family import Family, load_family
from costlab.nn.speculative.llama import as_llama
from costlab.nn.speculative.model import MTP, VOCABULARY, ByteModel, ByteSize
from costlab.nn.speculative.ngram import NGrams
from costlab.nn.speculative.text import held_out_text, training_text

__all__ = [
    "MTP",
    "VOCABULARY",
    "ByteModel",
    "ByteSize",
    "Family",
    "NGrams",
    "RaggedCache",
    "as_llama",
    "held_out_text",
    "load_family",
    "training_text",
]
