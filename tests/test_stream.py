"""The memory of who changed last: never a false no."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from homeserver.stream import Change, ChangeMemory, Stream


@given(
    st.lists(st.one_of(st.sampled_from("abcdef"), st.just("")), max_size=40),
    st.integers(1, 4),
    st.integers(0, 45),
)
def test_memory_never_says_no_falsely(keys: list[str], limit: int, asked: int) -> None:
    memory, last = ChangeMemory(0, limit), dict[str, int]()
    for position, key in enumerate(keys, 1):
        if key:
            memory.note(key, position)
            last[key] = position
        else:
            memory.forget_all(position)
            last = dict.fromkeys("abcdef", position)
    for key, position in last.items():
        if position > asked:
            assert memory.changed_since(key, asked)


def test_unchanged_key_has_not_changed() -> None:
    memory = ChangeMemory(10)
    memory.note("a", 11)
    assert not memory.changed_since("b", 10)
    assert memory.changed_since("b", 9)
    assert not memory.changed_since("a", 11)
    assert memory.changed_since("a", 10)


def test_stream_announces_to_listeners_by_kind() -> None:
    stream, heard = Stream(5), list[object]()
    stream.listen(lambda *what: heard.append(what))
    stream.announce(Change.EVENTS, 6, rooms=["!a"])
    stream.announce(Change.MEMBERSHIP, 7, users=["@a"])
    assert heard == [(Change.EVENTS, 6, ("!a",), ()), (Change.MEMBERSHIP, 7, (), ("@a",))]
    assert stream.position == 7
    assert stream.any_since(Change.EVENTS, 5)
    assert not stream.any_since(Change.EVENTS, 6)
    assert not stream.changed_since(Change.RECEIPTS, "!a", 5)


def test_foreign_writes_may_have_changed_everything() -> None:
    stream = Stream(5)
    stream.announce(Change.EVENTS, 6, rooms=["!a"])
    stream.foreign_position(9)
    for kind in Change:
        assert stream.any_since(kind, 8)
        assert stream.changed_since(kind, "!a", 8)
        assert not stream.changed_since(kind, "!a", 9)
    assert stream.position == 9
