// Encrypted rooms with the Rust crypto of matrix-js-sdk: two people with two devices each.

import { ask as askTest, eventually, given, sdk, seen, started, until } from "./client.mjs";
import { CryptoEvent, VerifierEvent, VerificationPhase, VerificationRequestEvent } from "matrix-js-sdk/lib/crypto-api/index.js";

const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {}, getChild: () => silent };
const SAS = "m.sas.v1";

/** The recovery keys by user: what a person would type on a new device. */
const recoveryKeys = new Map();

/** A started client with encryption, of the n-th person's session or of the one given. */
async function device(n, session = given.people[n]) {
    const made = sdk.createClient({
        baseUrl: given.baseUrl,
        ...session,
        logger: silent,
        timelineSupport: true,
        verificationMethods: [SAS],
        cryptoCallbacks: {
            getSecretStorageKey: async ({ keys }) => [Object.keys(keys)[0], recoveryKeys.get(session.userId).privateKey],
            cacheSecretStorageKey() {},
        },
    });
    await made.initRustCrypto({ useIndexedDB: false });
    started.push(made);
    const ready = until(made, sdk.ClientEvent.Sync, (state) => state === "PREPARED");
    await made.startClient({ initialSyncLimit: 20, pollTimeout: 10000 });
    await ready;
    return made;
}

/** A further device of the n-th person, who types the password. */
async function anotherDevice(n, more = {}) {
    const identifier = { type: "m.id.user", user: given.people[n].userId };
    const login = await sdk.createClient({ baseUrl: given.baseUrl }).loginRequest({ type: "m.login.password", identifier, password: given.password });
    return device(n, { userId: login.user_id, accessToken: login.access_token, deviceId: login.device_id, ...more });
}

/** Cross-signing keys, secret storage and a backup, as a client sets them up on the first day. */
async function setUp(made) {
    const crypto = made.getCrypto();
    await crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (upload) => upload(null) });
    const recoveryKey = await crypto.createRecoveryKeyFromPassphrase();
    recoveryKeys.set(made.getUserId(), recoveryKey);
    await crypto.bootstrapSecretStorage({
        createSecretStorageKey: async () => recoveryKey,
        setupNewSecretStorage: true,
        setupNewKeyBackup: true,
    });
}

