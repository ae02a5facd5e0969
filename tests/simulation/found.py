"""Seeds that failed once, each with what it found. They are run again with every change.

What a seed does also depends on the servers, so that one which failed may meet its fault no more once something else is
changed. What was found has tests of its own where it was mended.
"""

from __future__ import annotations

from typing import Final

FOUND: Final[dict[int, str]] = {
    0: "the gap before an event was followed back to the room's create event, of before the join",
    6: "a state was believed without the events that its server would not hand out",
    22: "a message between devices was dropped because the disk was full for a moment",
    33: "history could not be fetched a second time",
    35: "an older state became an end of the room without being resolved with the others",
    38: "an event that stands on a soft-failed one could not be had",
    50: "no gap was looked for before an event whose auth events were missing too",
    57: "of what a soft-failed event stands on nobody asked for what was missing",
    144: "an event that was kept as an outlier while it was received was lost",
}
