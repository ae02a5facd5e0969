// Shows media in <img>: asks the authenticated path instead of the frozen one, with the access token that the page
// tells, as Element's own service worker does.

const FROZEN = /^\/_matrix\/media\/v3\/(download|thumbnail)\//;

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
    if (FROZEN.test(new URL(event.request.url).pathname)) event.respondWith(authenticated(event));
});

async function authenticated({ clientId, request }) {
    const page = await clients.get(clientId);
    const token = await new Promise((resolve) => {
        const channel = new MessageChannel();
        channel.port1.onmessage = ({ data }) => resolve(data);
        page.postMessage("token?", [channel.port2]);
    });
    const url = request.url.replace("/_matrix/media/v3/", "/_matrix/client/v1/media/");
    return fetch(url, { headers: { Authorization: `Bearer ${token}` } });
}
