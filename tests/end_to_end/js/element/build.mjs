// Bundles Element's screens into node_modules/.site. Pictures, styles and sounds are left out: nobody looks at the page.

import { build } from "esbuild";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";

const sdk = "node_modules/matrix-react-sdk";
const site = "node_modules/.site";
const folder = process.cwd();
const component = 'import * as React from "react"; const Svg = React.forwardRef((p, ref) => React.createElement("svg", { ...p, ref }));';

/** What webpack does for Element with loaders of its own. */
const loaders = {
    name: "loaders",
    setup(of) {
        const nothing = (filter) => of.onResolve({ filter }, ({ path }) => ({ path, namespace: "nothing" }));
        nothing(/RecorderWorklet$|^opus-recorder|^!!raw-loader|^\$\(res\)|^\.\.\/.*res\/.*\.(png|gif|ogg|mp3|ttf|woff2?)$/);
        of.onLoad({ filter: /.*/, namespace: "nothing" }, () => ({ contents: 'export default "data:,"' }));
        of.onLoad({ filter: /\.(css|pcss|scss)$/ }, () => ({ contents: "" }));
        of.onLoad({ filter: /\.svg$/ }, () => ({
            contents: `${component} export const Icon = Svg; export default "data:image/svg+xml,<svg/>";`,
            resolveDir: folder,
        }));
        of.onResolve({ filter: /^@vector-im\/compound-design-tokens\/(assets\/web\/)?icons?\// }, ({ path }) => ({
            path,
            namespace: "icon",
        }));
        of.onLoad({ filter: /.*/, namespace: "icon" }, () => ({
            contents: `${component} export const Icon = Svg; export default Svg;`,
            resolveDir: folder,
        }));
        of.onResolve({ filter: /^\$webapp\/i18n/ }, ({ path }) => ({ path, namespace: "languages" }));
        of.onLoad({ filter: /.*/, namespace: "languages" }, () => ({ contents: '{"en": "en_EN.json"}', loader: "json" }));
        of.onLoad({ filter: /WorkerFactory\.ts$/ }, async ({ path }) => ({
            contents: (await readFile(path, "utf8")).replace(".worker.ts", ".worker.js"),
            loader: "ts",
        }));
    },
};

await rm(site, { recursive: true, force: true });
await mkdir(`${site}/i18n`, { recursive: true });
await build({
    entryPoints: ["element.mjs"],
    bundle: true,
    splitting: true,
    format: "esm",
    outdir: site,
    target: "es2022",
    logLevel: "error",
    define: { global: "window", "process.env.NODE_ENV": '"production"' },
    inject: ["shims.mjs"],
    plugins: [loaders],
    loader: { ".png": "dataurl", ".gif": "dataurl", ".wasm": "file", ".ttf": "dataurl", ".woff2": "dataurl" },
    alias: {
        path: "path-browserify", fs: "./empty.mjs", crypto: "./empty.mjs", http: "./empty.mjs", https: "./empty.mjs",
        zlib: "./empty.mjs", stream: "stream-browserify", util: "util/", url: "url/", events: "events/", buffer: "buffer/",
    },
});
await build({
    entryPoints: ["indexeddb", "playback", "blurhash"].map((name) => `${sdk}/src/workers/${name}.worker.ts`),
    bundle: true,
    format: "iife",
    outdir: site,
    target: "es2022",
    logLevel: "error",
    define: { global: "self" },
});
await cp(`${sdk}/src/i18n/strings/en_EN.json`, `${site}/i18n/en_EN.json`);
await writeFile(`${site}/i18n/languages.json`, '{"en": "en_EN.json"}');
for (const file of ["index.html", "sw.js"]) await cp(file, `${site}/${file}`);
