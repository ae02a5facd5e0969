"""Conversations about accounts: registration, login, devices, passwords, profiles, account data."""

from __future__ import annotations

from typing import Any

from tests.end_to_end.comparison.player import V1, Player
from tests.support.server_process import Account

PASSWORD = "a long enough Passw0rd!"


def signed_in(answer: dict[str, Any]) -> Account:
    """The account that a login or registration answered."""
    return Account(answer["user_id"], answer["access_token"], answer["device_id"], PASSWORD)


def password_login(player: Player, localpart: str, password: str = PASSWORD) -> dict[str, Any]:
    return {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": player.localpart(localpart)},
        "password": password,
    }


def registration(p: Player) -> None:
    name = p.localpart("ann")
    p.get("name is free", None, "/register/available", query={"username": name})
    p.get("name with a space", None, "/register/available", query={"username": "a b"})
    p.get("name in capitals", None, "/register/available", query={"username": "ANN"})
    p.get("no name", None, "/register/available")
    wanted = {"username": name, "password": PASSWORD, "initial_device_display_name": "Phone"}
    asked = p.post("register, first answer", None, "/register", body=wanted)
    auth = {"type": "m.login.dummy", "session": asked["session"]}
    done = p.post("register, dummy stage", None, "/register", body={**wanted, "auth": auth})
    ann = signed_in(done)
    p.get("who am I", ann, "/account/whoami")
    p.get("name is taken", None, "/register/available", query={"username": name})
    p.post("register a taken name", None, "/register", body={**wanted, "auth": {"type": "m.login.dummy"}})
    p.post("register a wrong name", None, "/register", body={"username": "a b!", "password": PASSWORD})
    p.post("unknown kind of account", None, "/register", query={"kind": "robot"}, body=wanted)
    other = {"username": p.localpart("ben"), "password": PASSWORD, "inhibit_login": True}
    asked = p.post("register without login, first answer", None, "/register", body=other)
    auth = {"type": "m.login.dummy", "session": asked["session"]}
    p.post("register without login", None, "/register", body={**other, "auth": auth})
    device = {"username": p.localpart("cid"), "password": PASSWORD, "device_id": "MYDEVICE", "refresh_token": True}
    asked = p.post("register with a device, first answer", None, "/register", body=device)
    auth = {"type": "m.login.dummy", "session": asked["session"]}
    cid = p.post("register with a device", None, "/register", body={**device, "auth": auth})
    p.get("devices", signed_in(cid), "/devices")
    p.post("refresh", None, "/refresh", body={"refresh_token": cid["refresh_token"]})
    p.post("refresh with nonsense", None, "/refresh", body={"refresh_token": "nonsense"})
    p.post("unknown stage", None, "/register", body={**wanted, "auth": {"type": "m.login.unknown", "session": "x"}})
    p.get("registration token that nobody gave out", None, V1 + "/register/m.login.registration_token/validity?token=x")


