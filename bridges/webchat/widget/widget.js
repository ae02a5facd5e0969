/* Halfdoor web chat. One script tag, no globals, everything inside a shadow root. Protocol: docs/webchat.md.
   Whatever people wrote reaches the page through textContent alone. */
(() => {
  "use strict";
  const script = document.currentScript;
  const siteKey = script && script.dataset.site;
  if (!siteKey) return;
  const base = new URL(script.dataset.server || script.src, location.href);
  const root = base.pathname.replace(/\/webchat\/.*$|\/$/, "") + "/webchat";
  const httpBase = base.origin + root;
  const socketUrl = httpBase.replace(/^http/, "ws") + "/ws";

  const TEXTS = {
    en: {
      open: "Open chat", close: "Close chat", title: "Chat with us", hint: "Write a message…", send: "Send",
      hello: "Hello! How can we help you?", online: "We are here for you", connecting: "Connecting…",
      offline: "No connection. Your messages are kept and sent later.", typing: "{name} is typing…",
      sent: "Sent", waiting: "Waiting to be sent", delivered: "Delivered", read: "Read", failed: "Not delivered",
      edited: "edited", deleted: "This message was deleted.", you: "You", unread: "{n} unread",
      about: "Introduce yourself (optional)", name: "Name", email: "E-mail", blocked: "The chat is not available here.",
      long: "This message is too long.",
    },
    zh: {
      open: "打开聊天", close: "关闭聊天", title: "在线咨询", hint: "请输入消息…", send: "发送",
      hello: "您好!请问有什么可以帮您?", online: "我们随时为您服务", connecting: "正在连接…",
      offline: "网络已断开,消息会保留,恢复后自动发送。", typing: "{name}正在输入…",
      sent: "已发送", waiting: "等待发送", delivered: "已送达", read: "已读", failed: "未送达",
      edited: "已编辑", deleted: "此消息已删除。", you: "您", unread: "{n} 条未读",
      about: "介绍一下自己(可不填)", name: "姓名", email: "邮箱", blocked: "此页面暂不提供聊天。",
      long: "消息太长了。",
    },
  };
  const lang = (script.dataset.lang || navigator.language || "en").toLowerCase().startsWith("zh") ? "zh" : "en";
  const t = (key, values) => TEXTS[lang][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);

  /* What this browser keeps: the token, labels, the last number read, and each message that the server has not taken
     yet. One entry each, because two tabs may write at the same time. */
  const storageKey = "halfdoor:" + siteKey + ":";
  const memory = {};
  const get = (name) => {
    try {
      const kept = localStorage.getItem(storageKey + name);
      if (kept !== null) return JSON.parse(kept);
    } catch { /* no storage, or not ours: this page only */ }
    return memory[name];
  };
  const put = (name, value) => {
    memory[name] = value;
    try {
      if (value === undefined) localStorage.removeItem(storageKey + name);
      else localStorage.setItem(storageKey + name, JSON.stringify(value));
    } catch { /* full or forbidden */ }
  };
  let queue = [];
  try {
    for (const name of Object.keys(localStorage).filter((name) => name.startsWith(storageKey + "m:"))) {
      const item = JSON.parse(localStorage.getItem(name));
      if (item && typeof item.id === "string" && typeof item.text === "string") queue.push(item);
    }
    queue.sort((one, other) => one.ts - other.ts);
  } catch { queue = []; }
  const randomId = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");

  /* ---- the look ---- */
  const STYLE = `
:host{all:initial;--c:#1f6f5c}
*{box-sizing:border-box;font:inherit;margin:0}
.w{position:fixed;right:20px;bottom:20px;z-index:2147483000;font:15px/1.45 system-ui,-apple-system,"Segoe UI","PingFang SC","Microsoft YaHei",sans-serif;color:#1b1f23}
button{cursor:pointer;border:0;background:none;color:inherit}
:focus-visible{outline:3px solid color-mix(in srgb,var(--c) 55%,#fff);outline-offset:2px}
.l{width:58px;height:58px;border-radius:50%;background:var(--c);color:#fff;display:grid;place-items:center;margin-left:auto;box-shadow:0 6px 20px #0003;transition:transform .15s;position:relative}
.l:hover{transform:translateY(-2px)}
.l svg{width:27px;height:27px;fill:none;stroke:currentColor;stroke-width:1.8;stroke-linecap:round;stroke-linejoin:round}
.b{position:absolute;top:-4px;right:-4px;min-width:21px;height:21px;padding:0 6px;border-radius:11px;background:#d6293e;color:#fff;font-size:12px;font-weight:600;line-height:21px;text-align:center}
[hidden]{display:none!important}
.p{width:376px;max-width:calc(100vw - 40px);height:min(600px,calc(100vh - 116px));display:flex;flex-direction:column;background:#fff;border-radius:18px;overflow:hidden;box-shadow:0 14px 48px #0000002e;margin-bottom:14px;animation:i .18s ease-out}
@keyframes i{from{opacity:0;transform:translateY(10px)}}
.h{background:var(--c);color:#fff;padding:16px 18px;display:flex;align-items:center;gap:12px}
.h div{flex:1;min-width:0}.h h2{font-size:17px;font-weight:650;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.h p{font-size:13px;opacity:.88}
.x{width:36px;height:36px;border-radius:50%;font-size:20px}.x:hover{background:#ffffff24}
.h :focus-visible{outline-color:#fff}
.o{background:#fff6dd;color:#5c4400;font-size:13px;padding:8px 18px}
.s{flex:1;overflow-y:auto;padding:16px 16px 6px;background:#f6f7f8;overscroll-behavior:contain}
.m{display:flex;flex-direction:column;max-width:84%;margin-bottom:10px;width:fit-content}
.m .t{padding:9px 13px;border-radius:16px;background:#fff;box-shadow:0 1px 2px #00000014;white-space:pre-wrap;overflow-wrap:anywhere;border-bottom-left-radius:5px;unicode-bidi:plaintext}
.m.v{margin-left:auto;align-items:flex-end}
.m.v .t{background:var(--c);color:#fff;border-radius:16px 16px 5px 16px}
.m .n{font-size:12px;color:#5b646d;margin:0 0 3px 4px}
.m .d{font-size:11.5px;color:#69727b;margin:3px 4px 0}
.m .d.r{color:var(--c);font-weight:700}
.m.q .t{opacity:.62}.m.f .d{color:#b3182d}.m.z .t{font-style:italic;opacity:.65}
.t a{color:inherit;text-decoration:underline}
.t img{display:block;max-width:100%;max-height:240px;border-radius:9px;margin-bottom:4px}
.y{height:22px;font-size:13px;color:#5b646d;padding:0 18px;background:#f6f7f8}
details{padding:9px 16px;font-size:13px;border-top:1px solid #e7e9ec;color:#4a5259}
summary{cursor:pointer}
details label{display:flex;gap:8px;align-items:center;margin-top:7px}
details span{width:56px}
input,textarea{border:1px solid #cfd4d9;border-radius:10px;padding:8px 11px;background:#fff;color:inherit;width:100%}
form{display:flex;gap:8px;padding:11px 12px;border-top:1px solid #e7e9ec;align-items:flex-end}
textarea{resize:none;max-height:120px;min-height:40px;font-size:16px;line-height:1.35}
.g{width:40px;height:40px;flex:none;border-radius:50%;background:var(--c);color:#fff;display:grid;place-items:center}
.g:disabled{opacity:.4;cursor:default}
.g svg{width:19px;height:19px;fill:currentColor}
@media (max-width:480px){.w.e{inset:0}.w.e .l{display:none}.p{width:100%;max-width:none;height:100%;border-radius:0;margin:0}}
@media (prefers-reduced-motion:reduce){*{animation:none!important;transition:none!important}}`;

  const make = (name, className, text) => {
    const element = document.createElement(name);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const icon = (path) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("d", path);
    svg.append(line);
    return svg;
  };

  const host = document.createElement("div");
  host.setAttribute("data-halfdoor", "");
  const shadow = host.attachShadow({ mode: "open" });
  const wrap = make("div", "w");
  wrap.lang = lang;
  const panel = make("section", "p");
  panel.setAttribute("role", "dialog");
  panel.hidden = true;
  panel.id = "panel";
  const head = make("header", "h");
  const headText = make("div");
  const title = make("h2", "", t("title"));
  const state = make("p", "", t("connecting"));
  const closer = make("button", "x", "×");
  closer.type = "button";
  closer.setAttribute("aria-label", t("close"));
  headText.append(title, state);
  head.append(headText, closer);
  const banner = make("div", "o");
  banner.setAttribute("role", "status");
  banner.hidden = true;
  const scroller = make("div", "s");
  scroller.tabIndex = 0;
  scroller.setAttribute("role", "log");
  scroller.setAttribute("aria-live", "polite");
  scroller.setAttribute("aria-label", t("title"));
  const greeting = make("div", "m");
  const greetingText = make("div", "t", t("hello"));
  greeting.append(greetingText);
  const said = make("div", "said");
  const unsent = make("div", "unsent");
  scroller.append(greeting, said, unsent);
  const typing = make("div", "y");
  typing.setAttribute("aria-live", "polite");
  const about = make("details");
  about.append(make("summary", "", t("about")));
  const field = (key, type, complete) => {
    const label = make("label");
    const input = make("input");
    input.type = type;
    input.maxLength = key === "name" ? 60 : 120;
    input.autocomplete = complete;
    input.value = get(key) || "";
    label.append(make("span", "", t(key)), input);
    about.append(label);
    input.addEventListener("change", () => {
      put(key, input.value.trim());
      tell({ type: "label", name: get("name") || "", email: get("email") || "" });
    });
    return input;
  };
  const form = make("form");
  const box = make("textarea");
  box.rows = 1;
  box.placeholder = t("hint");
  box.setAttribute("aria-label", t("hint"));
  const sender = make("button", "g");
  sender.type = "submit";
  sender.disabled = true;
  sender.setAttribute("aria-label", t("send"));
  sender.append(icon("M3 20.5v-6.2l9-2.3-9-2.3V3.5L22 12z"));
  form.append(box, sender);
  panel.append(head, banner, scroller, typing, about, form);
  panel.setAttribute("aria-label", t("title"));
  const launcher = make("button", "l");
  launcher.type = "button";
  launcher.setAttribute("aria-controls", "panel");
  launcher.setAttribute("aria-expanded", "false");
  const badge = make("span", "b");
  badge.hidden = true;
  launcher.append(icon("M4 5.5h16v11H10l-4.5 3.5v-3.5H4z M8 9.5h8 M8 12.5h5"), badge);
  wrap.append(panel, launcher);
  /* A constructed sheet is not subject to the page's style-src. */
  try {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    shadow.adoptedStyleSheets = [sheet];
  } catch { shadow.append(make("style", "", STYLE)); }
  shadow.append(wrap);

  /* ---- the messages ---- */
  let last = 0;              // number of the newest event that was shown
  let readUpTo = Number(get("read")) || 0;
  let longest = 4000;
  let unread = 0;
  const bubbles = new Map(); // by number
  const mine = new Map();    // by client_id

  const linkify = (target, text) => {
    for (const piece of text.split(/(https?:\/\/[^\s<>"'`]+)/)) {
      let url = null;
      if (/^https?:\/\//.test(piece)) { try { url = new URL(piece); } catch { /* only text */ } }
      if (url && (url.protocol === "http:" || url.protocol === "https:")) {
        const link = make("a", "", piece);
        link.href = url.href;
        link.target = "_blank";
        link.rel = "noopener noreferrer nofollow";
        target.append(link);
      } else if (piece) target.append(document.createTextNode(piece));
    }
  };
  const fill = (bubble, event) => {
    bubble.text.textContent = "";
    bubble.node.classList.toggle("z", !!event.deleted);
    if (event.deleted) { bubble.text.textContent = t("deleted"); return; }
    if (event.file && /^[\w-]{10,64}$/.test(event.file.id)) {
      const url = httpBase + "/files/" + event.file.id;
      const link = make("a");
      link.href = url;
      link.target = "_blank";
      link.rel = "noopener noreferrer";
      if (event.file.image) {
        const image = make("img");
        image.alt = String(event.file.name);
        image.loading = "lazy";
        image.src = url;
        link.append(image);
      } else link.textContent = "📎 " + event.file.name;
      bubble.text.append(link);
      if (event.text) bubble.text.append(document.createElement("br"));
    }
    if (event.from === "staff") linkify(bubble.text, String(event.text));
    else bubble.text.append(document.createTextNode(String(event.text)));
  };
  const build = (event) => {
    const own = event.from === "visitor";
    const bubble = { own, event, node: make("div", own ? "m v" : "m"), text: make("div", "t"), note: make("div", "d") };
    if (!own) bubble.node.append(make("div", "n", String(event.name || "")));
    bubble.node.append(bubble.text, bubble.note);
    fill(bubble, event);
    return bubble;
  };
  const annotate = (bubble, level) => {
    if (level !== undefined) bubble.level = Math.max(bubble.level || 0, level);
    const marks = ["…", "✓", "✓✓", "✓✓", "⚠ " + t("failed")];
    const names = ["waiting", "sent", "delivered", "read", "failed"];
    const at = new Date(Number(bubble.event.ts) || Date.now());
    const time = String(at.getHours()).padStart(2, "0") + ":" + String(at.getMinutes()).padStart(2, "0");
    const parts = [time];
    if (bubble.event.edited) parts.push(t("edited"));
    if (bubble.own) parts.push(marks[bubble.level || 0]);
    bubble.note.textContent = parts.join(" · ");
    bubble.note.classList.toggle("r", bubble.own && bubble.level === 3);
    bubble.node.classList.toggle("q", bubble.own && !bubble.level);
    bubble.node.classList.toggle("f", bubble.own && bubble.level === 4);
    if (bubble.own) {
      bubble.note.title = t(names[bubble.level || 0]);
      bubble.note.setAttribute("aria-label", time + " " + t(names[bubble.level || 0]));
    }
  };
  const nearEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 120;
  const toEnd = () => { scroller.scrollTop = scroller.scrollHeight; };
  const visible = () => !panel.hidden && document.visibilityState === "visible";
  const countUnread = () => {
    unread = 0;
    for (const [seq, bubble] of bubbles) if (!bubble.own && seq > readUpTo) unread += 1;
    badge.hidden = unread === 0;
    badge.textContent = unread > 99 ? "99+" : String(unread);
    launcher.setAttribute("aria-label", t(panel.hidden ? "open" : "close") + (unread ? " (" + t("unread", { n: unread }) + ")" : ""));
  };
  const markRead = () => {
    if (visible() && last > readUpTo) {
      readUpTo = last;
      put("read", last);
      tell({ type: "read", seq: last });
    }
    countUnread();
  };

  const show = (event) => {
    const follow = nearEnd();
    if (event.kind === "message") {
      let bubble = event.client_id && mine.get(event.client_id);
      if (!bubble) bubble = build(event);
      else { bubble.event = event; fill(bubble, event); }
      if (event.client_id) { mine.set(event.client_id, bubble); forget(event.client_id); }
      bubbles.set(event.seq, bubble);
      said.append(bubble.node);
      annotate(bubble, bubble.own ? 1 : undefined);
      if (!bubble.own) showTyping(false);
    } else if (event.kind === "read") {
      for (const [seq, bubble] of bubbles) if (bubble.own && seq <= event.upto && bubble.level < 4) annotate(bubble, 3);
    } else {
      const bubble = bubbles.get(event.target);
      if (!bubble) return;
      if (event.kind === "delivered") annotate(bubble, 2);
      else if (event.kind === "failed") annotate(bubble, 4);
      else if (event.kind === "edit" || event.kind === "delete") {
        Object.assign(bubble.event, event.kind === "edit" ? { text: event.text, edited: true } : { deleted: true, file: null });
        fill(bubble, bubble.event);
        annotate(bubble);
      }
    }
    if (follow) toEnd();
  };
  let typingTimer;
  const showTyping = (on, name) => {
    clearTimeout(typingTimer);
    typing.textContent = on ? t("typing", { name: String(name) }) : "";
    if (on) typingTimer = setTimeout(() => showTyping(false), 30000);
  };

  /* ---- the queue of what the server has not taken yet ---- */
  const forget = (id) => {
    queue = queue.filter((item) => item.id !== id);
    put("m:" + id, undefined);
  };
  const showQueued = (item) => {
    if (mine.has(item.id)) return;
    const bubble = build({ from: "visitor", text: item.text, ts: item.ts, client_id: item.id });
    mine.set(item.id, bubble);
    unsent.append(bubble.node);
    annotate(bubble, 0);
  };
  let holdUntil = 0;
  let holdTimer;
  const sendQueue = () => {
    if (Date.now() < holdUntil) return;
    /* One after the other, so that they arrive in the order in which they were written. */
    const item = queue[0];
    if (item && ready && inFlight !== item.id) {
      inFlight = item.id;
      tell({ type: "message", client_id: item.id, text: item.text });
    }
  };
  const submit = () => {
    const text = box.value.trim();
    if (!text) return;
    if (text.length > longest) { say(t("long")); return; }
    const item = { id: randomId(), text, ts: Date.now() };
    queue.push(item);
    put("m:" + item.id, item);
    showQueued(item);
    toEnd();
    box.value = "";
    resize();
    stopTyping();
    connect();
    sendQueue();
  };

  /* ---- the connection ---- */
  let socket = null;
  let ready = false;
  let inFlight = null;
  let attempts = 0;
  let retryTimer, beatTimer, ackTimer;
  let heard = 0;
  let blocked = false;
  let offered = null;

  const tell = (frame) => { if (ready && socket.readyState === 1) socket.send(JSON.stringify(frame)); };
  const say = (text) => { banner.textContent = text || ""; banner.hidden = !text; };
  /* A browser's first token is fetched by one tab at a time; the others then find it. */
  let release = null;
  let queueing = false;
  const connect = () => {
    if (socket || blocked || queueing) return;
    if (get("token") || !navigator.locks) { open(); return; }
    queueing = true;
    navigator.locks.request(storageKey, () => new Promise((done) => {
      queueing = false;
      release = done;
      setTimeout(done, 8000);
      open();
    }));
  };
  const open = () => {
    if (socket || blocked) return;
    clearTimeout(retryTimer);
    let current;
    try { current = new WebSocket(socketUrl); } catch { blocked = true; say(t("blocked")); return; }
    socket = current;
    heard = Date.now();
    current.onopen = () => {
      offered = get("token") || null;
      current.send(JSON.stringify({
        type: "hello", site: siteKey, token: offered, since: last, lang,
        page: { title: document.title.slice(0, 200), url: (location.origin + location.pathname).slice(0, 500) },
        name: get("name") || "", email: get("email") || "",
      }));
    };
    current.onmessage = (message) => {
      if (socket !== current) return;
      heard = Date.now();
      let frame;
      try { frame = JSON.parse(message.data); } catch { return; }
      receive(frame);
    };
    current.onclose = () => { if (socket === current) lost(); };
    clearInterval(beatTimer);
    beatTimer = setInterval(() => {
      if (Date.now() - heard > 40000) drop();
      else tell({ type: "ping" });
    }, 15000);
  };
  const drop = () => { const old = socket; lost(); if (old) { old.onclose = null; old.close(); } };
  const lost = () => {
    socket = null;
    ready = false;
    if (release) release();
    inFlight = null;
    clearInterval(beatTimer);
    showTyping(false);
    if (blocked) return;
    state.textContent = t("connecting");
    if (attempts > 0) say(t("offline"));
    const wait = Math.min(30000, 400 * 2 ** Math.min(attempts, 7)) * (0.75 + Math.random() / 2);
    attempts += 1;
    clearTimeout(retryTimer);
    retryTimer = setTimeout(connect, wait);
  };
  const receive = (frame) => {
    if (frame.type === "welcome") {
      const kept = get("token");
      /* Another tab got a token while we waited for ours: one browser, one conversation. */
      if (kept && kept !== offered && kept !== frame.token) { drop(); return; }
      if (kept !== frame.token) { put("token", frame.token); if (frame.start === 0) reset(); }
      if (frame.start < last) reset();
      last = Math.max(last, frame.start);
      readUpTo = Math.min(Math.max(readUpTo, frame.read), frame.seq);
      longest = frame.longest_text || longest;
      if (frame.site.title) { title.textContent = frame.site.title; panel.setAttribute("aria-label", frame.site.title); }
      if (frame.site.greeting) greetingText.textContent = frame.site.greeting;
      if (/^#[0-9a-f]{6}$/i.test(frame.site.colour)) host.style.setProperty("--c", frame.site.colour);
      if (release) setTimeout(release, 50);
      ready = true;
      attempts = 0;
      state.textContent = t("online");
      say("");
      queue.forEach(showQueued);
      sendQueue();
      countUnread();
    } else if (frame.type === "event") {
      if (frame.seq <= last) return;
      if (frame.seq > last + 1) { drop(); return; }
      last = frame.seq;
      show(frame);
      clearTimeout(ackTimer);
      ackTimer = setTimeout(() => { tell({ type: "ack", seq: last }); markRead(); }, 60);
    } else if (frame.type === "ack") {
      const bubble = mine.get(frame.client_id);
      if (bubble) annotate(bubble, 1);
      forget(frame.client_id);
      inFlight = null;
      sendQueue();
    } else if (frame.type === "typing") {
      showTyping(frame.typing, frame.name);
    } else if (frame.type === "error") {
      if (frame.code === "forbidden") { blocked = true; say(t("blocked")); state.textContent = ""; }
      else if (frame.code === "too_fast") {
        holdUntil = Date.now() + frame.retry_after_ms;
        inFlight = null;
        clearTimeout(holdTimer);
        holdTimer = setTimeout(sendQueue, frame.retry_after_ms + 5);
      } else if (frame.client_id) {
        const bubble = mine.get(frame.client_id);
        if (bubble) annotate(bubble, 4);
        forget(frame.client_id);
        inFlight = null;
        sendQueue();
      }
    }
  };
  /* Another conversation than the one that is shown (the server does not know ours any more): begin anew. */
  const reset = () => {
    last = 0;
    readUpTo = 0;
    bubbles.clear();
    mine.clear();
    said.textContent = "";
    unsent.textContent = "";
  };

  /* ---- the person ---- */
  let typingAt = 0;
  let typingStop;
  const stopTyping = () => { clearTimeout(typingStop); if (typingAt) { typingAt = 0; tell({ type: "typing", typing: false }); } };
  const resize = () => {
    sender.disabled = !box.value.trim();
    box.style.height = "auto";
    box.style.height = Math.min(box.scrollHeight + 2, 120) + "px";
  };
  const toggle = (open) => {
    panel.hidden = !open;
    wrap.classList.toggle("e", open);
    launcher.setAttribute("aria-expanded", String(open));
    if (open) { connect(); toEnd(); box.focus(); } else launcher.focus();
    put("open", open);
    markRead();
  };
  launcher.addEventListener("click", () => toggle(panel.hidden));
  closer.addEventListener("click", () => toggle(false));
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") toggle(false);
    event.stopPropagation(); // the page's shortcuts are not meant for what is typed here
  });
  box.addEventListener("keydown", (event) => {
    /* While an input method composes (Chinese), Enter belongs to it. */
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
      event.preventDefault();
      submit();
    }
  });
  box.addEventListener("input", () => {
    resize();
    if (Date.now() - typingAt > 4000) { typingAt = Date.now(); tell({ type: "typing", typing: true }); }
    clearTimeout(typingStop);
    typingStop = setTimeout(stopTyping, 6000);
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); submit(); box.focus(); });
  document.addEventListener("visibilitychange", markRead);
  window.addEventListener("online", () => { attempts = 0; clearTimeout(retryTimer); connect(); });
  window.addEventListener("offline", drop);

  field("name", "text", "name");
  field("email", "email", "email");
  countUnread();
  const begin = () => {
    document.body.append(host);
    queue.forEach(showQueued);
    if (get("open") && innerWidth > 480) { toggle(true); box.blur(); }
    else if (get("token") || queue.length) connect(); // a returning visitor sees whether he was answered
  };
  if (document.body) begin();
  else document.addEventListener("DOMContentLoaded", begin);
})();
