"""The cleaning that OpenLID models were trained with, over a column of texts.

As its model card has it: trim, newlines to spaces, lower case, runs of white space to one space, then drop
digits and everything that is neither a word character (UTS #18) nor a space. Arrow's lower case differs from
Python's in a few letters that change length (`İ`) or depend on context (final sigma); fastText sees other
subwords of those words only.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

#: Two or more of what Unicode calls white space (RE2's \s is ASCII only).
_SPACES: Final = r"[\x{85}\s\v\p{Z}]{2,}"

#: Not alphabetic (letters, letter numbers, circled letters), a mark, a connector, a joiner or a space; digits
#: too.
_NO_WORD: Final = (
    r"[^\p{L}\p{Nl}\p{M}\p{Pc}\p{Zs}\x{200c}\x{200d}\x{24b6}-\x{24e9}"
    r"\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189}]"
)


def clean(text: pa.StringArray) -> pa.StringArray:
    """The texts as OpenLID saw its training data, row for row."""
    text = pc.replace_substring(pc.utf8_trim_whitespace(text), "\n", " ")
    text = pc.replace_substring_regex(pc.utf8_lower(text), _SPACES, " ")
    return pc.replace_substring_regex(text, _NO_WORD, "")