def logins(p: Player) -> None:
    p.account("ann")
    p.get("flows", None, "/login")
    p.get("flows, old path", None, "/_matrix/client/r0/login")
    good = password_login(p, "ann")
    ann = signed_in(p.post("log in", None, "/login", body=good))
    p.post("wrong password", None, "/login", body=password_login(p, "ann", "wrong"))
    p.post("unknown user", None, "/login", body=password_login(p, "nobody"))
    p.post("unknown type", None, "/login", body={**good, "type": "m.login.magic"})
    p.post("no type", None, "/login", body={"identifier": good["identifier"], "password": PASSWORD})
    p.post("no identifier", None, "/login", body={"type": "m.login.password", "password": PASSWORD})
    p.post("no password", None, "/login", body={"type": "m.login.password", "identifier": good["identifier"]})
    p.post(
        "old form of user",
        None,
        "/login",
        body={"type": "m.login.password", "user": p.localpart("ann"), "password": PASSWORD},
    )
    whole = {"type": "m.id.user", "user": f"@{p.localpart('ann')}:{p.server.server_name}"}
    p.post("whole user id", None, "/login", body={**good, "identifier": whole})
    foreign = {"type": "m.id.user", "user": "@ann:elsewhere.test"}
    p.post("user of another server", None, "/login", body={**good, "identifier": foreign})
    p.post("unknown identifier type", None, "/login", body={**good, "identifier": {"type": "m.id.magic"}})
    p.post("token login", None, "/login", body={"type": "m.login.token", "token": "x"})
    second = signed_in(
        p.post(
            "second device",
            None,
            "/login",
            body={**good, "device_id": "SECOND", "initial_device_display_name": "Second"},
        )
    )
    p.get("one device", ann, "/devices/{}", "SECOND")
    p.put("rename it", ann, "/devices/{}", "SECOND", body={"display_name": "Renamed"})
    p.get("renamed device", ann, "/devices/{}", "SECOND")
    p.get("unknown device", ann, "/devices/{}", "NOTHING")
    p.put("rename an unknown device", ann, "/devices/{}", "NOTHING", body={"display_name": "x"})
    asked = p.delete("delete device, first answer", ann, "/devices/{}", "SECOND", body={})
    auth = {**good, "session": asked["session"]}
    p.delete(
        "delete device, wrong password", ann, "/devices/{}", "SECOND", body={"auth": {**auth, "password": "wrong"}}
    )
    p.delete("delete device", ann, "/devices/{}", "SECOND", body={"auth": auth})
    p.get("token of the deleted device", second, "/account/whoami")
    third = signed_in(p.post("third device", None, "/login", body={**good, "refresh_token": True}))
    p.post("log out", third, "/logout")
    p.get("after log-out", third, "/account/whoami")
    p.post("log out again", third, "/logout")
    fourth = signed_in(p.post("fourth device", None, "/login", body=good))
    p.post("log out everywhere", fourth, "/logout/all")
    p.get("after log-out everywhere", ann, "/account/whoami")
    p.get("without a token", None, "/account/whoami")
    p.get("with a made-up token", Account("@x:y", "made-up", "X", ""), "/account/whoami")
    p.get("with a token in the query", None, "/account/whoami", query={"access_token": "made-up"})


def passwords(p: Player) -> None:
    ann = p.account("ann")
    p.post("change, first answer", ann, "/account/password", body={"new_password": "Another Passw0rd!"})
    asked = p.post("change, again", ann, "/account/password", body={"new_password": "Another Passw0rd!"})
    auth = {**password_login(p, "ann"), "session": asked["session"]}
    p.post(
        "change",
        ann,
        "/account/password",
        body={"new_password": "Another Passw0rd!", "logout_devices": False, "auth": auth},
    )
    p.post("old password", None, "/login", body=password_login(p, "ann"))
    p.post("new password", None, "/login", body=password_login(p, "ann", "Another Passw0rd!"))
    p.get("still signed in", ann, "/account/whoami")
    p.get("third-party ids", ann, "/account/3pid")
    asked = p.post("deactivate, first answer", ann, "/account/deactivate")
    auth = {**password_login(p, "ann", "Another Passw0rd!"), "session": asked["session"]}
    p.post("deactivate", ann, "/account/deactivate", body={"auth": auth, "erase": True})
    p.get("after deactivation", ann, "/account/whoami")
    p.post("login after deactivation", None, "/login", body=password_login(p, "ann", "Another Passw0rd!"))
    p.get("name of a deactivated account", None, "/register/available", query={"username": p.localpart("ann")})
    p.get("profile of a deactivated account", p.account("ben"), "/profile/{}", ann.user_id)


