"""Hypothesis strategies for JSON values, and for events whose content is anything at all."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

MAX_INTEGER = 2**53 - 1

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
canonical_scalars = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | texts
legacy_scalars = canonical_scalars | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1)


def _nested(scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        scalars, lambda below: st.lists(below, max_size=4) | st.dictionaries(texts, below, max_size=4), max_leaves=12
    )


canonical_values = _nested(canonical_scalars)
legacy_values = _nested(legacy_scalars)
canonical_objects = st.dictionaries(texts, canonical_values, max_size=5)
legacy_objects = st.dictionaries(texts, legacy_values, max_size=5)
