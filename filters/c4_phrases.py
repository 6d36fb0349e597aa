"""The phrases that C4's rules look for in lines.

`lorem ipsum`, `javascript`, `{`, and about policies: `terms of use`, `privacy policy`, `cookie policy`, `uses cookies`,
`use of cookies`, `use cookies`. They are looked for in the line's lower case. Outside ASCII only U+212A (the kelvin sign)
has a letter of ASCII for its lower case; U+0130 becomes `i` and a combining dot, which ends every phrase it could be in.

64 bytes at a time are looked through for three letters of each phrase that rarely stand together: `vac` of `privacy`, `coo`
of `cookie` (`phrase_marks`). Only lines that have them are looked at byte by byte: one look at each tells whether a phrase
may be around it, by a rare letter of each, the v of `privacy`, the k of `cookie`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from curate.core.text.blocks import BLOCK
from curate.core.text.memory import inlined, view_uint8

_LOREM_IPSUM: Final = np.frombuffer(b"lorem ipsum", np.uint8)
_JAVASCRIPT_WORD: Final = np.frombuffer(b"javascript", np.uint8)
_TERMS: Final = np.frombuffer(b"terms of use", np.uint8)
_PRIVACY: Final = np.frombuffer(b"privacy policy", np.uint8)
_COO: Final = np.frombuffer(b"coo", np.uint8)
_IE: Final = np.frombuffer(b"ie", np.uint8)
_IES: Final = np.frombuffer(b"ies", np.uint8)
_IE_POLICY: Final = np.frombuffer(b"ie policy", np.uint8)
_USES: Final = np.frombuffer(b"uses ", np.uint8)
_USE_OF: Final = np.frombuffer(b"use of ", np.uint8)
_USE: Final = np.frombuffer(b"use ", np.uint8)


def _pivots() -> npt.NDArray[np.uint8]:
    """uint8[256]: 1 for bytes around which a phrase may stand; they are rare letters of the phrases."""
    table = np.zeros(256, np.uint8)
    table[list(b"{jJpPfFvVkK\xe2")] = 1
    return table


_PIVOTS: Final = _pivots()


#: Letters of each phrase: where none of these stand together, in any case, there is no phrase. None holds a k.
_TRIPLES: Final = (b"jav", b"psu", b"f u", b"vac", b"coo")
#: Bytes behind a block of 64 that `phrase_marks` reads.
BEHIND: Final = 2


@intrinsic  # type: ignore[untyped-decorator,unused-ignore]
def phrase_marks(typing_context: Any, address: Any) -> Any:
    """A bit for each of the 64 uint8 at an address: whether it is `{` or one of the triples begins there.

    64 + BEHIND bytes at the address must be readable. Setting bit 5 makes a small letter of a capital one, and of nothing
    else a letter; `f u` is found in a few bytes more that stand for no space, which costs a second look.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        many = ir.VectorType(ir.IntType(8), BLOCK)

        def constant(byte: int) -> Any:
            return ir.Constant(many, [byte] * BLOCK)

        plain, lower = [], []
        for behind in range(BEHIND + 1):
            place = builder.add(arguments[0], ir.IntType(64)(behind))
            plain.append(builder.load(builder.inttoptr(place, many.as_pointer()), align=1))
            lower.append(builder.or_(plain[-1], constant(0x20)))
        found = builder.icmp_unsigned("==", plain[0], constant(0x7B))
        for triple in _TRIPLES:
            here = [
                builder.icmp_unsigned("==", part, constant(byte))
                for part, byte in zip(lower, triple, strict=True)
            ]
            found = builder.or_(found, builder.and_(builder.and_(here[0], here[1]), here[2]))
        return builder.bitcast(found, ir.IntType(BLOCK))

    return types.uint64(types.int64), generate


@inlined
def find_phrases(address, length):  # type: ignore[no-untyped-def]  # numba infers
    """Whether `length` bytes at an address have (lorem ipsum, javascript, a curly bracket, a policy phrase)."""
    line = view_uint8(address, length)
    lorem, script, curly, policy = False, False, False, False
    for k in range(length):
        if not _PIVOTS[line[k]]:
            continue
        byte = line[k] | 0x20
        if byte == 0x7B:
            curly |= line[k] == 0x7B
        elif byte == 0x6A:
            script |= _stands(line, k, _JAVASCRIPT_WORD)
        elif byte == 0x70:
            lorem |= _stands(line, k - 7, _LOREM_IPSUM)
        elif byte == 0x66:
            policy |= _stands(line, k - 7, _TERMS)
        elif byte == 0x76:
            policy |= _stands(line, k - 3, _PRIVACY)
        else:
            after = k + 1
            if byte != 0x6B:  # U+212A
                if k + 2 >= length or line[k + 1] != 0x84 or line[k + 2] != 0xAA:
                    continue
                after = k + 3
            if _stands(line, k - 3, _COO) and _stands(line, after, _IE):
                policy |= _stands(line, after, _IE_POLICY) or (
                    _stands(line, after, _IES)
                    and (
                        _stands(line, k - 8, _USES)
                        or _stands(line, k - 10, _USE_OF)
                        or _stands(line, k - 7, _USE)
                    )
                )
    return lorem, script, curly, policy


@inlined
def _stands(line, at, phrase):  # type: ignore[no-untyped-def]  # numba infers
    """Whether a phrase in lower case stands at that place of a line of any case."""
    if at < 0 or at + phrase.size > line.size:
        return False
    for k in range(phrase.size):
        byte = line[at + k]
        if 0x41 <= byte <= 0x5A:
            byte += 0x20
        if byte != phrase[k]:
            return False
    return True
