"""Seeds that failed once, each with what it found. They are run again with every change.

What a seed does also depends on the servers, so that one which failed may meet its fault no more once something else is
changed. So what was found has tests of its own too, such as `tests/federation/test_gaps.py`.
"""

from __future__ import annotations

from typing import Final

FOUND: Final[dict[int, str]] = {
    319: "keys that were read before newer ones came were remembered, and signatures refused",
    3000: "what was said within seconds of a server's first start was told to nobody after its crash",
    3007: "the same",
    3044: "the same",
    3057: "of several ends of a room only one was told to a server that had been away",
    3187: "a server that came in while others spoke was not told of that",
    3298: "the same, with a restart between",
    3345: "the same",
    3527: "what a server had said when it was put out of a room was told to nobody",
    10740: "an event was dropped because its server could not say just then what it stands on",
    15387: "what others said before a join was answered was dropped",
}

FOUND_LONG: Final[dict[int, str]] = {
    0: "the gap before an event was followed back to the room's create event, of before the join",
    6: "a state was believed without the events that its server would not hand out",
    22: "a message between devices was dropped because the disk was full for a moment",
    26: "what a server said last before it left, and came back, was told to nobody",
    33: "history could not be fetched a second time",
    35: "an older state became an end of the room without being resolved with the others",
    38: "an event that stands on a soft-failed one could not be had",
    50: "no gap was looked for before an event whose auth events were missing too",
    57: "of what a soft-failed event stands on nobody asked for what was missing",
    144: "an event that was kept as an outlier while it was received was lost",
    238: "events stood on one that was drafted and never committed",
}
"""Of longer runs (`--long`)."""
