// Hydrogen as its own web application starts it, without end-to-end encryption (no olm in `assetPaths`).

import {
    createNavigation, createRouter, FeatureSet, Platform, RootViewModel,
} from "hydrogen-view-sdk";

const platform = new Platform({
    container: document.getElementById("app"),
    assetPaths: { downloadSandbox: "assets/download-sandbox.html", serviceWorker: "sw.js" },
    config: { defaultHomeServer: new URL(location.href).searchParams.get("homeserver") },
    options: {},
});
await platform.init();
const navigation = createNavigation();
platform.setNavigation(navigation);
const urlRouter = createRouter({ navigation, history: platform.history });
urlRouter.attach();
const features = await FeatureSet.load(platform.settingsStorage);
const root = new RootViewModel({ platform, urlRouter, navigation, features });
await root.load();
platform.createAndMountRootView(root);
