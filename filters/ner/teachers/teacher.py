"""What a teacher says of a passage, and the columns of it.

mentions   list<struct<text: string, label: string, start: int32, end: int32>>   in the order in which it said them;
           start and end, code points, are null where it gives strings; the list is null where it gave no answer
outcome    string   how that came

ok          an answer as it should be
repaired    (language models) an answer that had to be repaired
cut_off     (language models) an answer that ended before it was complete: what was whole of it is kept
malformed   (language models) an answer that no repair makes one
refused     (language models) the server refuses the prompt
no_model    there is no model for the passage's language
too_long    the text is longer than `MOST_CHARACTERS`: it is no passage
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

import pyarrow as pa

from filters.ner.ground import Mention

OK, REPAIRED, CUT_OFF, MALFORMED = "ok", "repaired", "cut_off", "malformed"
REFUSED, NO_MODEL, TOO_LONG = "refused", "no_model", "too_long"
OUTCOMES: Final = (OK, REPAIRED, CUT_OFF, MALFORMED, REFUSED, NO_MODEL, TOO_LONG)

#: A passage of 256 tokens has about 1,300 characters (FiNERweb); models need memory in proportion to a text.
MOST_CHARACTERS: Final = 20_000

MENTION: Final = pa.struct(
    [("text", pa.string()), ("label", pa.string()), ("start", pa.int32()), ("end", pa.int32())]
)
COLUMNS: Final = {"mentions": pa.list_(MENTION), "outcome": pa.string()}


class Said(NamedTuple):
    """Of one passage. mentions: None if there is no answer."""

    mentions: Sequence[Mention] | None
    outcome: str


def columns_of(said: Sequence[Said]) -> dict[str, pa.Array]:
    """The two columns, a row for each."""
    every = [mention for one in said for mention in one.mentions or ()]
    fields = [
        pa.array([mention[i] for mention in every], MENTION.field(i).type) for i in range(MENTION.num_fields)
    ]
    offsets = pa.array([0, *accumulate(len(one.mentions or ()) for one in said)], pa.int32())
    lists = pa.ListArray.from_arrays(
        offsets,
        pa.StructArray.from_arrays(fields, fields=list(MENTION)),
        mask=pa.array([one.mentions is None for one in said], pa.bool_()),
    )
    return {"mentions": lists, "outcome": pa.array([one.outcome for one in said], pa.string())}
