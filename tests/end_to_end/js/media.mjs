// Files, as matrix-js-sdk sends and shows them. The expectations are in test_media.py.

import { client, given, sdk } from "./client.mjs";

const { Method, MediaPrefix } = sdk;

/** What somebody gets at an address: its status, type and content. */
async function load(made, url) {
    const headers = made ? { Authorization: `Bearer ${made.getAccessToken()}` } : {};
    const answer = await fetch(url, { headers });
    const content = Buffer.from(await answer.arrayBuffer()).toString("base64");
    return { status: answer.status, type: answer.headers.get("content-type"), shown: answer.headers.get("content-disposition"), content };
}

const address = (made, uri, ...size) => made.mxcUrlToHttp(uri, size[0], size[1], size[2], false, true, true);

export const media = {
    async pictures() {
        const [ann, ben] = [await client(0), await client(1)];
        const picture = Buffer.from(given.picture, "base64");
        let progress = 0;
        const { content_uri: uri } = await ann.uploadContent(picture, {
            type: "image/png",
            name: "猫.png",
            progressHandler: ({ loaded }) => (progress = loaded),
        });
        return {
            uri,
            progress,
            limit: (await ann.getMediaConfig(true))["m.upload.size"],
            whole: await load(ben, address(ben, uri)),
            small: await load(ben, address(ben, uri, 40, 40, "scale")),
            cropped: await load(ben, address(ben, uri, 40, 40, "crop")),
            stranger: (await load(null, address(ben, uri))).status,
            frozen: (await load(ben, ben.mxcUrlToHttp(uri))).status,
        };
    },

    async promised() {
        const [ann, ben] = [await client(0), await client(1)];
        const made = await ann.http.authedRequest(Method.Post, "/create", undefined, undefined, { prefix: MediaPrefix.V1 });
        const uri = made.content_uri;
        const early = await load(ben, address(ben, uri) + "&timeout_ms=0");
        const waiting = load(ben, address(ben, uri));
        const put = (content) =>
            fetch(`${given.baseUrl}/_matrix/media/v3/upload/${uri.slice("mxc://".length)}?filename=later.txt`, {
                method: "PUT",
                headers: { "Authorization": `Bearer ${ann.getAccessToken()}`, "Content-Type": "text/plain" },
                body: content,
            });
        const first = (await put("here it is")).status;
        return { early: early.status, first, came: await waiting, second: (await put("again")).status };
    },
};
