"""Operators' tools on the running server: the commands of `halfdoor`, and matrix-bot-sdk's class for this API, with
which Draupnir and its like moderate.

Needs Node.js 20 or newer and npm; the library is installed into `js_operating/node_modules` when it is not there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import KIND
from tests.end_to_end.javascript import node_with_library
from tests.support.halfdoor_process import REPOSITORY
from tests.support.server_process import Account, ServerProcess

pytestmark = pytest.mark.end_to_end

FOLDER = Path(__file__).with_name("js_operating")
V3 = "/_matrix/client/v3"


def make_room(account: Account, server: ServerProcess, name: str) -> str:
    _, body = server.call("POST", f"{V3}/createRoom", {"name": name}, token=account.access_token)
    room_id: str = body["room_id"]
    content = {"msgtype": "m.text", "body": f"hello in {name}"}
    server.call("PUT", f"{V3}/rooms/{room_id}/send/m.room.message/1", content, token=account.access_token)
    return room_id


def test_matrix_bot_sdk_operates_the_server(server: ServerProcess, person: Callable[[str], Account]) -> None:
    node = node_with_library(FOLDER)
    alice = person("botfriend")
    admin = server.register(f"master-of-{alice.user_id[1:].partition(':')[0]}", admin=True)
    room_id, doomed = make_room(alice, server, "Tearoom"), make_room(alice, server, "Doomed")
    given = {
        "baseUrl": server.base_url,
        "token": admin.access_token,
        "adminId": admin.user_id,
        "userId": alice.user_id,
        "roomId": room_id,
        "doomedId": doomed,
    }
    result = subprocess.run(
        [node, "operating.mjs", json.dumps(given)], cwd=FOLDER, capture_output=True, text=True, timeout=200, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    facts: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    assert (facts["isSelfAdmin"], facts["isAdmin"]) == (True, False)
    assert facts["user"]["name"] == alice.user_id
    assert facts["changed"]["displayname"] == "Changed by the bot"
    names = {user["name"] for user in facts["listed"]["users"]}
    assert {admin.user_id, alice.user_id} <= names
    assert names <= set(facts["all"])
    assert facts["listed"]["total"] >= 2
    assert room_id in {room["room_id"] for room in facts["rooms"]["rooms"]}
    assert [room["name"] for room in facts["found"]["rooms"]] == ["Tearoom"]
    assert {"m.room.create", "m.room.member", "m.room.name"} <= set(facts["state"])
    assert (facts["made"]["uses_allowed"], facts["updated"]["uses_allowed"]) == (3, 5)
    assert facts["token"] == facts["updated"]
    assert facts["noToken"] is None
    assert not any(token["token"] == "from-the-bot" for token in facts["noTokens"])
    assert facts["near"]["event_id"].startswith("$")
    assert facts["deletion"]["delete_id"] == facts["deletions"][0]["delete_id"]
    assert facts["deletions"][0]["status"] == "complete"
    assert facts["deletions"][0]["shutdown_room"]["kicked_users"] == [alice.user_id]


@pytest.mark.skipif(KIND != "halfdoor", reason="these are Halfdoor's own commands")
def test_commands_operate_the_running_server(
    server: ServerProcess, person: Callable[[str], Account], tmp_path: Path
) -> None:
    config = server.directory / "halfdoor.yaml"
    environment = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY),
        "HALFDOOR_REGISTRATION_SHARED_SECRET": server.shared_secret,
    }

    def run(*arguments: str, status: int = 0) -> str:
        command = [sys.executable, "-m", "homeserver", *arguments, "--config", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
        assert done.returncode == status, done.stderr
        return done.stdout

    alice = person("alice")
    room_id = make_room(alice, server, "Commanded")
    assert alice.user_id in run("user", "list")
    run("user", "lock", alice.user_id)
    # The running server knows it at once: its memory was not gone around.
    answer = server.call("GET", f"{V3}/account/whoami", token=alice.access_token)
    assert (answer[0], answer[1]["errcode"]) == (401, "M_USER_LOCKED")
    run("user", "unlock", alice.user_id)
    assert "Commanded" in run("room", "show", room_id)
    run("notice", alice.user_id, "From the command line")
    target = tmp_path / "export.zip"
    run("export-user", alice.user_id, "--output", str(target))
    with zipfile.ZipFile(target) as archive:
        assert "rooms.json" in archive.namelist()
    assert "1 users left" in run("room", "delete", room_id, "--yes")
    run("room", "show", room_id, status=1)
    assert json.loads(run("report", "list", "--json")) == {"reports": []}
