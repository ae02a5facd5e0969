"""The documents say what the code does: the tutorial's source is the bridge's, the settings shown are valid."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import msgspec

from bridges.echo import EchoNetwork
from bridges.kit import BridgeSettings, network
from bridges.webchat import WebchatSettings
from bridges.webchat import frames as webchat_frames

DOCS = Path(__file__).resolve().parents[2] / "docs"


def yaml_of(document: str, marker: str) -> str:
    """The YAML block of a document that contains `marker`, its two elided secrets filled in."""
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / document).read_text(), re.DOTALL)
    (block,) = [block for block in blocks if marker in block]
    return str(block).replace("…", "a" * 32, 1).replace("…", "b" * 32, 1)


def test_the_tutorial_shows_the_echo_bridge_as_it_is() -> None:
    assert inspect.getsource(EchoNetwork).strip() in (DOCS / "bridges.md").read_text()


def test_every_ability_of_the_kit_is_documented() -> None:
    document = (DOCS / "bridges.md").read_text()
    for name, value in vars(network).items():
        if inspect.isclass(value) and getattr(value, "_is_protocol", False) and value.__module__ == network.__name__:
            assert name == "Network" or f"`{name}`" in document, name


def test_the_settings_that_the_documents_show_are_accepted() -> None:
    echo = msgspec.yaml.decode(yaml_of("bridges.md", "id: echo"), type=BridgeSettings)
    assert echo.bot == "_echo_bot"
    chat = msgspec.yaml.decode(yaml_of("webchat.md", "sites:"), type=WebchatSettings)
    assert chat.sites[0].origins == ("https://shop.example", "https://www.shop.example")


def test_every_frame_of_the_visitor_is_documented() -> None:
    document = (DOCS / "webchat.md").read_text()
    for kind in webchat_frames.Frame.__args__:
        assert f"| `{kind.__struct_config__.tag}` |" in document
        for field in kind.__struct_fields__:
            assert f"`{field}" in document, field
