/** What the stories stand on: a running Stentor, a page server, a browser, and eyes for the frame counter. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, get } from "node:http";
import { tmpdir } from "node:os";
import { dirname, extname, join, normalize } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const here = dirname(fileURLToPath(import.meta.url));
const repository = join(here, "../../..");
const dist = join(here, "../dist");
const clip = join(repository, "deploy/demo/demo.mp4");

/** What the page may load, as strictly as it still plays: @moq/watch has its AudioWorklet in a blob, hls.js its worker. */
const CONTENT_SECURITY_POLICY = [
	"default-src 'none'",
	"script-src 'self' blob:",
	"worker-src 'self' blob:",
	"style-src 'self'",
	"img-src 'self' data:",
	"media-src 'self' blob:",
	"connect-src 'self' https:",
	"base-uri 'none'",
	"form-action 'none'",
].join("; ");

/** Where the screenshots go: test output, not part of the project. */
export const results = process.env.STENTOR_WEB_RESULTS ?? join(here, "../test-results");

const TYPES = {
	".html": "text/html; charset=utf-8",
	".js": "text/javascript",
	".css": "text/css",
};

/** The program, as it was built last. */
function program() {
	const candidates = [process.env.STENTOR_BIN, join(repository, "target/release/stentor"), join(repository, "target/debug/stentor")];
	const found = candidates.find((it) => it && existsSync(it));
	if (!found) throw new Error("no stentor binary: cargo build -p stentor, or set STENTOR_BIN");
	return found;
}

/** A whole Stentor on free ports, nobody on air yet: `host` puts the demo clip on air, `stop` ends all of it. */
export async function startStentor() {
	const data = await mkdtemp(join(tmpdir(), "stentor-web-"));
	const child = spawn(program(), ["up", "--event", "demo", "--any-port", "--output", "json", "--data", data], {
		stdio: ["ignore", "pipe", "inherit"],
	});
	const [line] = await once(createInterface(child.stdout), "line");
	const up = JSON.parse(line);
	const token = new URL(up.watch_url).searchParams.get("t");
	const hosts = [];
	return {
		...up,
		token,
		moqt: up.edges.map(({ webtransport }) => `${webtransport}?t=${token}`),
		/** Where the first edge has the event as HLS. */
		hls: `${up.edges[0].http}/hls/${token}/demo`,
		/** Puts the clip on air, again and again; the answer ends it. */
		host() {
			const { http, token, stream_key } = up.origin;
			const to = ["publish", clip, "--realtime", "--loop", "--to", http, "--token", stream_key ?? token];
			const publisher = spawn(program(), to, { stdio: "ignore" });
			hosts.push(publisher);
			return () => publisher.kill("SIGKILL");
		},
		async stop() {
			for (const host of hosts) host.kill("SIGKILL");
			child.kill("SIGINT");
			await once(child, "exit");
			await rm(data, { recursive: true, force: true });
		},
	};
}

/**
 * Serves the page as an edge does: `/e/EVENT`, `/assets/`, and `/e/EVENT/config.json` with the answer of `config`,
 * which is `{ status, body }`. What is below `/hls/` comes from `hls`, the address of an edge's, where given.
 */
export async function servePage(config, hls) {
	const asked = [];
	const server = createServer(async (request, response) => {
		const { pathname } = new URL(request.url, "http://localhost");
		asked.push(pathname);
		const send = async (file) => {
			try {
				const bytes = await readFile(file);
				response.setHeader("content-type", TYPES[extname(file)] ?? "application/octet-stream");
				response.setHeader("cache-control", "no-store");
				response.end(bytes);
			} catch {
				response.statusCode = 404;
				response.end();
			}
		};
		if (/^\/e\/[^/]+\/config\.json$/.test(pathname)) {
			const { status = 200, body } = config(request);
			response.statusCode = status;
			response.setHeader("content-type", "application/json");
			response.end(JSON.stringify(body));
		} else if (/^\/e\/[^/]+$/.test(pathname)) {
			response.setHeader("content-security-policy", CONTENT_SECURITY_POLICY);
			await send(join(dist, "index.html"));
		} else if (pathname.startsWith("/assets/")) await send(join(dist, normalize(pathname.slice("/assets".length))));
		else if (hls && pathname.startsWith("/hls/")) passOn(request, response, hls + request.url.slice("/hls".length));
		else {
			response.statusCode = 404;
			response.end();
		}
	});
	server.listen(0);
	await once(server, "listening");
	const origin = `http://localhost:${server.address().port}`;
	return {
		origin,
		asked,
		link: (query = "") => `${origin}/e/demo?t=TOKEN${query}`,
		async stop() {
			server.closeAllConnections();
			server.close();
			await once(server, "close");
		},
	};
}

