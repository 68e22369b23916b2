"""Speculative decoding that runs: small models of bytes, drafts for them, the loop that decodes, text and n-grams.

Chapter: speculative
"""

from costlab.nn.speculative.cache import RaggedCache
from costlab.nn.speculative.decoding import Generation, conditional_acceptance, generate_texts
from costlab.nn.speculative.drafts import ModelDraft, MTPDraft, NoDraft, TreeDraft
from costlab.nn.speculative.family import Family, load_family
from costlab.nn.speculative.llama import as_llama
from costlab.nn.speculative.lookups import LookupDraft, TableDraft
from costlab.nn.speculative.model import MTP, VOCABULARY, ByteModel, ByteSize
from costlab.nn.speculative.ngram import NGrams
from costlab.nn.speculative.runners import ByteRunner, DecoderRunner, Vocabulary
from costlab.nn.speculative.text import held_out_text, training_text

__all__ = [
    "MTP", "VOCABULARY", "ByteModel", "ByteRunner", "ByteSize", "DecoderRunner", "Family", "Generation", "LookupDraft",
    "MTPDraft", "ModelDraft", "NGrams", "NoDraft", "RaggedCache", "TableDraft", "TreeDraft", "Vocabulary", "as_llama",
    "conditional_acceptance", "generate_texts", "held_out_text", "load_family", "training_text",
]  # fmt: skip
