"""Files of users of other servers."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from homeserver.media.services import MediaSettings
from tests.support.federation import Network, open_federated


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
