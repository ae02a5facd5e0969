// oidc-provider, a certified implementation of OpenID Connect, as the company's login. Any name is let in, with any
// password. Given: {port, redirectUri, logoutUri, secret}. Says {"ready": true} when it listens.

import { Provider } from "oidc-provider";

const given = JSON.parse(process.argv[2]);

const provider = new Provider(`http://127.0.0.1:${given.port}`, {
    clients: [
        {
            client_id: "halfdoor",
            client_secret: given.secret,
            redirect_uris: [given.redirectUri],
            grant_types: ["authorization_code"],
            response_types: ["code"],
            backchannel_logout_uri: given.logoutUri,
            backchannel_logout_session_required: true,
        },
    ],
    claims: { openid: ["sub"], profile: ["name", "preferred_username"], email: ["email", "email_verified"] },
    features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: true } },
    pkce: { required: () => true },
    // It asks no private addresses, of which our server's is one here.
    fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
    cookies: { keys: ["only a test"] },
    findAccount: (context, id) => ({
        accountId: id,
        claims: () => ({
            sub: id,
            preferred_username: id,
            name: `${id} of the company`,
            email: `${id}@example.org`,
            email_verified: true,
        }),
    }),
});

provider.on("server_error", (context, error) => console.error(error));
provider.on("backchannel.error", (context, error) => console.error(error));
provider.listen(given.port, "127.0.0.1", () => process.stdout.write('{"ready": true}\n'));
