"""Secrets: where they come from, which are refused, and that they do not show."""

from __future__ import annotations

from pathlib import Path

import pytest

import config
from config import ConfigurationError, Secret
from config.secret import weakness

STRONG = "b0a7c1d2e3f4958677a8b9c0d1e2f304"


def shared_secret(text: str, folder: Path, environ: dict[str, str]) -> str | None:
    secret = config.parse(f"server_name: a.b\n{text}", folder=folder, environ=environ).registration.shared_secret
    return None if secret is None else secret.reveal()


def test_no_secret_has_a_built_in_default() -> None:
    settings = config.parse("server_name: a.b", folder=Path("/"))
    assert settings.registration.shared_secret is None
    assert settings.registration.recaptcha.secret_key is None
    assert settings.database.url is None


def test_environment_comes_before_files_and_files_before_the_configuration(tmp_path: Path) -> None:
    values = {name: f"{name}-{STRONG}" for name in ("direct", "file", "environ", "environ_file")}
    for name, value in values.items():
        (tmp_path / name).write_text(value + "\n")
    inline = f"registration: {{shared_secret: {values['direct']}}}"
    both = f"registration: {{shared_secret: {values['direct']}, shared_secret_file: file}}"
    by_file = {"HALFDOOR_REGISTRATION_SHARED_SECRET_FILE": "environ_file"}
    direct = {"HALFDOOR_REGISTRATION_SHARED_SECRET": values["environ"], **by_file}
    assert shared_secret(inline, tmp_path, {}) == values["direct"]
    assert shared_secret(both, tmp_path, {}) == values["file"]
    assert shared_secret(both, tmp_path, by_file) == values["environ_file"]
    assert shared_secret(both, tmp_path, direct) == values["environ"]


def test_a_secrets_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"registration\.shared_secret_file: cannot read .*none: No such file"):
        shared_secret("registration: {shared_secret_file: none}", tmp_path, {})


@pytest.mark.parametrize("value", ["", "   ", "''"])
def test_F01_an_empty_secret_is_refused(value: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is empty"):
        shared_secret(f"registration: {{shared_secret: '{value.strip(chr(39))}'}}", tmp_path, {})
    with pytest.raises(ConfigurationError, match="HALFDOOR_REGISTRATION_SHARED_SECRET: is empty"):
        shared_secret("", tmp_path, {"HALFDOOR_REGISTRATION_SHARED_SECRET": value.strip("'")})


@pytest.mark.parametrize(
    "value",
    ["changeme", "password", "secret", "0" * 32, "abababababababababab", "change-me-change-me-change-me",
     "your-secret-here-please", "registration_shared_secret", "REPLACE_ME REPLACE_ME"],
)  # fmt: skip
def test_F01_a_default_or_guessable_secret_is_refused(value: str, tmp_path: Path) -> None:
    assert weakness(value) is not None
    with pytest.raises(ConfigurationError, match=r"registration\.shared_secret: "):
        shared_secret(f"registration: {{shared_secret: '{value}'}}", tmp_path, {})


def test_a_random_secret_is_taken() -> None:
    assert weakness(STRONG) is None
    assert weakness("correct horse battery staple") is None


def test_a_secret_does_not_show_when_it_is_printed() -> None:
    settings = config.parse(f"{{server_name: a.b, registration: {{shared_secret: {STRONG}}}}}", folder=Path("/"))
    assert STRONG not in repr(settings)
    assert STRONG not in f"{settings.registration.shared_secret}"


def test_secrets_compare_by_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
