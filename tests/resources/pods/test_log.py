"""Following a log in pieces: whatever is cut off, and however, each line comes once and in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from resources.pods.log import LogTail


def stamped(number: int, words: str = "") -> str:
    return f"2026-11-23T10:00:{number % 60:02d}.{number:09d}Z {words or f'line {number}'}"


@given(
    size=st.integers(0, 60),
    polls=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 40), st.integers(0, 60)), max_size=40),
)
def test_every_line_once_whatever_is_cut(size: int, polls: list[tuple[int, int, int]]) -> None:
    """Each poll: how much the log has grown, how far back is asked, after how many lines the answer is cut."""
    log = [stamped(number) for number in range(size)]
    tail, seen, written = LogTail(), [], 0
    for growth, back, cut in [*polls, (size, 10**9, 10**9)]:
        written = min(size, written + growth)
        fresh = tail.new(log[max(0, written - back) : written][:cut], from_start=False) if back < written else None
        if fresh is None:
            fresh = tail.new(log[:written][:cut], from_start=True)
        assert fresh is not None
        seen += fresh
    assert seen == [f"line {number}" for number in range(size)]


def test_a_new_file_of_a_full_log_is_taken_whole() -> None:
    tail = LogTail()
    assert tail.new([stamped(1), stamped(2)], from_start=True) == ["line 1", "line 2"]
    assert tail.new([stamped(5), stamped(6)], from_start=False) is None
    assert tail.new([stamped(5), stamped(6)], from_start=True) == ["line 5", "line 6"]
    assert tail.new([stamped(5), stamped(6), stamped(7)], from_start=False) == ["line 7"]


def test_lines_of_two_streams_may_be_out_of_order_by_their_stamps() -> None:
    tail = LogTail()
    assert tail.new([stamped(9, "out")], from_start=True) == ["out"]
    assert tail.new([stamped(9, "out"), stamped(8, "err")], from_start=False) == ["err"]


def test_words_of_the_kubelet_are_not_the_stage_s() -> None:
    tail = LogTail()
    assert tail.new(["unable to retrieve container logs for containerd://x"], from_start=True) == []
    assert tail.new([stamped(1), "failed to watch file"], from_start=True) == ["line 1"]
