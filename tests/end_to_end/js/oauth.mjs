// matrix-js-sdk logs in by the OAuth 2.0 API. Asks the test to be the person in the browser: {"open": url} on a line of
// its own, answered by a line with the address at which the browser ended.

import { createInterface } from "node:readline";

import { given, sdk } from "./client.mjs";

const { MSC4108RendezvousSession } = await import("matrix-js-sdk/lib/rendezvous/index.js");

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function say(what) {
    process.stdout.write(JSON.stringify(what) + "\n");
}

async function open(url) {
    say({ open: url });
    return new URL((await answers.next()).value);
}

async function who(accessToken) {
    const client = sdk.createClient({ baseUrl: given.baseUrl, accessToken });
    try {
        const found = await client.whoami();
        return [found.user_id, found.device_id];
    } catch (error) {
        return error.errcode;
    }
}

const flows = {
    /** Discover, register, authorize in the browser, exchange, refresh, revoke. */
    async code() {
        const client = sdk.createClient({ baseUrl: given.baseUrl });
        const metadata = await client.getAuthMetadata();
        const clientId = await sdk.OAuth2.registerClient(metadata, {
            client_name: "End to end",
            client_uri: "https://app.example.com/",
            application_type: "native",
            redirect_uris: ["http://127.0.0.1/callback"],
        });
        const oauth = new sdk.OAuth2(metadata, { clientId });
        const address = await oauth.generateAuthorizationCodeGrantUrl("the-state", given.callback, given.mode);
        const back = await open(address);
        const carried = new URLSearchParams(given.mode === "query" ? back.search : back.hash.slice(1));
        const tokens = await oauth.completeAuthorizationCodeGrant(carried.get("code"), given.callback);
        const first = await who(tokens.access_token);
        const renewed = await oauth.performRefreshTokenGrant(tokens.refresh_token);
        const second = await who(renewed.access_token);
        await oauth.revokeToken(renewed.refresh_token, "refresh_token");
        return {
            state: carried.get("state"),
            asked: oauth.context.deviceId,
            first,
            second,
            after: await who(renewed.access_token),
            actions: metadata.account_management_actions_supported,
        };
    },

    /** A device without a browser of its own. */
    async device() {
        const client = sdk.createClient({ baseUrl: given.baseUrl });
        const metadata = await client.getAuthMetadata();
        const clientId = await sdk.OAuth2.registerClient(metadata, {
            client_name: "A device",
            client_uri: "https://device.example.com/",
            application_type: "native",
            redirect_uris: ["http://127.0.0.1/callback"],
        });
        const oauth = new sdk.OAuth2(metadata, { clientId });
        const session = await oauth.startDeviceAuthorizationGrant();
        const waiting = oauth.waitForDeviceAuthorizationGrant({ ...session, interval: 1 });
        await open(session.verification_uri_complete);
        const tokens = await waiting;
        return { asked: oauth.context.deviceId, who: await who(tokens.access_token) };
    },

    /** The meeting of a login by QR code. */
    async rendezvous() {
        const failures = [];
        const onFailure = (reason) => failures.push(reason);
        const client = sdk.createClient({ baseUrl: given.baseUrl });
        const one = new MSC4108RendezvousSession({ client, onFailure });
        await one.send("hello");
        const two = new MSC4108RendezvousSession({ url: one.url, onFailure });
        const heard = [await two.receive()];
        await two.send("hello back");
        heard.push(await one.receive());
        await one.close();
        await two.receive();
        return { heard, failures };
    },
};

let answer;
try {
    answer = { facts: await flows[process.argv[2]]() };
} catch (error) {
    answer = { failure: String(error?.stack ?? error) };
}
// The end of the process does not wait for a pipe: only when it has taken everything may the process go.
process.stdout.write(JSON.stringify(answer) + "\n", () => process.exit(0));
