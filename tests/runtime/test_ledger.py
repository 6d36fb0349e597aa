"""The ledger counts what a plain recount counts, adds up over units, and says where it does not balance."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.running.ledger import (
    StepCounter,
    StepLedger,
    Tally,
    add_up,
    counters_json,
    imbalances,
    language_codes,
)

LANGUAGES = (None, "und", "deu_Latn", "cmn_Hani")
REASONS = ("short", "long", "rare", "")

#: language, bytes in, bytes kept, fate
row = st.tuples(
    st.sampled_from(LANGUAGES),
    st.integers(0, 2**40),
    st.integers(0, 2**40),
    st.one_of(
        st.just("kept"),
        st.just("quarantined"),
        st.lists(st.sampled_from(REASONS), min_size=1, max_size=3, unique=True),
    ),
)
batches = st.lists(st.lists(row, max_size=20), max_size=4)


def recount(rows: list[Any]) -> dict[str, Any]:
    """The numbers of these rows, one by one."""
    numbers: dict[str, Any] = {}
    for code in {r[0] or "und" for r in rows}:
        mine = [r for r in rows if (r[0] or "und") == code]
        kept = [r for r in mine if r[3] == "kept"]
        lists = [r[3] for r in mine if isinstance(r[3], list)]
        numbers[code] = {
            "rows_in": len(mine),
            "rows_kept": len(kept),
            "rows_quarantined": sum(r[3] == "quarantined" for r in mine),
            "bytes_in": sum(r[1] for r in mine),
            "bytes_kept": sum(r[2] for r in kept),
            "dropped": dict(sorted(Counter(reasons[0] for reasons in lists).items())),
            "reasons": dict(sorted(Counter(reason for reasons in lists for reason in reasons).items())),
        }
    return numbers


def count(counter: StepCounter, rows: list[Any]) -> None:
    languages, codes = language_codes(pa.array([r[0] for r in rows], pa.string()), len(rows))
    lists = [(at, r[3]) for at, r in enumerate(rows) if isinstance(r[3], list)]
    counter.count(
        languages,
        codes,
        bytes_in=np.array([r[1] for r in rows], np.int64),
        bytes_kept=np.array([r[2] for r in rows], np.int64),
        kept=np.array([r[3] == "kept" for r in rows], bool),
        quarantined=np.array([r[3] == "quarantined" for r in rows], bool),
        dropped=np.array([at for at, _ in lists], np.int64),
        reasons=pa.array([reasons for _, reasons in lists], pa.list_(pa.string())),
    )


@settings(deadline=None)
@given(batches=batches)
def test_a_counter_counts_what_a_recount_counts(batches: list[list[Any]]) -> None:
    counter = StepCounter("step")
    for rows in batches:
        count(counter, rows)
    written = counters_json([counter])["steps"][0]
    assert written["by_language"] == recount([r for rows in batches for r in rows])
    assert counter.ledger.balanced


@settings(deadline=None)
@given(batches=batches, cut=st.integers(0, 4))
def test_units_add_up_to_the_whole(batches: list[list[Any]], cut: int) -> None:
    def unit(part: list[list[Any]]) -> dict[str, Any]:
        counter = StepCounter("step")
        for rows in part:
            count(counter, rows)
        return counters_json([counter])

    (ledger,) = add_up(["step"], [unit(batches[:cut]), unit(batches[cut:])])
    whole = {k: t.as_dict() for k, t in ledger.by_language.items()}
    assert whole == unit(batches)["steps"][0]["by_language"]
    rows = [r for part in batches for r in part]
    total = ledger.total()
    assert (total.rows_in, total.bytes_in) == (len(rows), sum(r[1] for r in rows))


def test_steps_keep_their_order_and_appear_even_if_nothing_reached_them() -> None:
    ledgers = add_up(["a", "b"], [{"steps": [{"step": "b", "by_language": {}}]}])
    assert [ledger.step for ledger in ledgers] == ["a", "b"]
    assert ledgers[0].total() == Tally()
    assert imbalances(ledgers) == []


def test_unreadable_records_enter_and_are_quarantined_without_language() -> None:
    counter = StepCounter("read")
    counter.count_unreadable(3)
    counter.count_unreadable(2)
    assert counter.ledger.by_language["und"].as_dict() == {
        **Tally().as_dict(),
        "rows_in": 5,
        "rows_quarantined": 5,
    }
    assert counter.ledger.balanced


def tally(rows_in: int, kept: int, dropped: int = 0, quarantined: int = 0) -> Tally:
    return Tally(rows_in, kept, quarantined, dropped={"reason": dropped} if dropped else {})


def test_what_does_not_balance_is_said_with_its_numbers() -> None:
    good = StepLedger("read", {"und": tally(9, 7, 1, 1)})
    lost = StepLedger("lid", {"und": tally(7, 5, 1)})
    assert imbalances([good, StepLedger("lid", {"und": tally(7, 7)})]) == []
    assert imbalances([good, lost]) == ["lid, und: 7 rows in, 5 kept, 1 dropped, 0 quarantined"]


def test_rows_that_one_step_kept_and_the_next_did_not_receive_are_missed() -> None:
    before = StepLedger("a", {"und": tally(5, 5), "deu_Latn": tally(2, 2)})
    assert imbalances([before, StepLedger("b", {"und": tally(4, 4), "deu_Latn": tally(2, 2)})]) == [
        "und: a kept 5 rows, b received 4"
    ]
    swapped = StepLedger("b", {"und": tally(4, 4), "deu_Latn": tally(3, 3)})
    assert len(imbalances([before, swapped])) == 2
    assert imbalances([before, StepLedger("b")]) != []


def test_a_language_column_may_be_absent_sliced_or_null() -> None:
    assert language_codes(None, 3)[0] == ("und",)
    column = pa.array(["x", "deu_Latn", None, "deu_Latn"]).slice(1)
    names, codes = language_codes(column, 3)
    assert [names[c] for c in codes] == ["deu_Latn", "und", "deu_Latn"]
    assert language_codes(pa.array([], pa.string()), 0)[1].tolist() == []
