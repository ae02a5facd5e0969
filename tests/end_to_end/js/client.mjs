// A matrix-js-sdk client on the running server, and the few things every flow needs.

// matrix-js-sdk uses this function of newer engines; Node.js 20 is what long-lived systems have.
Promise.withResolvers ??= function () {
    let resolve, reject;
    const promise = new Promise((yes, no) => ([resolve, reject] = [yes, no]));
    return { promise, resolve, reject };
};

const sdk = await import("matrix-js-sdk");

const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => silent };
sdk.logger?.disableAll?.();

export { sdk };

/** What the test gave: {baseUrl, serverName, people: [{userId, accessToken, deviceId, password}]}. */
export const given = JSON.parse(process.argv[3] ?? "{}");

export const started = [];

/** A client for the n-th person; started when `options` are given. Resolves when the first sync is done. */
export async function client(n, options) {
    const person = given.people[n];
    const made = sdk.createClient({
        baseUrl: options?.baseUrl ?? given.baseUrl,
        userId: person.userId,
        accessToken: person.accessToken,
        deviceId: person.deviceId,
        logger: silent,
        timelineSupport: true,
    });
    if (options) {
        started.push(made);
        const ready = until(made, sdk.ClientEvent.Sync, (state) => state === "PREPARED");
        await made.startClient({ initialSyncLimit: 20, pollTimeout: 10000, threadSupport: true, ...options });
        await ready;
    }
    return made;
}

/** Resolves with the arguments of the first emission that `wanted` accepts. */
export function until(emitter, event, wanted = () => true, seconds = 90) {
    return new Promise((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no ${event} in ${seconds} s`)), seconds * 1000);
        const listener = (...args) => {
            if (!wanted(...args)) return;
            clearTimeout(timer);
            emitter.off(event, listener);
            resolve(args);
        };
        emitter.on(event, listener);
    });
}

/** Resolves when `condition()` holds, which is looked at after each of the client's syncs. */
export async function eventually(made, condition, seconds = 90) {
    if (condition()) return;
    await until(made, sdk.ClientEvent.Sync, () => condition(), seconds);
}

/** A public room of the first client which the others joined. */
export async function roomOf(first, ...others) {
    const { room_id: room } = await first.createRoom({ preset: "public_chat" });
    for (const other of others) await other.joinRoom(room);
    return room;
}

export async function say(made, room, body, more = {}) {
    const content = { msgtype: "m.text", body, ...more };
    return (await made.sendEvent(room, "m.room.message", content)).event_id;
}

/** The room as a started client has it, once it has it. */
export async function seen(made, room) {
    await eventually(made, () => made.getRoom(room)?.getMyMembership() === "join");
    return made.getRoom(room);
}

/** Ask the test to do something (such as cutting connections); resolves when it has. */
export function ask(what) {
    process.stdout.write(JSON.stringify({ ask: what }) + "\n");
    return new Promise((resolve) => process.stdin.once("data", resolve));
}

export function stopAll() {
    for (const made of started) made.stopClient();
}

export async function refused(promise) {
    try {
        await promise;
        return null;
    } catch (error) {
        return error.errcode ?? String(error);
    }
}
