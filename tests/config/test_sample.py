"""The sample and the reference page say what the types say."""

from __future__ import annotations

import re
from pathlib import Path

import config
from config import reference, sample
from config.described import entries

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "config" / "halfdoor.sample.yaml"
REFERENCE = ROOT / "docs" / "configuration.md"


def test_the_sample_is_what_the_types_say() -> None:
    assert SAMPLE.read_text() == sample.render(), "run: python -m config.sample > config/halfdoor.sample.yaml"


def test_the_reference_page_is_what_the_types_say() -> None:
    assert REFERENCE.read_text() == reference.render(), "run: python -m config.reference > docs/configuration.md"


def test_the_sample_loads_as_it_is_and_changes_nothing() -> None:
    settings = config.load(SAMPLE, {})
    assert settings == config.parse("server_name: example.org", folder=SAMPLE.parent)


def test_the_sample_loads_with_every_setting_switched_on(tmp_path: Path) -> None:
    text = re.sub(r"^#(?!#)", "", SAMPLE.read_text(), flags=re.MULTILINE)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "database_url").write_text("postgresql://halfdoor@localhost/halfdoor")
    (tmp_path / "secrets" / "registration_shared_secret").write_text("5f0c0a1e8d7b46f2a9e3d1c7b8046e2f")
    (tmp_path / "secrets" / "recaptcha_secret_key").write_text("5f0c0a1e8d7b46f2a9e3d1c7b8046e2f")
    (tmp_path / "secrets" / "ldap_bind_password").write_text("the directory's choice")
    (tmp_path / "secrets" / "mail_password").write_text("the mail server's choice")
    (tmp_path / "secrets" / "s3_secret_access_key").write_text("the object store's choice")
    (tmp_path / "secrets" / "turn_shared_secret").write_text("5f0c0a1e8d7b46f2a9e3d1c7b8046e2f")
    (tmp_path / "secrets" / "company_client_secret").write_text("the provider's choice")
    (tmp_path / "secrets" / "push_key").write_text("a key of the push provider's choice")
    settings = config.parse(text, folder=tmp_path)
    assert settings.database.url is not None
    assert settings.webchat.sites[0].key == "shop"
    assert settings.registration.terms[0].version == "1.0"


def test_every_setting_is_described() -> None:
    for entry in entries():
        assert entry.text, f"{entry.name} has no description"
        for inner in entries(entry.section) if entry.section is not None else ():
            assert inner.text, f"{entry.name}.{inner.name} has no description"
