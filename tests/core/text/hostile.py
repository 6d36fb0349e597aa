"""Texts and bytes that break tokenisers, by name. `BYTES` are not all valid UTF-8, `TEXTS` are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

TEXTS = {
    "empty": "",
    "one byte": "a",
    "one space": " ",
    "nuls": "\0\0a\0b\0",
    "controls": "".join(map(chr, range(32))) + "\x7f\x80\x85\x9f",
    "newlines": "\n" * 1000,
    "mixed line endings": "a\nb\rc\r\nd\ve\ff\x1cg\x1dh\x1ei\x85j\u2028k\u2029l\r\r\n\n",
    "separators at the end": "a\u2028",
    "marks only": "\u0301\u0308\u0323" * 50,
    "marks after spaces": " \u0301 \u0308a\u0301 \u200d \u00ad x",
    "format characters": "\u200e\u200f\ufeff\u2060שלום\u200f ab\u00adcd \u200b\u200c",
    "emoji": "👨‍👩‍👧‍👦👍🏽🏳️‍🌈❤️‍🔥🇩🇪🇫🇷🇩🤦🏼‍♂️ 1️⃣#️⃣ 🏴\U000e0067\U000e0062\U000e007f",
    "right to left": "שלום, צה\"ל ג'ירפה. مرحبا بالعالم ۱۲۳ می‌خواهم \u202eabc\u202c",
    "east asian": "日本語のテキスト、カタカナー。你好世界！𠀀𠀁 ｶﾞｷﾞ 〇々〻",
    "southeast asian": "สวัสดีครับ น้ำ ພາສາລາວ ខ្មែរ မြန်မာ",
    "hangul": "안녕하세요 세계 ㄱㄴ 각",
    "indic": "नमस्ते दुनिया क्षत्रिय வணக்கம் తెలుగు",
    "mids": "can't can’t e.g. 3.14 1,000 a.b.c a..b .a a. '' 'a' a:b 1:2 a,b 1.a a.1 ½ x² _a_b_ __ a'\u0301b",
    "runs": "... .... …… ----- -- ===== ***** # ## ### !?!? //",
    "noncharacters": "\ufffe\uffff\U0001ffff\U0010ffff\ufffd\ue000\U00050000",
    "long word": "a" * 100_000,
    "long marks": "a" + "\u0301" * 100_000,
    "zalgo": "Z̷̡̛a̴͉͝l̶̟̇g̷̱̈o̸̤̓",
    "no spaces": ",".join("abc" for _ in range(1000)),
}

BYTES = {
    **{name: text.encode() for name, text in TEXTS.items()},
    **{f"byte {byte:#04x}": bytes([byte]) for byte in range(0x80, 0x100)},
    **{f"byte {byte:#04x} in a word": b"ab" + bytes([byte]) + b"cd" for byte in range(0x80, 0x100)},
    "truncated two": b"abc\xc3",
    "truncated three": b"abc\xe2\x80",
    "truncated four": b"abc\xf0\x9f\x91",
    "truncated mark": b"a.\xcc",
    "truncated before letter": b"\xe2\x80a\xf0\x9fb\xc3c",
    "overlong slash": b"\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf",
    "overlong newline": b"a\xc0\x8ab\xe0\x80\x8ac",
    "surrogates": b"\xed\xa0\x80\xed\xb0\x80\xed\xbf\xbf",
    "beyond unicode": b"\xf4\x90\x80\x80\xf7\xbf\xbf\xbf\xff\xfe",
    "continuations": b"\x80\xbf" * 100,
    "leads": b"\xc3\xe2\xf0" * 100,
    "repeated lead": b"\xc3\xc3\xc3\xa9",
    "every byte": bytes(range(256)),
    "every byte backwards": bytes(range(255, -1, -1)),
    "random": np.random.default_rng(1).integers(0, 256, 20_000, np.uint8).tobytes(),
    "random high": np.random.default_rng(2).integers(0x80, 0x100, 20_000, np.uint8).tobytes(),
}


def arrow(texts: list[bytes]) -> pa.StringArray:
    """A string array of any bytes, valid or not, whose data buffer ends with the last text."""
    ends = np.cumsum([0, *map(len, texts)]).astype(np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(ends), pa.py_buffer(b"".join(texts)))
