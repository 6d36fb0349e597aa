# ruff: noqa: E501 - one line of a document is one line here
"""Bad documents written by hand: what a web crawl brings along, one kind of trouble each.

`HANDMADE` is a list of `{"id", "text", "note"}`; `text` may be null, `note` says what is wrong. Ids are
`handmade/NN-kind`, numbered in the order below, so add at the end. All people, shops and numbers are invented.
Invisible and control characters are written as escapes. Licence of the texts: CC0-1.0.
"""

import base64
import hashlib


def _letters(seed: str, count: int, alphabet: str) -> str:
    """`count` letters that look random and are the same every time."""
    digits = hashlib.shake_256(seed.encode()).digest(count)
    return "".join(alphabet[digit % len(alphabet)] for digit in digits)


def _number_table() -> str:
    rows = (" ".join(str((row * 7919 + col * 104729) % 9973 / 10) for col in range(8)) for row in range(30))
    return "\n".join(rows)


def _phone_directory() -> str:
    names = [
        "Abel",
        "Brandt",
        "Castro",
        "Dahl",
        "Eriksen",
        "Fabre",
        "Gruber",
        "Holm",
        "Ivanova",
        "Jansen",
        "Kovac",
        "Lindqvist",
        "Moreau",
        "Novak",
        "Ortiz",
    ]
    return "\n".join(
        f"{name}, {name[0]}. .......... 555-{100 + 7 * number:04}" for number, name in enumerate(names * 2)
    )


LOREM = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore"
    " magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco laboris nisi ut aliquip ex ea commodo"
    " consequat."
)
GARDEN = (
    "The garden behind the library opens at eight. Volunteers water the beds before the heat comes, and by noon the"
    " benches under the lime trees are full of people reading."
)
MOJIBAKE_DE = (
    "Die schöne Straße führt über die Brücke zum Bäcker. Früher saßen dort Männer und Frauen und erzählten."
)
MOJIBAKE_RU = "Поезд отходит ранним утром, и на вокзале ещё темно. Дежурный зажигает лампу и открывает кассу."
ASCII_CAT = r"""
   /\_/\        /\_/\        /\_/\
  ( o.o )      ( -.- )      ( ^.^ )
   > ^ <        > ^ <        > ^ <
  /|   |\      /|   |\      /|   |\
 (_|   |_)    (_|   |_)    (_|   |_)
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
=======================================
"""
CODE = """
#include <stdio.h>
static int f(int *a, int n) { int s = 0; for (int i = 0; i < n; ++i) { s += a[i] << (i & 3); } return s; }
int main(void) { int a[] = {1, 2, 3, 5, 8, 13}; printf("%d\\n", f(a, sizeof a / sizeof *a)); return 0; }
/* } else if (p->next != NULL && (p->flags & 0x0F)) { p = p->next; } */
for (;;) { if (!(x ^= y)) break; y = (y >> 1) ^ (-(y & 1u) & 0xD0000001u); }
"""
MINIFIED = (
    "!function(e,t){var n={};function r(o){if(n[o])return n[o].exports;var i=n[o]={i:o,l:!1,exports:{}};return"
    " e[o].call(i.exports,i,i.exports,r),i.l=!0,i.exports}r.m=e,r.c=n,r.d=function(e,t,n){r.o(e,t)||Object"
    ".defineProperty(e,t,{enumerable:!0,get:n})}}([function(e,t){e.exports=window}]);"
)
HTML_LEFT = (
    '<div class="col-md-4"><ul class="nav"><li><a href="#">Home</a></li><li><a href="#">Shop</a></li></ul></div>\n'
    '<div class="footer"><p>&copy; 2019 &nbsp;|&nbsp; <a href="#">Terms</a> &amp; <a href="#">Privacy</a></p></div>'
)

