// node staff.mjs {"baseUrl", "userId", "password"}: somebody of the staff at matrix-js-sdk, told what to do by lines of
// JSON on stdin ({"do": NAME, …}), each answered by one line {"answer": …} or {"failure": …}. Ends when stdin ends.

import readline from "node:readline";

import { eventually, sdk, until } from "./client.mjs";

const { baseUrl, userId, password } = JSON.parse(process.argv[2]);

const identifier = { type: "m.id.user", user: userId };
const login = await sdk.createClient({ baseUrl }).loginRequest({ type: "m.login.password", identifier, password });
const me = sdk.createClient({
    baseUrl,
    userId: login.user_id,
    accessToken: login.access_token,
    deviceId: login.device_id,
    timelineSupport: true,
    logger: (() => {
        const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => silent };
        return silent;
    })(),
});

const rooms = (membership) => me.getRooms().filter((room) => room.getMyMembership() === membership);

/** What a client shows that is scrolled up to the beginning: each message, oldest first, as [sender, text]. */
async function shown(roomId) {
    const room = me.getRoom(roomId);
    const events = [];
    // A gap after an interruption is filled by scrolling up, which is what a person sees happen.
    while (room.oldState.paginationToken) await me.scrollback(room, 50);
    for (let part = room.getLiveTimeline(); part; part = part.getNeighbouringTimeline("b")) {
        events.unshift(...part.getEvents().filter((event) => event.getType() === "m.room.message"));
    }
    return events.map((event) => [event.getSender(), event.getContent().body]);
}

/** Send, and send again under the same transaction id while the network is away, as the button of a client does. */
async function say(roomId, body) {
    const room = me.getRoom(roomId);
    const content = { msgtype: "m.text", body };
    try {
        return (await me.sendEvent(roomId, "m.room.message", content)).event_id;
    } catch {
        for (;;) {
            await online();
            const [first] = room.getPendingEvents().filter((event) => event.status === sdk.EventStatus.NOT_SENT);
            if (!first) return null;
            try {
                return (await me.resendEvent(first, room)).event_id;
            } catch (error) {
                if (error.httpStatus && error.httpStatus < 500 && error.httpStatus !== 429) throw error;
            }
        }
    }
}

/** Resolves when the server answers. */
async function online() {
    for (;;) {
        try {
            await me.whoami();
            return;
        } catch {
            await new Promise((resolve) => setTimeout(resolve, 200));
        }
    }
}

const deeds = {
    /** The n-th invitation of this session, as soon as it is there: its room, name and who invites. */
    async invitation({ known }) {
        const fresh = () => rooms("invite").find((room) => !known.includes(room.roomId));
        await eventually(me, fresh);
        const room = fresh();
        return { room: room.roomId, name: room.name, from: room.getDMInviter() };
    },
    async join({ room }) {
        await me.joinRoom(room);
        await eventually(me, () => me.getRoom(room)?.getMyMembership() === "join");
        return me.getRoom(room).name;
    },
    say: ({ room, text }) => say(room, text),
    async type({ room, on }) {
        await me.sendTyping(room, on, 60000);
    },
    /** What is shown in the room once it has as many messages as that, or as it is after a while. */
    async shown({ room, count }) {
        for (const end = Date.now() + 90000; Date.now() < end; ) {
            const found = await shown(room);
            if (found.length >= count) return found;
            await until(me, sdk.ClientEvent.Sync, () => true, 10).catch(() => {});
        }
        return shown(room);
    },
    /** The members of a room by membership. */
    async members({ room }) {
        return Object.keys((await me.getJoinedRoomMembers(room)).joined);
    },
};

const ready = until(me, sdk.ClientEvent.Sync, (state) => state === "PREPARED");
await me.startClient({ initialSyncLimit: 50, pollTimeout: 10000, pendingEventOrdering: "detached" });
await ready;

const answer = (value) => process.stdout.write(JSON.stringify(value) + "\n");
answer({ answer: login.user_id });
for await (const line of readline.createInterface({ input: process.stdin })) {
    const { do: deed, ...more } = JSON.parse(line);
    try {
        answer({ answer: (await deeds[deed](more)) ?? null });
    } catch (error) {
        answer({ failure: error?.stack ?? String(error) });
    }
}
me.stopClient();
// The end of the process does not wait for a pipe: only when it has taken everything may the process go.
process.stdout.write("", () => process.exit(0));
