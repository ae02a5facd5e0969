"""Files of users of other servers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from homeserver.http.application import Reply
from homeserver.media.remote_files import RemoteLimits
from homeserver.media.services import MediaSettings
from tests.support.federation import Network, open_federated
from tests.support.http import Answer
from tests.support.liar import Liar


def picture() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (200, 100), "red").save(made, "PNG")
    return made.getvalue()


async def test_file_and_thumbnail_of_another_server_are_shown(tmp_path: Path) -> None:
    network = Network()
    one = await open_federated(network, "one.test", media=MediaSettings(folder=tmp_path / "one"))
    two = await open_federated(network, "two.test", media=MediaSettings(folder=tmp_path / "two"))
    try:
        alice, bob = await one.register("alice"), await two.register("bob")
        content = picture()
        uploaded = await one.client.request(
            "POST",
            "/_matrix/media/v3/upload?filename=%E5%9B%BE.png",
            body=content,
            token=alice.token,
            headers={"content-type": "image/png"},
        )
        place = uploaded.json["content_uri"].removeprefix("mxc://")
        token = bob.token
        got = await two.client.request("GET", f"/_matrix/client/v1/media/download/{place}", token=token)
        assert got.status == 200
        assert got.body == content
        assert got.headers["content-type"] == "image/png"
        asked = len(network.requests)
        again = await two.client.request("GET", f"/_matrix/client/v1/media/download/{place}", token=token)
        assert again.body == content
        assert len(network.requests) == asked  # it is kept
        small = await two.client.request(
            "GET", f"/_matrix/client/v1/media/thumbnail/{place}?width=32&height=32&method=crop", token=token
        )
        assert small.status == 200
        gone = await two.client.request("GET", "/_matrix/client/v1/media/download/one.test/nothing", token=token)
        assert gone.status == 404
    finally:
        await one.close()
        await two.close()


NEW, OLD = "/_matrix/federation/v1/media/download/", "/_matrix/media/v3/download/liar.test/"
PLACE = "/_matrix/client/v1/media/download/liar.test/"
Told = tuple[int, dict[str, str], bytes]


class Library:
    """Alice's server, and the liar's files: by the part of an address, what is answered there."""

    def __init__(self, liar: Liar, ask: Any) -> None:
        self.liar = liar
        self.ask = ask
        self.answers: dict[str, Told] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        liar_answers = liar.respond

        async def respond(method: str, target: str, headers: dict[str, str], *rest: Any) -> Reply:
            self.requests.append((target, headers))
            for part, (status, told, body) in self.answers.items():
                if part in target:
                    return Reply(status, list(told.items()), body)
            return await liar_answers(method, target, headers, *rest)

        liar.respond = respond  # type: ignore[method-assign,assignment]

    async def get(self, media_id: str = "x") -> Answer:
        answer: Answer = await self.ask(media_id)
        return answer


@pytest.fixture
async def library(network: Network, tmp_path: Path) -> Library:
    settings = MediaSettings(folder=tmp_path / "one", remote=RemoteLimits(file_bytes=100_000))
    one = await open_federated(network, "one.test", media=settings)
    alice = await one.register("alice")
    return Library(Liar(network), lambda media_id: one.client.request("GET", f"{PLACE}{media_id}", token=alice.token))


def envelope(head: str, content: bytes, boundary: str = "xyz") -> Told:
    parts = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{{}}\r\n--{boundary}\r\n{head}\r\n\r\n"
    body = parts.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return 200, {"Content-Type": f'multipart/mixed; boundary="{boundary}"'}, body


def refusal(status: int, errcode: str) -> Told:
    return status, {}, msgspec.json.encode({"errcode": errcode, "error": "no"})


async def test_file_that_lies_elsewhere_is_fetched_from_there(library: Library) -> None:
    head = 'Location: https://liar.test/_matrix/cdn/1\r\nContent-Disposition: attachment; filename="a.txt"'
    library.answers[NEW] = envelope(head, b"")
    library.answers["/cdn/1"] = (200, {"Content-Type": "text/plain"}, b"far away")
    got = await library.get()
    assert (got.status, got.body) == (200, b"far away")
    assert got.headers["content-type"] == "text/plain"
    assert "a.txt" in got.headers["content-disposition"]
    assert "authorization" not in {name.lower() for name in library.requests[-1][1]}  # we sign for its server alone


async def test_server_that_knows_only_the_older_endpoint_is_asked_there(library: Library) -> None:
    library.answers[NEW] = refusal(404, "M_UNRECOGNIZED")
    told = {"Content-Type": "text/plain", "Content-Disposition": 'inline; filename="old.txt"'}
    library.answers[OLD] = (200, told, b"old")
    got = await library.get()
    assert (got.status, got.body) == (200, b"old")
    assert "old.txt" in got.headers["content-disposition"]
    target, headers = library.requests[-1]
    assert "allow_remote=false" in target
    assert "authorization" not in {name.lower() for name in headers}


async def test_file_that_is_not_there_is_not_looked_for_at_the_older_endpoint(library: Library) -> None:
    library.answers[NEW] = refusal(404, "M_NOT_FOUND")
    library.answers[OLD] = (200, {}, b"old")
    assert (await library.get()).status == 404
    assert not any(OLD in target for target, _ in library.requests)


@pytest.mark.parametrize(
    ("answer", "status", "errcode"),
    [
        (refusal(504, "M_NOT_YET_UPLOADED"), 504, "M_NOT_YET_UPLOADED"),
        (refusal(502, "M_TOO_LARGE"), 502, "M_TOO_LARGE"),
        (refusal(401, "M_UNKNOWN_TOKEN"), 404, "M_NOT_FOUND"),
        ((500, {}, b"\xff<html>"), 404, "M_NOT_FOUND"),
        ((200, {}, b"no envelope"), 404, "M_NOT_FOUND"),
        ((200, {"Content-Type": "multipart/mixed; boundary=xyz"}, b"--xyz\r\n\r\n{}"), 404, "M_NOT_FOUND"),
        ((200, {"Content-Type": "multipart/mixed"}, b"--xyz--"), 404, "M_NOT_FOUND"),
        (envelope("Content-Type: text/plain", b"x" * 200_000), 502, "M_TOO_LARGE"),
        (envelope("Location: https://nobody.test/x", b""), 404, "M_NOT_FOUND"),
    ],
    ids=["not yet", "too large there", "B17", "html", "none", "cut", "no boundary", "too large here", "nowhere"],
)
async def test_what_cannot_be_had_is_told_in_our_own_words(
    library: Library, answer: Told, status: int, errcode: str
) -> None:
    library.answers[NEW] = answer
    got = await library.get()
    assert (got.status, got.json["errcode"]) == (status, errcode)


async def test_boundary_within_a_file_is_part_of_it(library: Library) -> None:
    content = b"a\r\n--xyz\r\nb\r\n--xy"
    library.answers[NEW] = envelope("Content-Type: application/octet-stream", content)
    assert (await library.get()).body == content
