"""Files of one server, looked at from the other."""

from __future__ import annotations

import io
import json
import secrets

import pytest
from PIL import Image

from tests.end_to_end.federation.people import Person

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]


def upload(person: Person, data: bytes, kind: str, name: str) -> str:
    status, _, answer = person.bytes("POST", f"/_matrix/media/v3/upload?filename={name}", data, kind)
    assert status == 200, answer
    return str(json.loads(answer)["content_uri"]).removeprefix("mxc://")


def test_files_are_downloaded_from_the_other_server(host_and_guest: tuple[Person, Person]) -> None:
    host, guest = host_and_guest
    data = secrets.token_bytes(300_000)
    uri = upload(host, data, "application/octet-stream", "data.bin")
    for _ in range(2):  # from the other server, and from its copy
        status, kind, answer = guest.bytes("GET", f"/_matrix/client/v1/media/download/{uri}")
        assert (status, kind) == (200, "application/octet-stream")
        assert answer == data


def test_thumbnails_of_the_other_servers_pictures_are_shown(host_and_guest: tuple[Person, Person]) -> None:
    host, guest = host_and_guest
    picture = io.BytesIO()
    Image.new("RGB", (400, 300), (20, 90, 90)).save(picture, "PNG")
    uri = upload(host, picture.getvalue(), "image/png", "picture.png")
    path = f"/_matrix/client/v1/media/thumbnail/{uri}?width=96&height=96&method=crop"
    status, kind, answer = guest.bytes("GET", path)
    assert status == 200, answer
    assert kind.startswith("image/")
    assert Image.open(io.BytesIO(answer)).size == (96, 96)


def test_file_that_the_other_server_does_not_have_is_not_found(host_and_guest: tuple[Person, Person]) -> None:
    host, guest = host_and_guest
    status, _, _ = guest.bytes("GET", f"/_matrix/client/v1/media/download/{host.server.server_name}/nothing")
    assert status == 404
