/** Networks without UDP, browsers without WebTransport, edges that die: the same link, another way. */

import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { frameNumber, keepScreenshot, liveConfig, openBrowser, openPage, pictureMoves, servePage, startStentor } from "./support.mjs";

let stentor;
let silence;
let server;
let browser;

before(async () => {
	stentor = await startStentor();
	stentor.host();
	// A port that takes packets and never answers: what a firewall makes of UDP.
	silence = createSocket("udp6").bind(0);
	await once(silence, "listening");
	const moqt = [`https://localhost:${silence.address().port}/demo?t=TOKEN`];
	server = await servePage(() => ({ body: liveConfig({ moqt, certificate_sha256: "00".repeat(32), hls: "/hls/index.m3u8" }) }), stentor.hls);
	browser = await openBrowser();
});

after(async () => {
	await browser?.close();
	await server?.stop();
	silence?.close();
	await stentor?.stop();
});

async function watchFor(page, seconds) {
	const first = await frameNumber(page);
	const frames = Number(await page.locator("#stage").getAttribute("data-frames"));
	await pictureMoves(page, frames + seconds * 25, (seconds + 20) * 1000);
	assert.notEqual(first, undefined);
	assert.notEqual(await frameNumber(page), undefined);
}

test("where UDP is blocked the picture comes by HLS, without a click", async (story) => {
	const page = await openPage(browser, server.origin);
	await page.goto(server.link());
	await pictureMoves(page);
	story.diagnostic(`first picture after ${await page.locator("#stage").getAttribute("data-first-picture")} ms`);
	assert.equal(await page.locator("#stage").getAttribute("data-transport"), "HLS");
	await watchFor(page, 5);
	await page.keyboard.press("i");
	await page.waitForTimeout(1200);
	await keepScreenshot(page, "live-hls");
	assert.deepEqual(page.failures, []);
	await page.close();
});

test("a browser without WebTransport does not wait for it", async (story) => {
	const page = await openPage(browser, server.origin);
	await page.addInitScript(() => delete globalThis.WebTransport);
	await page.goto(server.link());
	await pictureMoves(page);
	story.diagnostic(`first picture after ${await page.locator("#stage").getAttribute("data-first-picture")} ms`);
	assert.equal(await page.locator("#stage").getAttribute("data-transport"), "HLS");
	await page.close();
});

test("a browser without Media Source Extensions plays HLS by itself", async (story) => {
	const page = await openPage(browser, server.origin);
	await page.addInitScript(() => {
		delete globalThis.WebTransport;
		delete globalThis.MediaSource;
		delete globalThis.ManagedMediaSource;
		delete globalThis.WebKitMediaSource;
	});
	await page.goto(server.link());
	await pictureMoves(page);
	story.diagnostic(`first picture after ${await page.locator("#stage").getAttribute("data-first-picture")} ms`);
	assert.equal(await page.locator("#stage").getAttribute("data-transport"), "Native HLS");
	await watchFor(page, 5);
	await keepScreenshot(page, "live-native-hls");
	await page.close();
});

test("who fell behind is told, and is live again after one click", async () => {
	const page = await openPage(browser, server.origin);
	await page.goto(server.link("&via=hls"));
	await pictureMoves(page);
	await page.evaluate(() => {
		document.querySelector("video").currentTime -= 5;
	});
	await page.getByRole("button", { name: "Jump to live" }).click();
	await page.waitForFunction(() => document.querySelector(".live").textContent === "Live");
	await page.close();
});