/** Resolves when `condition()` holds; for what comes by other ways than sync. */
async function holds(condition, what, seconds = 90) {
    const end = Date.now() + seconds * 1000;
    while (!(await condition())) {
        if (Date.now() > end) throw new Error(`not in ${seconds} s: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
}

/** What a promise gives, which may take so long; says what it was that did not come. */
function within(promise, what, seconds = 90) {
    let timer;
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`not in ${seconds} s: ${what}`)), seconds * 1000)));
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What a device reads of the room: the text of an event once it is decrypted. */
async function reads(made, room, eventId) {
    const there = await seen(made, room);
    await holds(() => there.findEventById(eventId), `${made.getDeviceId()} gets ${eventId}`);
    const event = there.findEventById(eventId);
    await holds(() => event.getType() === "m.room.message" && !event.isDecryptionFailure(), `${made.getDeviceId()} decrypts ${eventId}`);
    return event.getContent().body;
}

/** Two devices of one person know each other: a request of a device that is not known yet is passed over. */
async function know(one, other) {
    for (const [knows, known] of [[one, other], [other, one]]) {
        const devices = async () => (await knows.getCrypto().getUserDeviceInfo([knows.getUserId()])).get(knows.getUserId());
        await holds(async () => (await devices())?.has(known.getDeviceId()), `${knows.getDeviceId()} knows ${known.getDeviceId()}`);
    }
}

/** Both compare the emoji and agree. `ask` makes the request of the one; the other one receives it. */
async function compareEmoji(one, other, ask) {
    const received = until(other, CryptoEvent.VerificationRequestReceived);
    const asked = await ask();
    const [request] = await received;
    await within(request.accept(), "a verification is accepted");
    await phase(asked, VerificationPhase.Ready);
    const verifier = await within(asked.startVerification(SAS), "a verification is started");
    const mine = shows(verifier);
    const done = verifier.verify();
    await phase(request, VerificationPhase.Started);
    const theirs = shows(request.verifier);
    const alsoDone = request.verifier.verify();
    const [here, there] = await Promise.all([mine, theirs]);
    const same = JSON.stringify(here.sas.emoji) === JSON.stringify(there.sas.emoji);
    await within(Promise.all([here.confirm(), there.confirm()]), "both agree");
    await within(done, "the first is done");
    await within(alsoDone, "the other one is done");
    return same && here.sas.emoji.length === 7;
}

/** A plain request in the name of the n-th person, past everything that the library remembers. */
async function ask(n, method, path, body) {
    const headers = { Authorization: `Bearer ${given.people[n].accessToken}` };
    return (await fetch(`${given.baseUrl}/_matrix/client/v3${path}`, { method, headers, body: JSON.stringify(body) })).json();
}

async function phase(request, wanted) {
    if (request.phase !== wanted) await until(request, VerificationRequestEvent.Change, () => request.phase === wanted);
}

async function shows(verifier) {
    const shown = verifier.getShowSasCallbacks();
    return shown ?? (await until(verifier, VerifierEvent.ShowSas))[0];
}

export const encryption = {
    async encryption() {
        const [annUser, benUser] = given.people.map((each) => each.userId);
        const [ann, ben] = [await device(0), await device(1)];
        await setUp(ann);
        await setUp(ben);
        const { room_id: room } = await ann.createRoom({
            preset: "private_chat",
            invite: [benUser],
            initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
        });
        await eventually(ben, () => ben.getRoom(room)?.getMyMembership() === "invite");
        await ben.joinRoom(room);
        await seen(ben, room);
        const say = async (who, body) => {
            await seen(who, room);
            return (await who.sendEvent(room, "m.room.message", { msgtype: "m.text", body })).event_id;
        };
        await holds(() => ann.getRoom(room)?.getMember(benUser)?.membership === "join", "Ann sees Ben join");

        const first = await say(ann, "the first secret");
        const wire = await ask(1, "GET", `/rooms/${encodeURIComponent(room)}/event/${encodeURIComponent(first)}`);
        const facts = { onTheWire: wire.type, first: await reads(ben, room, first) };

        // Ben's second device has nothing but the recovery key.
        await holds(async () => (await ask(1, "GET", "/room_keys/version")).count > 0, "Ben's keys are backed up");
        const benPhone = await anotherDevice(1);
        await benPhone.getCrypto().userHasCrossSigningKeys(benUser, true); // brings the public keys, as clients do
        await benPhone.getCrypto().bootstrapCrossSigning({});
        await benPhone.getCrypto().loadSessionBackupPrivateKeyFromSecretStorage();
        await benPhone.getCrypto().checkKeyBackupAndEnable();
        facts.restored = (await benPhone.getCrypto().restoreKeyBackup()).imported;
        facts.firstOnPhone = await reads(benPhone, room, first);

        // Ann's second device is verified by comparing emoji with the first.
        const annPhone = await anotherDevice(0);
        await know(ann, annPhone);
        facts.sameEmoji = await compareEmoji(annPhone, ann, () => annPhone.getCrypto().requestOwnUserVerification());
        facts.signed = [];
        for (const [who, phone] of [[annUser, annPhone], [benUser, benPhone]]) {
            for (const viewer of [ann, ben]) {
                await holds(async () => (await viewer.getCrypto().getDeviceVerificationStatus(who, phone.getDeviceId()))?.signedByOwner, `${viewer.getUserId()} sees that ${who} signed the phone`);
                facts.signed.push(true);
            }
        }

        // Ann and Ben verify each other in the room; both phones hear of it by the signatures alone.
        facts.sameEmojiAgain = await compareEmoji(ann, ben, () => ann.getCrypto().requestVerificationDM(benUser, room));
        facts.verified = [];
        for (const [viewer, who] of [[ann, benUser], [ben, annUser], [annPhone, benUser], [benPhone, annUser]]) {
            await holds(async () => (await viewer.getCrypto().getUserVerificationStatus(who)).isCrossSigningVerified(), `${viewer.getUserId()} ${viewer.getDeviceId()} has verified ${who}`);
            facts.verified.push(true);
        }

        const second = await say(benPhone, "the second secret");
        facts.second = [];
        for (const reader of [ann, annPhone, ben, benPhone]) facts.second.push(await reads(reader, room, second));
        return facts;
    },

    async dehydrated_device() {
        const [annUser, benUser] = given.people.map((each) => each.userId);
        const [ann, ben] = [await device(0), await device(1)];
        await setUp(ann);
        const supported = await ann.getCrypto().isDehydrationSupported();
        const { room_id: room } = await ben.createRoom({
            preset: "private_chat",
            invite: [annUser],
            initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
        });
        await eventually(ann, () => ann.getRoom(room)?.getMyMembership() === "invite");
        await ann.joinRoom(room);
        await seen(ben, room);
        await holds(() => ben.getRoom(room).getMember(annUser)?.membership === "join", "Ben sees Ann join");
        await ann.getCrypto().startDehydration();
        await ann.logout(true);
        ann.stopClient();
        const devices = async () => [...((await ben.getCrypto().getUserDeviceInfo([annUser], true)).get(annUser) ?? new Map()).values()];
        // One device alone is not enough to wait for: so it was before, when Ann's first one was all that Ben knew of.
        const onlyAsleep = (known) => known.length === 1 && known[0].dehydrated;
        await holds(async () => onlyAsleep(await devices()), "Ben knows only the device that sleeps");
        const [asleep] = await devices();
        const secret = (await ben.sendEvent(room, "m.room.message", { msgtype: "m.text", body: "while you slept" })).event_id;
        const fresh = await anotherDevice(0);
        await fresh.getCrypto().userHasCrossSigningKeys(annUser, true);
        await fresh.getCrypto().bootstrapCrossSigning({});
        const rehydrated = until(fresh, CryptoEvent.RehydrationCompleted);
        await fresh.getCrypto().startDehydration();
        await rehydrated;
        return { supported, dehydrated: asleep.dehydrated, read: await reads(fresh, room, secret), ben: benUser };
    },

    /** Ben's phone reaches nothing for a week, in which the keys of the room change every day. */
    async week_offline() {
        const benUser = given.people[1].userId;
        const [ann, ben] = [await device(0), await device(1)];
        const phone = await anotherDevice(1, { baseUrl: given.proxyUrl });
        const { room_id: room } = await ann.createRoom({
            preset: "private_chat",
            invite: [benUser],
            initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
        });
        await eventually(ben, () => ben.getRoom(room)?.getMyMembership() === "invite");
        await ben.joinRoom(room);
        await seen(phone, room);
        await seen(ann, room);
        await holds(() => ann.getRoom(room).getMember(benUser)?.membership === "join", "Ann sees Ben join");
        await askTest("cut");
        const sent = [];
        const times = [];
        for (let day = 1; day <= 7; day++) {
            await askTest("day");
            await ann.getCrypto().forceDiscardSession(room);
            const said = (await ann.sendEvent(room, "m.room.message", { msgtype: "m.text", body: `day ${day}` })).event_id;
            sent.push(said);
            times.push((await ask(1, "GET", `/rooms/${encodeURIComponent(room)}/event/${encodeURIComponent(said)}`)).origin_server_ts);
        }
        const before = phone.getRoom(room).findEventById(sent[0]) !== undefined;
        await askTest("resume");
        const read = [];
        for (const said of sent) read.push(await reads(phone, room, said));
        return { read, before, days: times.map((time) => Math.round((time - times[0]) / 86400000)) };
    },

    async one_time_keys_are_refilled() {
        const ann = await device(0);
        const counted = async () => (await ask(0, "POST", "/keys/upload", {})).one_time_key_counts.signed_curve25519;
        await holds(async () => (await counted()) > 0, "Ann uploads keys");
        const before = await counted();
        const claimed = new Set();
        for (let n = 0; n < before; n++) {
            const wanted = { one_time_keys: { [ann.getUserId()]: { [ann.getDeviceId()]: "signed_curve25519" } } };
            const found = (await ask(1, "POST", "/keys/claim", wanted)).one_time_keys[ann.getUserId()][ann.getDeviceId()];
            claimed.add(Object.keys(found)[0]);
        }
        await ann.setAccountData("org.example.nudge", {}); // an answer to /sync, in which the client reads the count
        await holds(async () => (await counted()) >= before, "Ann uploads more keys");
        return { before, claimed: claimed.size, after: await counted() };
    },
};
