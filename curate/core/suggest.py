"""Did-you-mean: the candidate that a misspelt word most likely stands for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Words longer than this are not misspellings, and comparing them would take long.
LONGEST = 80


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate nearest to `word`, or None if none is near: "threshold" for "treshold".

    Case does not count. Of `filters.length` the last part counts too. The alphabet settles equal distances.
    """
    if not word or len(word) > LONGEST:
        return None
    wanted = word.casefold()
    forms: dict[str, str] = {}
    for candidate in sorted(candidates, reverse=True):
        forms[candidate.casefold()] = candidate
    for candidate in sorted(set(forms.values()), reverse=True):
        forms.setdefault(candidate.casefold().rpartition(".")[2], candidate)
    if wanted in forms:
        return forms[wanted]
    near = difflib.get_close_matches(wanted, sorted(forms), n=1, cutoff=0.6)
    return forms[near[0]] if near else None


def or_list(words: Iterable[str], limit: int = 12) -> str:
    """`a, b or c`, in the order given and cut after `limit` words."""
    listed = list(words)
    if len(listed) > limit:
        return ", ".join(listed[:limit]) + f" and {len(listed) - limit} more"
    if len(listed) < 2:
        return "".join(listed)
    return ", ".join(listed[:-1]) + " or " + listed[-1]
