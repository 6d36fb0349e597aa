"""The tiny named corpus of the tests, and made-up shards of any size.

`DOCUMENTS` has a dozen documents: a near pair, an exact pair, four scripts, and bytes that break tools. Each is named
after what it is there for. `rows(seed, count)` makes rows of four languages that are long enough to be identified and to
pass quality filters, short ones and empty ones among them; equal arguments give equal rows on every machine.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

_HARBOUR = (
    "The old harbour was built before anyone in the village could remember, and the stones of its wall are still "
    "warm in the evening. When the boats come back, the children run down to count the baskets, and they argue "
    "about who has seen the largest fish. Nobody writes these numbers down, but everybody knows them, and in winter "
    "they are told again as stories that grow a little with every year that goes by."
)
_GERMAN = (
    "Der Garten hinter der Schule gehört niemandem, und deshalb kümmern sich alle um ihn. Im Frühling graben die "
    "Kinder kleine Beete, in denen später Bohnen und Kürbisse wachsen, und im Herbst kochen sie mit den Nachbarn "
    "eine Suppe. Wer zum ersten Mal kommt, bringt einen Löffel mit und bleibt meistens länger, als er wollte."
)
_RUSSIAN = (
    "Зимой река замерзает так крепко, что по льду ездят на санях до самой мельницы. Старый мельник встречает гостей "
    "горячим чаем и рассказывает, как раньше здесь шумела вода и как мука летела по всему дому. Дети слушают его "
    "молча, а потом просят рассказать ещё раз, потому что каждый раз он вспоминает что-нибудь новое."
)
_CHINESE = (
    "村子后面有一座小山,山上种满了茶树。每年春天,村里的人一起上山采茶,孩子们跟在后面唱歌。"
    "老人说,今年的雨水很好,茶叶的味道一定比去年更香。晚上大家坐在院子里喝新茶,谈论收成和远方的亲人。"
)
_ARABIC = (
    "في كل صباح يفتح الخباز باب دكانه قبل أن تشرق الشمس، وتصل رائحة الخبز إلى آخر الشارع. يقف الأطفال أمام الباب وهم "
    "ينتظرون أول رغيف، ويضحك الخباز ويعطي كل واحد منهم قطعة صغيرة. وفي المساء يجلس مع جيرانه ويحكي لهم عن يومه الطويل."
)

#: Name → bytes. Not all of them are UTF-8; `TEXTS` has those that are.
DOCUMENTS: Final[Mapping[str, bytes]] = {
    "near one": _HARBOUR.encode(),
    "near two": _HARBOUR.replace("a little with every year", "somewhat with each year").encode(),
    "exact one": _GERMAN.encode(),
    "exact two": _GERMAN.encode(),
    "cyrillic": _RUSSIAN.encode(),
    "han": _CHINESE.encode(),
    "arabic": _ARABIC.encode(),
    "nul": f"{_HARBOUR[:200]}\0\0{_HARBOUR[200:]}".encode(),
    "blank": " \t\n\u3000\u2028".encode(),
    "empty": b"",
    "controls and emoji": ("\x01\x7f\u0085 👩‍👩‍👧 e\u0301\u0301 \u202eabc\u202c \ufffe " * 8).encode(),
    "not utf-8": _GERMAN.encode("latin-1"),
}
TEXTS: Final[Mapping[str, str]] = {
    name: data.decode() for name, data in DOCUMENTS.items() if name != "not utf-8"
}

_WORDS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]] = {
    "eng_Latn": (
        ("The gardener", "An old sailor", "My neighbour", "The young teacher", "Her brother", "That baker"),
        ("looked for", "wrote about", "talked to the people of", "was proud of", "had never seen", "went back to"),
        ("the long wooden bridge.", "a quiet street with green doors.", "the market and its hundred smells.",
         "the small house on the hill.", "a letter that nobody had opened.", "the winter of that year."),
    ),
    "deu_Latn": (
        ("Die Gärtnerin", "Ein alter Seemann", "Mein Nachbar", "Die junge Lehrerin", "Ihr Bruder", "Der Bäcker"),
        ("suchte noch immer", "schrieb lange über", "erzählte allen von", "freute sich auf", "sah nie wieder",
         "dachte oft an"),
        ("die lange Brücke aus Holz.", "eine stille Straße mit grünen Türen.", "das Haus auf dem kleinen Hügel.",
         "die Briefe, die niemand geöffnet hatte.", "den Winter in jenem Jahr.", "das Licht in der Küche."),
    ),
    "rus_Cyrl": (
        ("Садовник", "Старый моряк", "Мой сосед", "Молодая учительница", "Её брат", "Пекарь из деревни"),
        ("долго искал", "часто вспоминал", "никогда не видел", "написал про", "любил", "показал детям"),
        ("длинный деревянный мост.", "тихую улицу с зелёными дверями.", "маленький дом на холме.",
         "письмо, которое никто не открыл.", "зиму того далёкого года.", "рынок и его запахи."),
    ),
    "arb_Arab": (
        ("البستاني", "بحار عجوز", "جاري القديم", "المعلمة الشابة", "أخوها الصغير", "خباز القرية"),
        ("كان يبحث عن", "كتب كثيرا عن", "تحدث مع الناس عن", "لم ينس", "عاد مرة أخرى إلى", "كان يحب"),
        ("الجسر الخشبي الطويل.", "الشارع الهادئ ذي الأبواب الخضراء.", "البيت الصغير فوق التل.",
         "الرسالة التي لم يفتحها أحد.", "شتاء تلك السنة.", "السوق وروائحه."),
    ),
}  # fmt: skip

Row = dict[str, Any]


def made_text(random_: random.Random, language: str) -> str:
    """A few paragraphs, now and then nothing or a few words only."""
    subjects, verbs, objects = _WORDS[language]
    sentences = random_.choices((0, 1, random_.randint(8, 40)), (1, 3, 30))[0]
    words = (
        f"{random_.choice(subjects)} {random_.choice(verbs)} {random_.choice(objects)}"
        for _ in range(sentences)
    )
    return "".join(word + ("\n" if number % 5 == 4 else " ") for number, word in enumerate(words)).strip()


def rows(seed: str, count: int) -> list[Row]:
    """`id text kind n` of made-up documents; ids are distinct for distinct seeds."""
    random_ = random.Random(seed)
    kinds = random_.choices(list(_WORDS), (8, 4, 2, 1), k=count)
    return [
        {"id": f"{seed}-{n}", "text": made_text(random_, kind), "kind": kind, "n": n}
        for n, kind in enumerate(kinds)
    ]


_SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string()), ("kind", pa.string()), ("n", pa.int64())])


def write_parquet(path: Path, documents: Iterable[Row], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:  # Arrow opens only names that are UTF-8
        pq.write_table(pa.Table.from_pylist(list(documents), _SCHEMA), file, **options)
    return path


def write_jsonl(path: Path, documents: Iterable[Row], *, broken: int = 0) -> Path:
    """broken: how many lines that are no JSON stand among the records."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(document, ensure_ascii=False) for document in documents]
    for number in range(broken):
        lines.insert(len(lines) * number // broken, '{"id": "broken", "text": "no end')
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def uneven_sizes(seed: int, count: int, most: int) -> list[int]:
    """Row counts of very different sizes: some 0, many below 10, a few up to `most`."""
    random_ = random.Random(seed)
    sizes = [min(most, int(random_.paretovariate(0.6))) if number % 9 else 0 for number in range(count)]
    return [most, *sizes[1:]]
