// Calls of many as Element Call makes them: MatrixRTC of matrix-js-sdk, without the media.

import { client, given, roomOf, seen } from "./client.mjs";

const CALL_MEMBER = "org.matrix.msc3401.call.member";
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function until(condition, seconds = 90) {
    for (const end = Date.now() + seconds * 1000; Date.now() < end; await pause(50)) if (condition()) return true;
    return false;
}

export const calls = {
    // One joins a call, another sees it; the first one's machine is switched off, and the other sees that, too.
    async call() {
        const [ann, ben] = [await client(0, {}), await client(1, {})];
        const room = await roomOf(ann, ben);
        await ann.sendStateEvent(room, "m.room.power_levels", {
            ...(await ann.getStateEvent(room, "m.room.power_levels", "")),
            events: { [CALL_MEMBER]: 0 },
        });
        const [annRoom, benRoom] = [await seen(ann, room), await seen(ben, room)];
        const transports = await ben._unstable_getRTCTransports();
        const openId = await ben.getOpenIdToken();
        const seenByAnn = ann.matrixRTC.getRoomSession(annRoom);
        const session = ben.matrixRTC.getRoomSession(benRoom);
        const focus = { type: "livekit", livekit_service_url: "https://livekit.example.org", livekit_alias: room };
        session.joinRoomSession([focus], focus, {
            delayedLeaveEventDelayMs: 2500,
            delayedLeaveEventRestartMs: 500,
            unstableSendStickyEvents: given.sticky,
        });
        const there = await until(() => seenByAnn.memberships.length === 1);
        const who = seenByAnn.memberships.map((membership) => membership.userId);
        await pause(4000); // restarted all that time: still there
        const stays = seenByAnn.memberships.length === 1;
        const waiting = (await ben._unstable_getDelayedEvents()).scheduled.length;
        ben.stopClient();
        ben.http.authedRequest = ben.http.request = () => new Promise(() => {}); // the machine is off
        const gone = await until(() => seenByAnn.memberships.length === 0);
        return { transports, matrixServer: openId.matrix_server_name, there, who, stays, waiting, gone };
    },

    // Who leaves properly is gone at once, and nothing of theirs waits any more.
    async call_left() {
        const [ann, ben] = [await client(0, {}), await client(1, {})];
        const room = await roomOf(ann, ben);
        const annRoom = await seen(ann, room);
        await seen(ben, room);
        const session = ann.matrixRTC.getRoomSession(annRoom);
        const seenByBen = ben.matrixRTC.getRoomSession(ben.getRoom(room));
        const focus = { type: "livekit", livekit_service_url: "https://livekit.example.org", livekit_alias: room };
        session.joinRoomSession([focus], focus, { unstableSendStickyEvents: given.sticky });
        const there = await until(() => seenByBen.memberships.length === 1);
        await session.leaveRoomSession(5000);
        const gone = await until(() => seenByBen.memberships.length === 0);
        return { there, gone, waiting: (await ann._unstable_getDelayedEvents()).scheduled.length };
    },
};
