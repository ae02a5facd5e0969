"""The checker of answers: it must let good answers pass and name what is wrong with bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.openapi import BUNDLE, REQUESTS, all_operations, find_operation, validate_answer
from tests.support.openapi_bundling import Bundler, RequestBundler, write_bundle

SPEC = Path(__file__).resolve().parents[3] / "shared" / "spec"


def test_a_request_finds_its_operation() -> None:
    operation = find_operation("PUT", "/_matrix/client/v3/rooms/!a%3Ab/send/m.room.message/1%2F2?x=y")
    assert operation is not None
    assert operation.name == "sendMessage"


def test_a_literal_segment_is_preferred_to_a_parameter() -> None:
    operation = find_operation("GET", "/_matrix/client/v3/pushrules/global/")
    assert operation is not None
    assert operation.name == "getPushRulesGlobal"


@pytest.mark.parametrize("path", ["state/m.room.name", "state/m.room.name/", "state/m.room.member/%40a%3Ab"])
def test_state_is_found_with_and_without_state_key(path: str) -> None:
    operation = find_operation("GET", f"/_matrix/client/v3/rooms/!a/{path}")
    assert operation is not None
    assert operation.name == "getRoomStateWithKey"


def test_old_paths_are_the_same_operation() -> None:
    operation = find_operation("GET", "/_matrix/client/r0/login")
    assert operation is not None
    assert operation.name == "getLoginFlows"


def test_unknown_path_has_no_operation() -> None:
    assert find_operation("GET", "/_matrix/client/v3/nothing/here") is None


def test_good_answer_passes() -> None:
    validate_answer("GET", "/_matrix/client/v3/account/whoami", 200, {"user_id": "@a:b", "device_id": "X"})


def test_wrong_answer_is_named_with_operation_and_json_path() -> None:
    with pytest.raises(AssertionError, match=r"(?s)getTokenOwner.*\$\.user_id"):
        validate_answer("GET", "/_matrix/client/v3/account/whoami", 200, {"user_id": 7})


def test_nested_event_is_checked_through_references() -> None:
    event = {"type": "m.room.message", "event_id": "$a", "sender": "@a:b", "origin_server_ts": 1, "content": {}}
    chunk = {"chunk": [event], "start": "a"}
    with pytest.raises(AssertionError, match=r"(?s)getRoomEvents.*\$\.chunk\[0\].*room_id"):
        validate_answer("GET", "/_matrix/client/v3/rooms/!a/messages?dir=b", 200, chunk)


def test_success_that_the_specification_does_not_list_is_refused() -> None:
    with pytest.raises(AssertionError, match="answered 204"):
        validate_answer("GET", "/_matrix/client/v3/account/whoami", 204, None)


@pytest.mark.parametrize(
    "body", [{"errcode": "M_FORBIDDEN"}, {"error": "x"}, {"errcode": "bad", "error": "x"}, None, []]
)
def test_error_without_the_standard_form_is_refused(body: object) -> None:
    with pytest.raises(AssertionError):
        validate_answer("GET", "/_matrix/client/v3/nothing/here", 404, body)
    with pytest.raises(AssertionError):
        validate_answer("GET", "/_matrix/client/v3/sync", 400, body)


def test_interactive_authentication_is_no_standard_error() -> None:
    body = {"flows": [{"stages": ["m.login.dummy"]}], "session": "x", "params": {}}
    validate_answer("POST", "/_matrix/client/v3/register", 401, body)
    with pytest.raises(AssertionError, match="flows"):
        validate_answer("POST", "/_matrix/client/v3/register", 401, {**body, "flows": 1})


def test_files_are_not_read_as_json() -> None:
    validate_answer("GET", "/_matrix/client/v1/media/download/a/b", 200, b"\x89PNG")


def test_every_operation_can_be_checked() -> None:
    for operation in all_operations():
        for status in operation.answers:
            code = int(status.replace("XX", "00"))
            try:
                validate_answer(operation.method, operation.path, code, {})
            except AssertionError as problem:
                assert operation.name in str(problem)  # noqa: PT017


def test_bundle_is_what_the_specification_says(tmp_path: Path) -> None:
    if not (SPEC / "api").is_dir():
        pytest.skip("the specification's YAML is not beside this repository; the bundle was made from it")
    for file, kind in ((BUNDLE, Bundler), (REQUESTS, RequestBundler)):
        write_bundle(SPEC, tmp_path / file.name, kind)
        assert (tmp_path / file.name).read_text() == file.read_text(), "run scripts/bundle_openapi"