def profiles(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    p.get("whole profile", ben, "/profile/{}", ann.user_id)
    p.put("set name", ann, "/profile/{}/displayname", ann.user_id, body={"displayname": "Ann A."})
    p.put("set avatar", ann, "/profile/{}/avatar_url", ann.user_id, body={"avatar_url": "mxc://halfdoor.test/abc"})
    p.get("name", ben, "/profile/{}/displayname", ann.user_id)
    p.get("avatar", ben, "/profile/{}/avatar_url", ann.user_id)
    p.get("no avatar", ann, "/profile/{}/avatar_url", ben.user_id)
    p.put("somebody else's name", ben, "/profile/{}/displayname", ann.user_id, body={"displayname": "x"})
    p.put(
        "set custom field", ann, "/profile/{}/{}", ann.user_id, "org.example.job", body={"org.example.job": {"a": [1]}}
    )
    p.get("custom field", ben, "/profile/{}/{}", ann.user_id, "org.example.job")
    p.put("custom field under another name", ann, "/profile/{}/{}", ann.user_id, "org.example.job", body={"other": 1})
    p.put("time zone", ann, "/profile/{}/{}", ann.user_id, "m.tz", body={"m.tz": "Europe/Berlin"})
    p.get("all fields", ben, "/profile/{}", ann.user_id)
    p.delete("delete custom field", ann, "/profile/{}/{}", ann.user_id, "org.example.job")
    p.get("deleted custom field", ben, "/profile/{}/{}", ann.user_id, "org.example.job")
    p.delete("delete it again", ann, "/profile/{}/{}", ann.user_id, "org.example.job")
    p.delete("delete name", ann, "/profile/{}/{}", ann.user_id, "displayname")
    p.get("fields left", ben, "/profile/{}", ann.user_id)
    p.put("too long a name", ann, "/profile/{}/displayname", ann.user_id, body={"displayname": "x" * 300})
    p.put("name that is no text", ann, "/profile/{}/displayname", ann.user_id, body={"displayname": 7})
    p.put("avatar that is no mxc", ann, "/profile/{}/avatar_url", ann.user_id, body={"avatar_url": "http://x"})
    p.get("unknown user", ann, "/profile/{}", "@nobody-at-all:halfdoor.test")
    p.get("without a token", None, "/profile/{}", ann.user_id)
    p.get("no user id", ann, "/profile/{}", "ann")


def account_data(p: Player) -> None:
    ann, ben = p.account("ann"), p.account("ben")
    path = "/user/{}/account_data/{}"
    p.get("absent", ann, path, ann.user_id, "org.example.x")
    p.put("set", ann, path, ann.user_id, "org.example.x", body={"a": 1, "b": ["ü", None, True]})
    p.get("get", ann, path, ann.user_id, "org.example.x")
    p.put("somebody else's", ben, path, ann.user_id, "org.example.x", body={})
    p.get("read somebody else's", ben, path, ann.user_id, "org.example.x")
    p.put("push rules are not set here", ann, path, ann.user_id, "m.push_rules", body={})
    p.put("fully_read is not set here", ann, path, ann.user_id, "m.fully_read", body={})
    p.put("list instead of an object", ann, path, ann.user_id, "org.example.x", body=[1])
    room = p.room("create room", ann)
    inside = "/user/{}/rooms/{}/account_data/{}"
    p.get("absent in the room", ann, inside, ann.user_id, room, "org.example.y")
    p.put("set in the room", ann, inside, ann.user_id, room, "org.example.y", body={"c": {}})
    p.get("get in the room", ann, inside, ann.user_id, room, "org.example.y")
    p.put("fully_read in the room", ann, inside, ann.user_id, room, "m.fully_read", body={"event_id": "$x"})
    p.put("set in no room", ann, inside, ann.user_id, "nonsense", "org.example.y", body={})
    tags = "/user/{}/rooms/{}/tags"
    p.get("no tags", ann, tags, ann.user_id, room)
    p.put("tag", ann, tags + "/{}", ann.user_id, room, "m.favourite", body={"order": 0.25})
    p.put("own tag", ann, tags + "/{}", ann.user_id, room, "u.work", body={})
    p.get("tags", ann, tags, ann.user_id, room)
    p.put("order that is no number", ann, tags + "/{}", ann.user_id, room, "u.bad", body={"order": "first"})
    p.delete("untag", ann, tags + "/{}", ann.user_id, room, "u.work")
    p.delete("untag again", ann, tags + "/{}", ann.user_id, room, "u.work")
    p.get("tags left", ann, tags, ann.user_id, room)
    p.get("somebody else's tags", ben, tags, ann.user_id, room)
    first = p.sync("initial sync", ann)
    p.put("set again", ann, path, ann.user_id, "org.example.x", body={"a": 2})
    p.put("set again in the room", ann, inside, ann.user_id, room, "org.example.y", body={"c": 1})
    p.put("ignore", ann, path, ann.user_id, "m.ignored_user_list", body={"ignored_users": {ben.user_id: {}}})
    p.sync("incremental sync", ann, first["next_batch"])
    filters = "/user/{}/filter"
    kept = p.post("upload filter", ann, filters, ann.user_id, body={"room": {"timeline": {"limit": 3}}})
    p.get("read filter", ann, filters + "/{}", ann.user_id, kept["filter_id"])
    p.get("unknown filter", ann, filters + "/{}", ann.user_id, "99999")
    p.get("somebody else's filter", ben, filters + "/{}", ann.user_id, kept["filter_id"])
    p.post("filter of somebody else", ben, filters, ann.user_id, body={})
    p.post("filter with a wrong type", ann, filters, ann.user_id, body={"room": {"timeline": {"limit": "x"}}})
    p.post(
        "filter with a wrong sender", ann, filters, ann.user_id, body={"room": {"timeline": {"senders": ["nobody"]}}}
    )


def push_rules(p: Player) -> None:
    ann = p.account("ann")
    p.get("all", ann, "/pushrules/")
    p.get("global", ann, "/pushrules/global/")
    rule = "/pushrules/global/{}/{}"
    p.get("one", ann, rule, "override", ".m.rule.master")
    p.get("enabled", ann, rule + "/enabled", "override", ".m.rule.master")
    p.put("enable", ann, rule + "/enabled", "override", ".m.rule.master", body={"enabled": True})
    p.get("enabled now", ann, rule + "/enabled", "override", ".m.rule.master")
    p.put("disable", ann, rule + "/enabled", "override", ".m.rule.master", body={"enabled": False})
    p.get("actions", ann, rule + "/actions", "underride", ".m.rule.message")
    p.put("set actions", ann, rule + "/actions", "underride", ".m.rule.message", body={"actions": []})
    p.get("actions now", ann, rule + "/actions", "underride", ".m.rule.message")
    p.put("add content rule", ann, rule, "content", "cake", body={"pattern": "cake*", "actions": ["notify"]})
    p.put("add room rule", ann, rule, "room", "!x:halfdoor.test", body={"actions": []})
    p.put("add sender rule", ann, rule, "sender", "@x:halfdoor.test", body={"actions": []})
    condition = {"kind": "event_match", "key": "type", "pattern": "m.*"}
    p.put("add override", ann, rule, "override", "mine", body={"conditions": [condition], "actions": ["notify"]})
    p.put(
        "add one before it",
        ann,
        rule,
        "override",
        "mine2",
        query={"before": "mine"},
        body={"conditions": [], "actions": []},
    )
    p.put(
        "add one after it",
        ann,
        rule,
        "override",
        "mine3",
        query={"after": "mine"},
        body={"conditions": [], "actions": []},
    )
    p.put(
        "before an unknown one",
        ann,
        rule,
        "override",
        "mine4",
        query={"before": "zzz"},
        body={"conditions": [], "actions": []},
    )
    p.put("name with a dot", ann, rule, "override", ".mine", body={"conditions": [], "actions": []})
    p.put("wrong kind", ann, rule, "wrong", "x", body={"actions": []})
    p.put("without actions", ann, rule, "room", "!y:halfdoor.test", body={})
    p.put("wrong action", ann, rule, "room", "!y:halfdoor.test", body={"actions": ["explode"]})
    p.put("content rule without pattern", ann, rule, "content", "x", body={"actions": []})
    p.get("all now", ann, "/pushrules/")
    p.delete("delete", ann, rule, "content", "cake")
    p.delete("delete it again", ann, rule, "content", "cake")
    p.delete("delete a default rule", ann, rule, "override", ".m.rule.master")
    p.get("unknown rule", ann, rule, "content", "cake")
    p.put("enable an unknown rule", ann, rule + "/enabled", "content", "cake", body={"enabled": True})
    p.get("wrong template", ann, "/pushrules/{}/", "device")


CONVERSATIONS = {
    "registration": registration,
    "logins": logins,
    "passwords": passwords,
    "profiles": profiles,
    "account-data": account_data,
    "push-rules": push_rules,
}