/** Answers with what is at another address, as it comes: blocked requests stay blocked. */
function passOn(request, response, address) {
	const { "accept-encoding": encoding = "identity" } = request.headers;
	const upstream = get(address, { headers: { "accept-encoding": encoding } }, (answer) => {
		response.writeHead(answer.statusCode, answer.headers);
		answer.pipe(response);
	});
	upstream.on("error", () => response.destroy());
	response.on("close", () => upstream.destroy());
}

/** What an edge says of a live event. */
export function liveConfig(changes) {
	return {
		event: "demo",
		title: "Town hall: one voice to a million",
		state: "live",
		starts_at: null,
		moqt: [],
		certificate_sha256: null,
		hls: null,
		edge: "edge-1",
		...changes,
	};
}

/** A headless browser. */
export function openBrowser(args = []) {
	return chromium.launch({
		executablePath: process.env.CHROMIUM_BIN ?? "/usr/bin/chromium",
		args: ["--no-sandbox", ...args],
	});
}

/** A page of `browser` that remembers requests to anybody else and errors of its script. */
export async function openPage(browser, origin, options = {}) {
	const page = await browser.newPage({ viewport: { width: 1280, height: 860 }, ...options });
	page.strangers = [];
	page.failures = [];
	page.on("request", (request) => {
		const url = new URL(request.url());
		if (["http:", "https:"].includes(url.protocol) && url.origin !== origin) page.strangers.push(request.url());
	});
	page.on("console", (message) => {
		if (message.text().includes("Content Security Policy")) page.failures.push(message.text());
	});
	page.on("pageerror", (error) => page.failures.push(error.message));
	return page;
}

/**
 * Lets `page` begin with sound only after a click. Browsers do so by themselves, but take each look that a test has
 * at the page for the act of a person.
 */
export function wantClickForSound(page) {
	return page.addInitScript(() => {
		let clicked = false;
		addEventListener("click", () => (clicked = true), { capture: true });
		globalThis.AudioContext = class extends AudioContext {
			get state() {
				return clicked ? super.state : "suspended";
			}
		};
	});
}

/** Keeps a picture of the page. */
export async function keepScreenshot(page, name) {
	await mkdir(results, { recursive: true });
	await page.screenshot({ path: join(results, `${name}.png`) });
}

/** The number in the sixteen cells at the top left of the picture, bit 0 leftmost; `undefined` without a picture. */
export function frameNumber(page) {
	return page.evaluate(() => {
		const picture = document.querySelector(".picture");
		const width = picture?.videoWidth ?? picture?.width ?? 0;
		if (width < 640) return undefined;
		const copy = new OffscreenCanvas(512, 32).getContext("2d", { willReadFrequently: true });
		copy.drawImage(picture, 0, 0, 512, 32, 0, 0, 512, 32);
		let number = 0;
		for (let bit = 0; bit < 16; bit++) if (copy.getImageData(bit * 32 + 16, 16, 1, 1).data[0] > 127) number |= 1 << bit;
		return number;
	});
}

/** Waits until the picture moves. */
export function pictureMoves(page, frames = 5, timeout = 15_000) {
	return page.waitForFunction((wanted) => Number(document.querySelector("#stage").dataset.frames ?? 0) >= wanted, frames, { timeout });
}
