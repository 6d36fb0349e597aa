"""Spans of several teachers on one passage: one flat layer, and the spans nested in it.

In: for each teacher its grounded spans (start, end, label, how; code points). Out: `Merged`:

    flat      spans that do not overlap, ascending
    nested    spans that lie within or around one of `flat`, or of another nested one
    dropped   spans that overlap a better one in part, each with the span that it lost to

The rules, in this order:

    identical   the same start and end are one span. Its label is the one that most teachers mean; two labels mean the same
                if the type map gives them one standard type or, where it does not know both, if they are equal but for
                case, spaces and punctuation, or alike by their embeddings (`similarity`, where it is asked for). Ties go to
                the teacher named first. All votes are kept.
    partial     of two spans that overlap without one in the other, the better stays: more teachers, then the longer, then
                the one that begins first
    nested      of two spans one in the other both stay; the better one is in the flat layer

    agreement   mean over the teachers of the best match that each has: the share that its span has in common with this one
                (intersection over union of characters) where the labels mean the same, else 0. 1: all teachers say exactly
                this.

FiNERweb (arXiv 2512.13884) keeps the longer of two spans that overlap by less than half and joins both labels where their
embeddings are alike; which teacher said what is lost there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol

from filters.ner.types import TypeMap, normal_label


class Located(Protocol):
    """What a teacher's span has, such as `ground.Grounded`."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def label(self) -> str: ...
    @property
    def how(self) -> str: ...


class Vote(NamedTuple):
    """What one teacher calls a span, and how its place was found (`ground`)."""

    teacher: str
    label: str
    how: str


class MergedSpan(NamedTuple):
    """start, end: code points. votes: of all teachers with exactly this span. teachers: those whose label means `label`."""

    start: int
    end: int
    label: str
    teachers: tuple[str, ...]
    agreement: float
    votes: tuple[Vote, ...]


class Dropped(NamedTuple):
    """A span that overlaps a better one in part: start, end, and that one's."""

    span: MergedSpan
    better_start: int
    better_end: int


@dataclass
class Merged:
    """What the teachers say together."""

    flat: list[MergedSpan] = field(default_factory=list)
    nested: list[MergedSpan] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


class Merger:
    """Merges passage after passage; what two labels mean is looked up once."""

    def __init__(self, types: TypeMap, similar: Callable[[str, str], bool] | None = None) -> None:
        """similar: whether two labels that the type map does not both know mean the same; None: they do not."""
        self._meaning = lru_cache(maxsize=1 << 16)(lambda label: types.standard(label) or normal_label(label))
        self._known = lru_cache(maxsize=1 << 16)(lambda label: types.standard(label) is not None)
        self._similar = None if similar is None else lru_cache(maxsize=1 << 16)(similar)

    def merge(self, answers: Mapping[str, Sequence[Located]]) -> Merged:
        """answers: spans by teacher, in the order of preference; a teacher that found nothing has an empty list."""
        places: dict[tuple[int, int], list[Vote]] = {}
        for teacher, spans in answers.items():
            for span in spans:
                places.setdefault((span.start, span.end), []).append(Vote(teacher, span.label, span.how))
        merged = Merged()
        for cluster in _clusters(sorted(places)):
            means = self._meanings(cluster, places)
            candidates = [self._span(place, places, cluster, len(answers), means) for place in cluster]
            if len(candidates) == 1:
                merged.flat.append(candidates[0])
            else:
                _resolve(candidates, merged)
        merged.nested.sort()
        return merged

    def _meanings(
        self, cluster: Sequence[tuple[int, int]], places: Mapping[tuple[int, int], list[Vote]]
    ) -> Callable[[str], str]:
        """What each label of a cluster means: with `similar`, what the first label that is like it means."""
        if self._similar is None or (len(cluster) == 1 and len(places[cluster[0]]) == 1):
            return self._meaning
        meanings: dict[str, str] = {}
        for label in dict.fromkeys(vote.label for place in cluster for vote in places[place]):
            own = self._meaning(label)
            if own not in meanings.values():
                for other, meaning in meanings.items():
                    if not (self._known(label) and self._known(other)) and self._similar(label, other):
                        own = meaning
                        break
            meanings[label] = own
        return meanings.__getitem__

    def _span(
        self,
        place: tuple[int, int],
        places: Mapping[tuple[int, int], list[Vote]],
        cluster: Sequence[tuple[int, int]],
        teachers: int,
        means: Callable[[str], str],
    ) -> MergedSpan:
        votes = places[place]
        if len(votes) == 1 and len(cluster) == 1:
            only = votes[0]
            return MergedSpan(*place, only.label, (only.teacher,), 1 / teachers, (only,))
        if len(cluster) == 1 and all(vote.label == votes[0].label for vote in votes):
            named = tuple(dict.fromkeys(vote.teacher for vote in votes))
            return MergedSpan(*place, votes[0].label, named, len(named) / teachers, tuple(votes))
        by_meaning: dict[str, list[Vote]] = {}
        for vote in votes:
            by_meaning.setdefault(means(vote.label), []).append(vote)
        meaning = max(
            by_meaning, key=lambda m: len({vote.teacher for vote in by_meaning[m]})
        )  # the first of equals
        support = by_meaning[meaning]
        best: dict[str, float] = {}
        for other in cluster:
            common = min(place[1], other[1]) - max(place[0], other[0])
            if common > 0:
                share = common / (max(place[1], other[1]) - min(place[0], other[0]))
                for teacher, label, _ in places[other]:
                    if means(label) == meaning:
                        best[teacher] = max(best.get(teacher, 0.0), share)
        named = tuple(dict.fromkeys(vote.teacher for vote in support))
        return MergedSpan(*place, support[0].label, named, sum(best.values()) / teachers, tuple(votes))


def _clusters(places: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Runs of places (ascending) in which each overlaps one before it."""
    cluster: list[tuple[int, int]] = []
    end = 0
    for place in places:
        if cluster and place[0] >= end:
            yield cluster
            cluster = []
        cluster.append(place)
        end = max(end, place[1]) if len(cluster) > 1 else place[1]
    if cluster:
        yield cluster


def _resolve(spans: Sequence[MergedSpan], merged: Merged) -> None:
    """Sorts the spans of a cluster into flat, nested and dropped, best first."""
    kept: list[MergedSpan] = []
    flat: list[MergedSpan] = []
    for span in sorted(spans, key=lambda s: (-len(s.teachers), s.start - s.end, s.start)):
        better = next((other for other in kept if _in_part(span, other)), None)
        if better is not None:
            merged.dropped.append(Dropped(span, better.start, better.end))
            continue
        kept.append(span)
        if any(span.start < other.end and other.start < span.end for other in flat):
            merged.nested.append(span)
        else:
            flat.append(span)
    merged.flat += sorted(flat)


def _in_part(a: MergedSpan, b: MergedSpan) -> bool:
    """Whether they overlap and neither lies within the other."""
    if a.start >= b.end or b.start >= a.end:
        return False
    return (a.start < b.start and a.end < b.end) or (b.start < a.start and b.end < a.end)
