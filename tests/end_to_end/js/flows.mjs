// node flows.mjs FLOW GIVEN: plays one flow and prints its facts as one JSON line, {"facts": …}.
// The expectations are in test_matrix_js_sdk.py.

import { ask, client, eventually, given, refused, roomOf, say, sdk, seen, stopAll, until } from "./client.mjs";
import { calls } from "./calls.mjs";
import { encryption } from "./encryption.mjs";
import { media } from "./media.mjs";
import { sliding } from "./sliding.mjs";

const relation = (rel_type, event_id, more = {}) => ({ "m.relates_to": { rel_type, event_id, ...more } });

const flows = {
    ...calls,
    ...encryption,
    ...media,
    ...sliding,

    async registration() {
        const fresh = sdk.createClient({ baseUrl: given.baseUrl });
        const { username, password } = given;
        const first = await refused(fresh.registerRequest({ username, password }));
        const done = await fresh.registerRequest({ username, password, auth: { type: "m.login.dummy" } });
        const wrong = await refused(fresh.loginRequest({ type: "m.login.password", identifier: { type: "m.id.user", user: username }, password: "wrong" }));
        const login = await fresh.loginRequest({ type: "m.login.password", identifier: { type: "m.id.user", user: username }, password });
        const again = sdk.createClient({ baseUrl: given.baseUrl, userId: login.user_id, accessToken: login.access_token, deviceId: login.device_id });
        const who = await again.whoami();
        await again.logout();
        return { first, registered: done.user_id, wrong, who: who.user_id, device: who.device_id === login.device_id, after: await refused(again.whoami()) };
    },

    async messages() {
        const [ann, ben] = [await client(0), await client(1, {})];
        const room = await roomOf(ann, ben);
        await seen(ben, room);
        const got = [];
        ben.on(sdk.RoomEvent.Timeline, (event) => event.getType() === "m.room.message" && got.push([event.getId(), event.getContent().body]));
        const sent = [];
        for (let n = 0; n < 5; n++) sent.push([await say(ann, room, `message ${n} 你好`), `message ${n} 你好`]);
        await eventually(ben, () => got.length >= sent.length);
        return { sent, got };
    },

    async edits_and_reactions() {
        const [ann, ben] = [await client(0), await client(1, {})];
        const room = await roomOf(ann, ben);
        const there = await seen(ben, room);
        const original = await say(ann, room, "tpyo");
        await eventually(ben, () => there.findEventById(original));
        await say(ann, room, "* typo", { "m.new_content": { msgtype: "m.text", body: "typo" }, ...relation("m.replace", original) });
        await ann.sendEvent(room, "m.reaction", relation("m.annotation", original, { key: "👍" }));
        const event = there.findEventById(original);
        const reactions = () => there.relations.getChildEventsForEvent(original, "m.annotation", "m.reaction");
        await eventually(ben, () => event.replacingEvent() && reactions()?.getSortedAnnotationsByKey()?.length);
        const later = await client(1);
        const { originalEvent, events } = await later.relations(room, original, "m.annotation", "m.reaction");
        return {
            body: event.getContent().body,
            keys: reactions().getSortedAnnotationsByKey().map(([key, events]) => [key, events.size]),
            bundled: originalEvent.getContent().body,
            related: events.length,
        };
    },

    async threads() {
        const [ann, ben] = [await client(0), await client(1, {})];
        const room = await roomOf(ann, ben);
        const there = await seen(ben, room);
        const root = await say(ann, room, "root");
        const replies = [];
        for (let n = 0; n < 3; n++) replies.push(await say(ann, room, `reply ${n}`, relation("m.thread", root)));
        await eventually(ben, () => there.getThread(root)?.length === 3);
        const main = there.getLiveTimeline().getEvents().map((event) => event.getId());
        const late = await client(0, {});
        const lateRoom = await seen(late, room);
        await lateRoom.createThreadsTimelineSets();
        await lateRoom.fetchRoomThreads();
        return { root, replies, length: there.getThread(root).length, mainHasReplies: replies.some((id) => main.includes(id)), listed: lateRoom.getThreads().map((thread) => [thread.id, thread.length]) };
    },

    async receipts() {
        const [ann, ben] = [await client(0, {}), await client(1, {})];
        const room = await roomOf(ann, ben);
        const [annRoom, benRoom] = [await seen(ann, room), await seen(ben, room)];
        await say(ann, room, "one");
        const last = await say(ann, room, "two");
        await eventually(ben, () => benRoom.findEventById(last) && benRoom.getRoomUnreadNotificationCount("total") === 2);
        const before = benRoom.getRoomUnreadNotificationCount("total");
        await ben.sendReadReceipt(benRoom.findEventById(last));
        await eventually(ann, () => annRoom.findEventById(last) && annRoom.getUsersReadUpTo(annRoom.findEventById(last)).includes(ben.getUserId()));
        await eventually(ben, () => benRoom.getRoomUnreadNotificationCount("total") === 0);
        return { before, after: benRoom.getRoomUnreadNotificationCount("total"), readers: annRoom.getUsersReadUpTo(annRoom.findEventById(last)) };
    },

    async typing() {
        const [ann, ben] = [await client(0), await client(1, {})];
        const room = await roomOf(ann, ben);
        const there = await seen(ben, room);
        const begun = until(ben, sdk.RoomMemberEvent.Typing, (_, member) => member.userId === ann.getUserId() && member.typing);
        await ann.sendTyping(room, true, 20000);
        await begun;
        const ended = until(ben, sdk.RoomMemberEvent.Typing, (_, member) => member.userId === ann.getUserId() && !member.typing);
        await ann.sendTyping(room, false, 0);
        await ended;
        return { typing: there.getMember(ann.getUserId()).typing };
    },

    async search() {
        const ann = await client(0);
        const room = await roomOf(ann);
        const wanted = await say(ann, room, "a numbat under the porch");
        await say(ann, room, "something else");
        for (let tries = 0; tries < 100; tries++) {
            const found = await ann.searchRoomEvents({ term: "numbat" });
            if (found.count) return { wanted, found: found.results.map((result) => result.context.getEvent().getId()), count: found.count };
        }
        return { wanted, found: [], count: 0 };
    },

    async spaces() {
        const [ann, ben] = [await client(0), await client(1)];
        const { room_id: space } = await ann.createRoom({ preset: "public_chat", name: "Space", creation_content: { type: "m.space" } });
        const rooms = [await roomOf(ann), await roomOf(ann)];
        for (const room of rooms) await ann.sendStateEvent(space, "m.space.child", { via: [given.serverName] }, room);
        const { rooms: listed } = await ben.getRoomHierarchy(space, 50);
        const children = listed.find((each) => each.room_id === space).children_state.map((each) => each.state_key);
        return { space, rooms, listed: listed.map((each) => each.room_id), children };
    },

    async pagination() {
        const ann = await client(0);
        const room = await roomOf(ann);
        const sent = [];
        for (let n = 0; n < 45; n++) sent.push(await say(ann, room, `message ${n}`));
        const late = await client(0, { initialSyncLimit: 5 });
        const there = await seen(late, room);
        const initially = there.getLiveTimeline().getEvents().length;
        while (there.oldState.paginationToken) await late.scrollback(there, 10);
        const got = there.getLiveTimeline().getEvents();
        return { sent, initially, got: got.filter((event) => event.getType() === "m.room.message").map((event) => event.getId()), first: got[0].getType() };
    },

    async reconnection() {
        const [ann, ben] = [await client(0), await client(1, { baseUrl: given.proxyUrl })];
        const room = await roomOf(ann, ben);
        await seen(ben, room);
        const got = [];
        ben.on(sdk.RoomEvent.Timeline, (event, _room, toStart) => !toStart && event.getType() === "m.room.message" && got.push(event.getId()));
        const sent = [];
        let interruptions = 0;
        for (let n = 0; n < 15; n++) {
            if (n % 5 === 2) {
                // Whoever is back is cut off again only then, so that there is something to notice; whether an answer
                // is on its way at that moment, or half of it, is left to chance.
                const noticed = until(ben, sdk.ClientEvent.Sync, (state) => state === "RECONNECTING" || state === "ERROR");
                await ask("cut");
                await noticed;
                interruptions++;
            }
            sent.push(await say(ann, room, `message ${n}`));
            if (n % 5 === 3) {
                await ask("resume");
                ben.retryImmediately();
            }
            if (n % 5 === 4) await eventually(ben, () => got.length >= sent.length);
        }
        return { sent, got, interruptions };
    },

    async lazy_loading() {
        const [ann, ...others] = await Promise.all(given.people.map((_, n) => client(n)));
        const room = await roomOf(ann, ...others);
        for (let n = 0; n < 25; n++) await say(ann, room, `message ${n}`);
        const late = await client(1, { lazyLoadMembers: true, initialSyncLimit: 3 });
        const there = await seen(late, room);
        const before = there.getJoinedMembers().map((member) => member.userId).sort();
        const count = there.getJoinedMemberCount();
        await there.loadMembersIfNeeded();
        return { before, count, after: there.getJoinedMembers().map((member) => member.userId).sort() };
    },

    async redaction() {
        const [ann, ben] = [await client(0), await client(1, {})];
        const room = await roomOf(ann, ben);
        const there = await seen(ben, room);
        const event = await say(ann, room, "regret");
        await eventually(ben, () => there.findEventById(event));
        await ann.redactEvent(room, event, undefined, { reason: "sorry" });
        await eventually(ben, () => there.findEventById(event).isRedacted());
        const redacted = there.findEventById(event);
        return { content: redacted.getContent(), reason: redacted.getUnsigned().redacted_because.content.reason };
    },

    async memberships() {
        const [ann, ben] = [await client(0), await client(1, {})];
        const { room_id: room } = await ann.createRoom({ preset: "private_chat" });
        const mine = () => ben.getRoom(room)?.getMyMembership();
        const uninvited = await refused(ben.joinRoom(room));
        const history = [];
        const reach = async (membership) => {
            await eventually(ben, () => mine() === membership).catch(() => history.push(`not ${membership}`));
            history.push(mine());
        };
        await ann.invite(room, ben.getUserId(), "come");
        await reach("invite");
        await ben.joinRoom(room);
        await reach("join");
        await ann.kick(room, ben.getUserId(), "out");
        await reach("leave");
        await ann.ban(room, ben.getUserId(), "and stay out");
        await reach("ban");
        const banned = await refused(ben.joinRoom(room));
        await ann.unban(room, ben.getUserId());
        await reach("leave");
        await ann.invite(room, ben.getUserId());
        await reach("invite");
        await ben.joinRoom(room);
        await reach("join");
        await ben.leave(room);
        await reach("leave");
        await ben.forget(room);
        return { uninvited, history, banned, joined: Object.keys((await ann.getJoinedRoomMembers(room)).joined) };
    },

    async profile() {
        const [ann, ben] = [await client(0), await client(1, {})];
        const room = await roomOf(ann, ben);
        const there = await seen(ben, room);
        await ann.setDisplayName("Ann the Second");
        await ann.setAvatarUrl(`mxc://${given.serverName}/face`);
        await eventually(ben, () => there.getMember(ann.getUserId())?.name === "Ann the Second" && there.getMember(ann.getUserId()).getMxcAvatarUrl());
        return { name: there.getMember(ann.getUserId()).name, profile: await ben.getProfileInfo(ann.getUserId()) };
    },

    async account_data() {
        const ann = await client(0, {});
        const room = await roomOf(ann);
        await seen(ann, room);
        await ann.setAccountData("org.example.x", { a: [1, null] });
        await ann.setRoomAccountData(room, "org.example.y", { b: 2 });
        await ann.setRoomTag(room, "u.work", { order: 0.5 });
        const there = ann.getRoom(room);
        await eventually(ann, () => there.getAccountData("org.example.y") && there.tags["u.work"]);
        return { global: ann.getAccountData("org.example.x").getContent(), room: there.getAccountData("org.example.y").getContent(), tags: there.tags };
    },

    async upgrade() {
        const ann = await client(0, {});
        const { room_id: room } = await ann.createRoom({ preset: "public_chat", name: "Old", room_version: "11" });
        const there = await seen(ann, room);
        const { replacement_room: replacement } = await ann.upgradeRoom(room, "12");
        await eventually(ann, () => there.currentState.getStateEvents("m.room.tombstone", ""));
        const successor = await seen(ann, replacement);
        return {
            room,
            replacement,
            tombstone: there.currentState.getStateEvents("m.room.tombstone", "").getContent().replacement_room,
            predecessor: successor.findPredecessor()?.roomId,
            version: successor.getVersion(),
            name: successor.name,
        };
    },

    async directory() {
        const [ann, ben] = [await client(0), await client(1)];
        const alias = `#${given.alias}:${given.serverName}`;
        const { room_id: room } = await ann.createRoom({ preset: "public_chat", visibility: "public", name: `Listed ${given.alias}` });
        await ann.createAlias(alias, room);
        const resolved = (await ben.getRoomIdForAlias(alias)).room_id;
        const joined = (await ben.joinRoom(alias)).roomId;
        const { chunk } = await ben.publicRooms({ limit: 10, filter: { generic_search_term: given.alias } });
        await ann.deleteAlias(alias);
        return { room, resolved, joined, listed: chunk.map((each) => each.room_id), after: await refused(ben.getRoomIdForAlias(alias)) };
    },

    async limited_sync() {
        const [ann, ben] = [await client(0), await client(1, {})];
        const room = await roomOf(ann, ben);
        const there = await seen(ben, room);
        const before = await say(ann, room, "before");
        await eventually(ben, () => there.findEventById(before));
        ben.stopClient();
        const sent = [];
        for (let n = 0; n < 40; n++) sent.push(await say(ann, room, `message ${n}`));
        await ann.setRoomName(room, "Renamed meanwhile");
        const last = await say(ann, room, "last");
        await ben.startClient({ initialSyncLimit: 20, pollTimeout: 10000 });
        await eventually(ben, () => there.findEventById(last) || ben.getRoom(room)?.findEventById(last));
        const now = ben.getRoom(room);
        while (now.oldState.paginationToken) await ben.scrollback(now, 20);
        const got = [];
        for (let part = now.getLiveTimeline(); part; part = part.getNeighbouringTimeline("b")) {
            got.unshift(...part.getEvents().filter((event) => event.getType() === "m.room.message"));
        }
        return { sent: [before, ...sent, last], got: got.map((event) => event.getId()), name: now.name };
    },
};

const name = process.argv[2];
let answer;
try {
    answer = { facts: await flows[name]() };
} catch (error) {
    answer = { failure: error?.stack ?? String(error) };
}
stopAll();
// The end of the process does not wait for a pipe: only when it has taken everything may the process go.
process.stdout.write(JSON.stringify(answer) + "\n", () => process.exit(0));
