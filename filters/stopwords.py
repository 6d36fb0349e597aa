"""Stop words: for each language a few of its most frequent function words, which running text hardly avoids.

English has the eight of Gopher (arXiv 2112.11446, appendix A1). The others were written by hand for this
project, from general knowledge of each grammar: articles, conjunctions, prepositions, pronouns, forms of `to
be`. No corpus was counted and no list copied, so nobody else's licence applies. Words stand as the `unicode`
tokens of `curate.core.text` give them (French `l'homme` is one token, so `l'` is not listed; Chinese and
Japanese are single characters) and match in exactly this spelling, lower case. Languages without spaces
between words whose tokens are grapheme clusters (Thai, Lao, Khmer, Burmese) are missing on purpose.
"""

from __future__ import annotations

from typing import Final

_LISTS: Final = {
    "afr_Latn": "die en van is nie het in dat te wat vir sy",
    "als_Latn": "dhe në një të për me që nga është ka",
    "arb_Arab": "في من على إلى أن التي الذي عن هذا مع ما لا",
    "azj_Latn": "və bu bir ilə üçün da də ki o olan",
    "bel_Cyrl": "і ў не на з што да як гэта па",
    "ben_Beng": "এবং ও এই যে না করে থেকে এ তার একটি জন্য",
    "bos_Latn": "i je u na se da za od su s koji",
    "bul_Cyrl": "и на да се в от за не е с че са",
    "cat_Latn": "de la i el que en a per un les amb del",
    "ces_Latn": "a je se na v že to z s do o ve",
    "cmn_Hani": "的 是 不 了 在 有 和 一 人 我 这 他 個 這",
    "cym_Latn": "y yn a i o ar yr mae am ac wedi",
    "dan_Latn": "og i at det er en til på som for af ikke",
    "deu_Latn": "der die und in den von zu das mit ist nicht ein",
    "ekk_Latn": "ja on ei et see ta oli ka mis kui",
    "ell_Grek": "και το να του η της με για που την από",
    "eng_Latn": "the be to of and that have with",
    "eus_Latn": "eta da du bat ez ere zen egin dira izan",
    "fas_Arab": "و در به از که این را با است برای آن",
    "fil_Latn": "ang ng sa na mga at ay ni si hindi",
    "fin_Latn": "ja on ei että se oli hän mutta ovat kun myös",
    "fra_Latn": "de la le et les des en un que est une du pour dans",
    "gle_Latn": "an na agus a ar i is le go sé do",
    "glg_Latn": "de a e o que en do da un para os unha",
    "guj_Gujr": "અને છે આ તે માટે પણ એક કે હતી હતા",
    "heb_Hebr": "של את על לא הוא זה עם היא כי גם או",
    "hin_Deva": "के में है की और से को का पर यह कि हैं",
    "hrv_Latn": "i je u na se da za od su s koji",
    "hun_Latn": "a az és hogy nem is egy meg ez volt de",
    "hye_Armn": "և է որ են մի այս են համար հետ իր",
    "ind_Latn": "yang dan di dengan untuk ini dari dalam itu tidak pada",
    "isl_Latn": "og að í á er sem til um við það en",
    "ita_Latn": "di e che il la in un per non è del con una",
    "jpn_Jpan": "の に は を た が で て と し れ も",
    "kan_Knda": "ಮತ್ತು ಈ ಒಂದು ಆ ಎಂದು ಇದು ಅವರು",
    "kat_Geor": "და არის რომ ეს არ მისი იყო რომელიც",
    "kaz_Cyrl": "және бұл мен бір үшін да де осы",
    "kor_Hang": "이 그 및 수 있는 있다 것이다 등 또한 그리고 대한 위해",
    "lit_Latn": "ir į kad yra su tai iš ne bet kaip",
    "lvs_Latn": "un ir ar no uz par ka kas tika arī",
    "mal_Mlym": "ഒരു ഈ എന്ന ആണ് എന്നാൽ ആ",
    "mar_Deva": "आणि आहे या व हे तो ही की एक आहेत",
    "mkd_Cyrl": "и на во да се за од не со е што",
    "nld_Latn": "de het een en van in is dat op te niet met",
    "nno_Latn": "og i det er ein til på som for av ikkje",
    "nob_Latn": "og i det er en til på som for av ikke",
    "pan_Guru": "ਦੇ ਦੀ ਹੈ ਵਿੱਚ ਅਤੇ ਨੂੰ ਇਸ ਤੋਂ ਨੇ ਦਾ",
    "pol_Latn": "i w na z do nie się że to jest o od",
    "por_Latn": "de a o que e do da em um para não com uma os",
    "ron_Latn": "de și în la a cu un o pe care nu din",
    "rus_Cyrl": "и в не на что с по как это к из для",
    "slk_Latn": "a je sa na v že to z s do o sú",
    "slv_Latn": "in je v na se da za so z ki pa",
    "spa_Latn": "de la que el en y a los un por con no una las",
    "srp_Cyrl": "и је у на се да за од су са који",
    "srp_Latn": "i je u na se da za od su sa koji",
    "swe_Latn": "och i att det är en som på för av inte med",
    "swh_Latn": "ya na wa kwa ni katika la za cha kama",
    "tam_Taml": "ஒரு மற்றும் இந்த என்று அது என இது",
    "tel_Telu": "మరియు ఈ ఒక ఆ అని కూడా ఇది",
    "tur_Latn": "ve bir bu da de için ile olarak çok ne",
    "ukr_Cyrl": "і в не на що з до та як це за у",
    "urd_Arab": "کے میں کی ہے اور سے کا کو اس نے پر",
    "vie_Latn": "và của là có các trong một được cho không với người",
    "zsm_Latn": "yang dan di dengan untuk ini dari dalam itu tidak pada",
}

#: Language → its stop words, in a fixed order without repetitions.
STOP_WORDS: Final[dict[str, tuple[str, ...]]] = {
    language: tuple(dict.fromkeys(words.split())) for language, words in _LISTS.items()
}
