// Element's own screens (matrix-react-sdk), and the little that the element-web repository puts around them.
// The page's address says which server: ?homeserver=http://…&name=….

import SdkConfig from "matrix-react-sdk/src/SdkConfig";

const asked = new URL(location.href).searchParams;
const discovered = { base_url: asked.get("homeserver"), server_name: asked.get("name") };
const config = {
    brand: "Element",
    disable_guests: true,
    default_theme: "light",
    default_server_config: { "m.homeserver": discovered },
    setting_defaults: { "UIFeature.feedback": false },
};
SdkConfig.put(config);

// What is loaded from here on reads the configuration at once.
const { default: React } = await import("react");
const { default: ReactDOM } = await import("react-dom");
const { default: BasePlatform } = await import("matrix-react-sdk/src/BasePlatform");
const { default: PlatformPeg } = await import("matrix-react-sdk/src/PlatformPeg");
const { default: AutoDiscoveryUtils } = await import("matrix-react-sdk/src/utils/AutoDiscoveryUtils");
const { setLanguage } = await import("matrix-react-sdk/src/languageHandler");
const { default: MatrixChat } = await import("matrix-react-sdk/src/components/structures/MatrixChat");

class Platform extends BasePlatform {
    getHumanReadableName() { return "Test"; }
    getDefaultDeviceDisplayName() { return "A browser"; }
    supportsNotifications() { return false; }
    maySendNotifications() { return false; }
    async requestNotificationPermission() { return "denied"; }
    async getAppVersion() { return "1"; }
    async getConfig() { return config; }
    async getOidcClientMetadata() { return {}; }
    needsUrlTooltips() { return false; }
    reload() { location.reload(); }
}

PlatformPeg.set(new Platform());
config.validated_server_config = await AutoDiscoveryUtils.buildValidatedConfigFromDiscovery(
    discovered.server_name,
    { "m.homeserver": { state: "SUCCESS", ...discovered }, "m.identity_server": { state: "PROMPT" } },
    true,
);
SdkConfig.put(config);
await setLanguage("en");

navigator.serviceWorker.addEventListener("message", ({ ports }) => {
    ports[0].postMessage(window.mxMatrixClientPeg.get().getAccessToken());
});
await navigator.serviceWorker.register("sw.js");
await navigator.serviceWorker.ready;

/** The screen that the address asks for: #/room/!id, #/register, … */
function screen() {
    const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
    return { screen: path, params: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

let shown = "";
addEventListener("hashchange", () => {
    if (location.hash !== shown) window.matrixChat.showScreen(screen().screen, screen().params);
});
ReactDOM.render(
    React.createElement(MatrixChat, {
        ref: (chat) => { window.matrixChat = chat; },
        config,
        realQueryParams: asked.has("loginToken") ? { loginToken: asked.get("loginToken") } : {},
        startingFragmentQueryParams: {},
        enableGuest: false,
        onNewScreen: (path, replaceLast) => {
            shown = `#/${path}`;
            if (replaceLast) location.replace(shown);
            else location.hash = shown;
        },
        onTokenLoginCompleted() {
            asked.delete("loginToken");
            history.replaceState(null, "", `?${asked}`);
        },
        initialScreenAfterLogin: screen().screen ? screen() : undefined,
        defaultDeviceDisplayName: "A browser",
    }),
    document.getElementById("matrixchat"),
);