_BAD: list[tuple[str, str | None, str]] = [
    (
        "navigation-en",
        "Home\nAbout us\nProducts\nServices\nBlog\nContact\nLogin\nRegister\nMy account\nCart (0)\nWishlist\nSearch\nMenu\n"
        "Close\nBack to top\nShare\nTweet\nPin it\nPrint\nNext\nPrevious\n1\n2\n3\n...\n47\nSitemap\nTerms\nPrivacy",
        "navigation of an English shop and nothing else",
    ),
    (
        "navigation-de",
        "Startseite\nÜber uns\nProdukte\nLeistungen\nAktuelles\nKontakt\nAnmelden\nRegistrieren\nWarenkorb (0)\nMerkliste\n"
        "Suche\nMenü\nSchließen\nNach oben\nTeilen\nDrucken\nWeiter\nZurück\nImpressum\nDatenschutz\nAGB",
        "navigation of a German shop",
    ),
    (
        "navigation-ja",
        "ホーム\n会社概要\n製品情報\nお知らせ\nお問い合わせ\nログイン\n会員登録\nカート\n検索\nメニュー\n閉じる\nページの先頭へ\n"
        "次へ\n前へ\n利用規約\nプライバシーポリシー\nサイトマップ",
        "navigation of a Japanese company site",
    ),
    (
        "cookies-en",
        "We value your privacy. We and our 814 partners store and/or access information on a device, such as cookies.\n"
        "You can accept or reject all cookies, or change your choices at any time in the cookie settings.\n"
        "Accept all\nReject all\nManage options\nStrictly necessary cookies\nAlways active\nPerformance cookies\n"
        "Targeting cookies\nSave and close",
        "cookie banner in English",
    ),
    (
        "cookies-fr",
        "Nous respectons votre vie privée. Ce site utilise des cookies pour améliorer votre expérience.\n"
        "Vous pouvez accepter ou refuser les cookies à tout moment.\nTout accepter\nTout refuser\n"
        "Personnaliser mes choix\nCookies strictement nécessaires\nToujours actif\nEnregistrer et fermer",
        "cookie banner in French",
    ),
    (
        "cookies-pl",
        "Szanujemy Twoją prywatność. Ta strona używa plików cookie, aby działać lepiej.\nAkceptuj wszystkie\n"
        "Odrzuć wszystkie\nUstawienia plików cookie\nNiezbędne pliki cookie\nZawsze aktywne\nZapisz i zamknij",
        "cookie banner in Polish",
    ),
    (
        "seo-spam-en",
        "Looking for the best cheap flights? Our best cheap flights are the best cheap flights you can find. Book best"
        " cheap flights today and save on best cheap flights! Customers love our best cheap flights because best cheap"
        " flights make travel easy. Do not miss these best cheap flights. Click here for best cheap flights now!",
        "search spam: one phrase in every sentence",
    ),
    (
        "seo-spam-es",
        "¿Buscas comprar zapatos baratos online? Comprar zapatos baratos online nunca fue tan fácil. En nuestra tienda de"
        " zapatos baratos online puedes comprar zapatos baratos online con envío gratis. ¡Compra ya zapatos baratos"
        " online y ahorra en zapatos baratos online!",
        "search spam in Spanish",
    ),
    (
        "keywords",
        ", ".join(
            f"{kind} {thing} {place}"
            for place in ("berlin", "london", "madrid")
            for thing in ("plumber", "locksmith", "dentist", "taxi")
            for kind in ("cheap", "emergency", "best", "24h")
        ),
        "keyword stuffing: a list of search terms",
    ),
    (
        "casino",
        "WIN BIG!!! casino bonus >>> free spins <<< slots online NO DEPOSIT!!! jackpot $$$ click here >>> casino bonus"
        " >>> free spins <<< slots online NO DEPOSIT!!! poker roulette blackjack $$$ join now >>> 100% bonus!!!",
        "gambling spam in capitals and symbols",
    ),
    (
        "gibberish-latin",
        " ".join(_letters(f"word{n}", 3 + n % 9, "bcdfghjklmnpqrstvwxz") for n in range(120)),
        "consonants only",
    ),
    (
        "gibberish-keyboard",
        "asdf jkl; asdfasdf qwer qwerty uiop zxcv zxcvbnm asdf ;lkj fdsa rewq poiu lkjh mnbv asdfgh jkl asdf asdf qwe asd zxc"
        " rty fgh vbn uio jkl qaz wsx edc rfv tgb yhn ujm asdf test test asdf",
        "keys struck at random",
    ),
    (
        "gibberish-cyrillic",
        " ".join(_letters(f"слово{n}", 2 + n % 8, "бвгджзклмнпрстфхцчшщъь") for n in range(90)),
        "Cyrillic gibberish",
    ),
    (
        "gibberish-han",
        _letters(
            "han", 250, "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生"
        ),
        "Han characters in no order",
    ),
    ("lorem-ipsum", "\n".join([LOREM] * 4), "placeholder text"),
    (
        "lorem-and-shop",
        f"Spring offers\nBlue chair\n49.00\nAdd to cart\n{LOREM}\nGreen lamp\n19.50\nAdd to cart\n{LOREM}",
        "shop template with the placeholder left in",
    ),
    (
        "mixed-languages",
        "The meeting starts at nine. Die Sitzung beginnt um neun Uhr. La réunion commence à neuf heures. Собрание"
        " начинается в девять часов. 会議は九時に始まります。 يبدأ الاجتماع في التاسعة. La reunión empieza a las nueve."
        " Η συνάντηση αρχίζει στις εννέα. Toplantı dokuzda başlıyor. 회의는 아홉 시에 시작합니다.",
        "one sentence in ten languages",
    ),
    (
        "half-translated",
        "Willkommen bei den Einstellungen. Please choose a folder for your backups. Danach klicken Sie auf Weiter. The"
        " program will now copy all files. Dies kann einige Minuten dauern. Do not switch off the computer. Zum Schluss"
        " erscheint eine Meldung. If an error occurs, see the log file.",
        "every second sentence left untranslated",
    ),
    (
        "machine-salad",
        "Of the which machine the washing is to the being of the putted, so that it the water is not of the outgoing."
        " Please to press for the begin of the to wash the button of green the, until makes it the noise of the finish."
        " With the not open the door while is of the turning, else comes the wet in the room of yours.",
        "word-by-word machine translation",
    ),
    (
        "machine-salad-fr",
        "S'il vous plaît de lire le soigneux de cette avant de l'usage. Le bouton de pouvoir il est à presser le long"
        " pour le allumé. Ne pas mettre dans la eau le appareil pour que il est cassé de cela et le électrique vous choque.",
        "machine translation into French",
    ),
    (
        "repeated-line",
        "\n".join(["Subscribe to our newsletter for weekly updates."] * 40),
        "one line forty times",
    ),
    ("repeated-word", "buy " * 300, "one word three hundred times"),
    ("repeated-paragraph", "\n\n".join([GARDEN] * 8), "one good paragraph eight times"),
    (
        "repeated-ru",
        "\n".join(["Читать далее", "Комментарии отключены"] * 25),
        "two lines of a Russian blog theme",
    ),
    (
        "hashtags",
        " ".join(
            f"#{tag}"
            for tag in [
                "love",
                "instagood",
                "photo",
                "travel",
                "happy",
                "sunset",
                "food",
                "fitness",
                "style",
                "nature",
            ]
            * 8
        ),
        "hash tags",
    ),
    (
        "symbols",
        "@@@ ### $$$ %%% ^^^ &&& *** ((( ))) ___ +++ === {{{ }}} ||| \\\\\\ ::: ;;; <<< >>> ??? /// ~~~ " * 8,
        "symbols only",
    ),
    (
        "ellipses",
        "\n".join(
            f"{start} ..."
            for start in (
                "The mayor said on",
                "Scientists have found a",
                "You will not believe",
                "Five ways to",
            )
            * 8
        ),
        "teasers, each line cut off with an ellipsis",
    ),
    (
        "ellipses-it",
        "\n".join(
            f"{start}…"
            for start in ("Il sindaco ha detto", "Ecco perché", "La ricetta che", "Non crederai a") * 7
        ),
        "Italian teasers cut off",
    ),
    (
        "bullets",
        "\n".join(
            f"• {item}"
            for item in [
                "red",
                "green",
                "blue",
                "small",
                "medium",
                "large",
                "cotton",
                "wool",
                "silk",
                "linen",
            ]
            * 3
        ),
        "bullets only",
    ),
    ("code-c", CODE * 3, "C source"),
    ("code-minified", MINIFIED * 3, "minified JavaScript"),
    ("code-html", HTML_LEFT * 4, "HTML that was never taken apart"),
    ("numbers", _number_table(), "a table of numbers"),
    ("base64", base64.b64encode(hashlib.shake_256(b"sample").digest(1200)).decode(), "base64, no spaces"),
    (
        "hexdump",
        "\n".join(f"{16 * n:08x}  " + hashlib.md5(bytes([n])).hexdigest() for n in range(40)),
        "hex dump",
    ),
    ("ascii-art", ASCII_CAT, "ASCII art"),
    ("emoji", "😀 🎉 🔥 💯 🚀 ❤️ 👍 🙏 😂 🤣 😍 🥳 ✨ 🌈 🍕 ⚽ 🎵 📷 🐱 🐶 " * 6, "emoji only"),
    ("empty", "", "no text"),
    ("whitespace", " \t\n\n   \u00a0\u3000 \n\t ", "white space only"),
    ("null", None, "text is null"),
    ("long-word", "a" * 5000, "one word of 5,000 letters"),
    ("long-line", _letters("line", 20_000, "abcdefghijklmnop,.-"), "20,000 characters without a space"),
    (
        "all-capitals",
        GARDEN.upper() + " " + "CALL NOW AND ASK FOR OUR SPECIAL OFFER. " * 6,
        "all in capitals",
    ),
    (
        "mojibake-latin1",
        (MOJIBAKE_DE.encode().decode("cp1252") + " ") * 4,
        "German UTF-8 read as Windows-1252",
    ),
    (
        "mojibake-cyrillic",
        (MOJIBAKE_RU.encode("cp1251").decode("latin-1") + " ") * 4,
        "Windows-1251 Russian read as Latin-1",
    ),
    (
        "mojibake-twice",
        MOJIBAKE_DE.encode().decode("latin-1").encode().decode("latin-1") * 3,
        "wrong encoding, twice",
    ),
    ("replacement", GARDEN.replace("e", "\ufffd") * 2, "every e lost to U+FFFD"),
    ("zero-width", "\u200b".join(GARDEN) + "\ufeff\u2060", "a zero-width space after every letter"),
    ("soft-hyphens", GARDEN.replace("a", "a\u00ad").replace("e", "e\u00ad") * 2, "soft hyphens inside words"),
    (
        "bidi-overrides",
        "\u202e" + GARDEN + "\u202c \u2066" + GARDEN + "\u2069",
        "bidirectional override characters",
    ),
    (
        "control",
        GARDEN.replace(" ", "\u0000") + "\u0007\u0008\u001b[31m" + GARDEN + "\u001b[0m",
        "NUL, bell and escape sequences",
    ),
    ("homoglyphs", GARDEN.translate(str.maketrans("aeopc", "аеорс")), "Latin text with Cyrillic look-alikes"),
    (
        "combining",
        "".join(f"{char}\u0300\u0323\u0336\u0489" for char in GARDEN),
        "marks stacked on every letter",
    ),
    (
        "prices",
        "\n".join(
            f"Article {1000 + 13 * n}\tin stock\t{n * 7 % 90 + 4},{n * 37 % 100:02} EUR\tAdd to cart"
            for n in range(35)
        ),
        "price list",
    ),
    ("phone-directory", _phone_directory(), "telephone directory with invented numbers"),
    (
        "addresses",
        "\n".join(f"https://shop{n}.example/item?id={n * 977}&ref=feed&utm_source=list" for n in range(40)),
        "addresses only",
    ),
    (
        "error-page",
        "404 Not Found\nThe requested URL was not found on this server.\nWarning: mysql_connect(): Access denied for user"
        " 'web'@'localhost' in /var/www/inc/db.php on line 12",
        "error page of a server",
    ),
    (
        "javascript-needed",
        "Please enable JavaScript to view this page.\nChecking your browser before you can continue.\nRay ID: 0000000000000000",
        "page that a script would have filled",
    ),
    (
        "parked-domain",
        "This domain is for sale! Buy this domain. Related searches: car insurance, web hosting, credit cards, online degrees."
        " The domain owner maintains no relationship with third parties.",
        "parked domain",
    ),
    (
        "comments",
        "First!\nlol\n+1\nthis\nsame here\nnice post, thanks for sharing\nnice post, thanks for sharing\nvisit my blog\nlol\n"
        "who is watching in 2019??\n+1\nfirst\ndeleted\ndeleted\nREPLY\nREPLY\nlol",
        "comments without their page",
    ),
    (
        "calendar",
        "Mo Tu We Th Fr Sa Su\n"
        + "\n".join(" ".join(str(day) for day in range(w, w + 7)) for w in range(1, 29, 7)),
        "calendar widget",
    ),
    (
        "spam-zh",
        "正品保证 全国包邮 点击购买 限时特价 正品保证 全国包邮 加微信领取优惠 点击购买 限时特价 正品保证 立即抢购 全国包邮 点击购买"
        " 限时特价 客服在线 正品保证 全国包邮 立即抢购",
        "Chinese shop spam",
    ),
    (
        "spam-ar",
        "عروض خاصة اشتري الآن أفضل الأسعار توصيل مجاني اشتري الآن عروض خاصة أفضل الأسعار توصيل مجاني اضغط هنا اشتري الآن"
        " عروض خاصة أفضل الأسعار اضغط هنا",
        "Arabic shop spam",
    ),
    (
        "menu-hi",
        "मुखपृष्ठ\nहमारे बारे में\nसेवाएँ\nसंपर्क करें\nलॉगिन\nखोजें\nऔर पढ़ें\nऔर पढ़ें\nऔर पढ़ें\nसाझा करें\nगोपनीयता नीति",
        "Hindi navigation",
    ),
]

HANDMADE: list[dict[str, str | None]] = [
    {"id": f"handmade/{number:02}-{kind}", "text": text, "note": note}
    for number, (kind, text, note) in enumerate(_BAD, 1)
]
