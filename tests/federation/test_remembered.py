"""What strangers tell has its bounds in memory."""

from __future__ import annotations

from federation.remembered import Remembered


def test_the_oldest_goes_when_there_is_too_much() -> None:
    kept: Remembered[str, int] = Remembered(max_bytes=100, max_entries=3)
    for number in range(5):
        kept.keep(f"{number}", number, 10)
    assert [kept.find(f"{number}") for number in range(5)] == [None, None, 2, 3, 4]
    kept.keep("2", 22, 10)
    kept.keep("big", 5, 85)
    assert (kept.find("3"), kept.find("4"), kept.find("2"), kept.find("big")) == (None, None, 22, 5)
    assert kept.size == 95
    kept.keep("bigger", 6, 101)
    assert (kept.find("bigger"), kept.find("big"), len(kept), kept.size) == (None, 5, 2, 95)
    kept.forget("big")
    assert (len(kept), kept.size) == (1, 10)
