"""Relations between events, read from the child's content. Nothing here is trusted: what does not fit is no relation.

"Relationships which don't match the schema, or which break the rules of a relationship, are simply ignored."

Spec (v1.19): Client-Server API, "Forming relationships between events", "Event replacements", "Event annotations",
"Threading", "Rich replies".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeserver.protocol.events import Event

ANNOTATION: Final = "m.annotation"
REFERENCE: Final = "m.reference"
REPLACE: Final = "m.replace"
THREAD: Final = "m.thread"

MAX_THREAD_HOPS: Final = 3
""" "Implementations are encouraged to do a maximum of 3 hops to find a thread before deciding that the event does not
belong to a thread." """


@dataclass(frozen=True, slots=True)
class Relation:
    """What a child says of its parent.

    `rel_type` and `event_id`: both or neither (a rich reply has no `rel_type`). `key`: of an annotation.
    `in_reply_to`: the event replied to. `is_falling_back`: the reply in a thread is only for clients without threads.
    """

    rel_type: str | None = None
    event_id: str | None = None
    key: str | None = None
    in_reply_to: str | None = None
    is_falling_back: bool = False

    @property
    def parent(self) -> str | None:
        """The event that this one belongs to, by its relation or else as a reply; by which threads are found."""
        return self.event_id if self.event_id is not None else self.in_reply_to


NO_RELATION: Final = Relation()


def relation_of(content: Mapping[str, Any]) -> Relation:
    """The relation that a content claims; NO_RELATION where it claims none, or none that fits the schema."""
    relates_to = content.get("m.relates_to")
    if not isinstance(relates_to, dict):
        return NO_RELATION
    rel_type, event_id, key = relates_to.get("rel_type"), relates_to.get("event_id"), relates_to.get("key")
    reply = relates_to.get("m.in_reply_to")
    in_reply_to = reply.get("event_id") if isinstance(reply, dict) else None
    if not isinstance(in_reply_to, str):
        in_reply_to = None
    if not (isinstance(rel_type, str) and isinstance(event_id, str)):
        return Relation(in_reply_to=in_reply_to) if in_reply_to is not None else NO_RELATION
    return Relation(
        rel_type,
        event_id,
        key if isinstance(key, str) else None,
        in_reply_to,
        relates_to.get("is_falling_back") is True,
    )


def is_valid_edit(edit: Event, original: Event) -> bool:
    """Whether `edit` replaces the content of `original`, by every rule of "Validity of replacement events".

    The caller looks at redactions: a redacted edit has no `m.relates_to` left, and an edit of a redacted original is
    valid but "should not be bundled with it".
    """
    relation = relation_of(edit.content)
    return (
        relation.rel_type == REPLACE
        and relation.event_id == original.event_id
        # "The original event and replacement event must have the same room_id", "the same sender", "the same type".
        and edit.room_id == original.room_id
        and edit.sender == original.sender
        and edit.type == original.type
        # "The replacement and original events must not have a state_key property."
        and not edit.is_state
        and not original.is_state
        # "The original event must not, itself, have a rel_type of m.replace."
        and relation_of(original.content).rel_type != REPLACE
        # "The replacement event (once decrypted, if appropriate) must have an m.new_content property."
        and (edit.type == "m.room.encrypted" or isinstance(edit.content.get("m.new_content"), dict))
    )


def edit_order(edit: Event) -> tuple[int, str]:
    """A key that is greatest for the most recent edit.

    "The most recent event is determined by comparing origin_server_ts; if two or more replacement events have identical
    origin_server_ts, the event with the lexicographically largest event_id is treated as more recent."
    """
    return edit.origin_server_ts, edit.event_id


def edited_content(original: Mapping[str, Any], edit: Mapping[str, Any]) -> dict[str, Any]:
    """The content as a reader sees it after a valid edit (for search, notifications and bridges).

    "The content of the original event is treated as being overwritten entirely by m.new_content, with the exception of
    m.relates_to, which is left unchanged."
    """
    new_content = edit.get("m.new_content")
    content = dict(new_content) if isinstance(new_content, dict) else {}
    content.pop("m.relates_to", None)
    if "m.relates_to" in original:
        content["m.relates_to"] = original["m.relates_to"]
    return content


def may_be_thread_root(content: Mapping[str, Any]) -> bool:
    """Whether a thread may start at an event with this content.

    "It is not possible to create a thread from an event which itself is the child of an event relationship (i.e., one
    with an m.relates_to property with a rel_type property)." A plain rich reply may.
    """
    relates_to = content.get("m.relates_to")
    return not (isinstance(relates_to, dict) and "rel_type" in relates_to)


def may_be_annotated(content: Mapping[str, Any]) -> bool:
    """ "It is not possible to annotate a replacement event or an annotation." """
    return relation_of(content).rel_type not in (ANNOTATION, REPLACE)


AnnotationKey = tuple[str, str, str, str]


def annotation_key(event_type: str, sender: str, content: Mapping[str, Any]) -> AnnotationKey | None:
    """What two annotations share when the second is a duplicate; None for what is no annotation.

    "Homeservers should prevent users from sending a second annotation for a given event with identical event type and
    annotation key (unless the first event has been redacted)."
    """
    relation = relation_of(content)
    if relation.rel_type != ANNOTATION or relation.event_id is None or relation.key is None:
        return None
    return relation.event_id, event_type, relation.key, sender
