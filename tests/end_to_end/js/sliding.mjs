// Sliding sync by the class of matrix-js-sdk.

import { ask, client, eventually, given, roomOf, say, sdk, started } from "./client.mjs";

const { SlidingSync } = await import("matrix-js-sdk/lib/sliding-sync.js");
const STATE = [["m.room.name", ""], ["m.room.create", ""], ["m.room.encryption", ""], ["m.room.member", "$LAZY"], ["m.room.member", "$ME"]];
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function until(condition, seconds = 90) {
    for (const end = Date.now() + seconds * 1000; Date.now() < end; await pause(50)) if (condition()) return true;
    throw new Error(`not within ${seconds} s: ${condition}`);
}

/** A client that slides over its newest rooms. */
async function slider(n, ranges, baseUrl = given.baseUrl) {
    const made = await client(n, undefined);
    const person = given.people[n];
    const sliding = sdk.createClient({ baseUrl, userId: person.userId, accessToken: person.accessToken, deviceId: person.deviceId, logger: made.logger });
    const lists = new Map([["all", { ranges, timeline_limit: 3, required_state: STATE }]]);
    const slidingSync = new SlidingSync(baseUrl, lists, { timeline_limit: 20, required_state: STATE }, sliding, 5000);
    started.push(sliding);
    await sliding.startClient({ slidingSync, threadSupport: true });
    return [sliding, slidingSync];
}

const bodies = (made, room) => (made.getRoom(room)?.getLiveTimeline().getEvents() ?? []).filter((event) => event.getType() === "m.room.message").map((event) => event.getContent().body);

export const sliding = {
    async sliding() {
        const ann = await client(0);
        const [first, second] = [await roomOf(ann), await roomOf(ann)];
        await ann.setRoomName(first, "The first");
        for (const room of [first, second]) await ann.invite(room, given.people[1].userId);
        const [ben, slidingSync] = await slider(1, [[0, 0]], given.proxyUrl);
        await until(() => ben.getRoom(second)?.getMyMembership() === "invite");
        const outside = ben.getRoom(first) === null;
        slidingSync.setListRanges("all", [[0, 9]]);
        await until(() => ben.getRoom(first)?.getMyMembership() === "invite");
        await ben.joinRoom(first);
        await until(() => ben.getRoom(first)?.getMyMembership() === "join");
        const sent = [];
        for (let n = 0; n < 6; n++) {
            sent.push(`message ${n} 你好`);
            await say(ann, first, sent.at(-1));
            if (n === 2) await ask("cut");
            if (n === 4) await ask("resume");
        }
        await until(() => bodies(ben, first).at(-1) === sent.at(-1));
        slidingSync.modifyRoomSubscriptions(new Set([first]));
        await until(() => new Set(bodies(ben, first)).size === sent.length);
        await ann.sendTyping(first, true, 20000);
        const typed = await until(() => ben.getRoom(first).getMember(given.people[0].userId)?.typing);
        const unread = ben.getRoom(first).getUnreadNotificationCount("total");
        const events = ben.getRoom(first).getLiveTimeline().getEvents();
        await ben.sendReadReceipt(events.at(-1));
        await until(() => ben.getRoom(first).getUnreadNotificationCount("total") === 0);
        await ben.setAccountData("org.example.note", { text: "hi" });
        await until(() => ben.getAccountData("org.example.note")?.getContent().text === "hi");
        const secrets = [];
        ben.on(sdk.ClientEvent.ReceivedToDeviceMessage, ({ message }) => secrets.push(message.type));
        ben.on(sdk.ClientEvent.ToDeviceEvent, (event) => secrets.push(event.getType()));
        await ann.sendToDevice("org.example.secret", new Map([[given.people[1].userId, new Map([[given.people[1].deviceId, { n: 2 }]])]]));
        await until(() => secrets.includes("org.example.secret"));
        await ann.kick(second, given.people[1].userId);
        await until(() => ben.getRoom(second)?.getMyMembership() === "leave");
        return { outside, sent, got: bodies(ben, first), name: ben.getRoom(first).name, typed, unread, count: slidingSync.getListData("all").joinedCount };
    },
};
