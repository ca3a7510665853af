/** Somebody opens the link in a browser with WebTransport. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { frameNumber, keepScreenshot, liveConfig, openBrowser, openPage, pictureMoves, servePage, startStentor, wantClickForSound } from "./support.mjs";

/** Frames per second of the demo clip, and how many it has until it begins again. */
const RATE = 30;
const CLIP_FRAMES = 240;
const WATCHED_SECONDS = 20;

let stentor;
let server;
let browser;
let leave;

before(async () => {
	stentor = await startStentor();
	leave = stentor.host();
	server = await servePage(() => ({ body: liveConfig({ moqt: stentor.moqt, certificate_sha256: stentor.certificate_sha256 }) }));
	browser = await openBrowser();
});

after(async () => {
	await browser?.close();
	await server?.stop();
	await stentor?.stop();
});

test("the picture comes by itself and moves on at the rate of the source, without a stall", async (story) => {
	const page = await openPage(browser, server.origin);
	await page.goto(server.link());
	await pictureMoves(page);
	story.diagnostic(`first picture after ${await page.locator("#stage").getAttribute("data-first-picture")} ms`);

	const first = { number: await frameNumber(page), at: Date.now() };
	let shown = 0;
	let last = first;
	while (last.at - first.at < WATCHED_SECONDS * 1000) {
		await page.waitForTimeout(500);
		const now = { number: await frameNumber(page), at: Date.now() };
		const step = (now.number - last.number + CLIP_FRAMES) % CLIP_FRAMES;
		assert.ok(step > 0, `the picture stood at ${now.number}`);
		shown += step;
		last = now;
	}
	const rate = (shown * 1000) / (last.at - first.at);
	story.diagnostic(`${rate.toFixed(1)} frames of the source per second over ${WATCHED_SECONDS} s`);
	assert.ok(Math.abs(rate - RATE) < 2, `${rate} frames per second`);
	assert.equal(await page.locator("#stage").getAttribute("data-stalls"), null);
	assert.equal(await page.locator("#stage").getAttribute("data-transport"), "WebTransport");
	assert.deepEqual(page.strangers, []);
	assert.deepEqual(page.failures, []);
	await page.keyboard.press("i");
	await page.mouse.move(640, 400);
	await page.waitForTimeout(1200);
	await keepScreenshot(page, "live-webtransport");
	await page.close();
});

test("sound begins with a click where the browser wants one, and the keyboard does what the buttons do", async () => {
	const page = await openPage(browser, server.origin, { colorScheme: "dark" });
	await wantClickForSound(page);
	await page.goto(server.link());
	await pictureMoves(page);
	await page.getByRole("button", { name: "Turn sound on" }).click();
	await page.getByRole("button", { name: /^Mute/ }).waitFor();
	assert.equal(await page.locator("#unmute").isVisible(), false);

	await page.locator("body").press("m");
	await page.getByRole("button", { name: /^Unmute/ }).waitFor();
	await page.locator("body").press(" ");
	await page.getByRole("button", { name: "Jump to live" }).waitFor();
	const stood = await frameNumber(page);
	await page.waitForTimeout(500);
	assert.equal(await frameNumber(page), stood);
	await page.getByRole("button", { name: "Jump to live" }).click();
	await page.waitForFunction(() => document.querySelector(".live").textContent === "Live");
	const before = Number(await page.locator("#stage").getAttribute("data-frames"));
	await pictureMoves(page, before + 10);

	await page.getByRole("button", { name: "Settings" }).click();
	await keepScreenshot(page, "live-settings-dark");
	await page.getByText("Audio only").click();
	await page.getByRole("button", { name: "Statistics" }).click();
	await page.getByRole("status").getByText("Audio only").waitFor();
	await keepScreenshot(page, "live-audio-only");
	assert.deepEqual(page.failures, []);
	await page.close();
});

test("a browser that lets sound begin plays with sound at once", async () => {
	const generous = await openBrowser(["--autoplay-policy=no-user-gesture-required"]);
	const page = await openPage(generous, server.origin);
	await page.goto(server.link());
	await pictureMoves(page);
	await page.getByRole("button", { name: /^Mute/ }).waitFor();
	assert.equal(await page.locator("#unmute").isVisible(), false);
	await generous.close();
});

test("when the host is gone the page says so, and goes on when the host is back", async () => {
	const page = await openPage(browser, server.origin, { colorScheme: "dark" });
	await page.goto(server.link());
	await pictureMoves(page);
	leave();
	await page.getByText("Back soon").waitFor();
	await keepScreenshot(page, "live-host-lost");
	const before = Number(await page.locator("#stage").getAttribute("data-frames"));
	leave = stentor.host();
	await pictureMoves(page, before + 30, 30_000);
	assert.equal(await page.getByText("Back soon").isVisible(), false);
	assert.equal(await page.locator("#stage").getAttribute("data-transport"), "WebTransport");
	await page.close();
});

test("when its edge dies, the page goes on with the next one", async (story) => {
	const page = await openPage(browser, server.origin, { viewport: { width: 390, height: 844 }, colorScheme: "dark" });
	await page.goto(server.link());
	await pictureMoves(page);
	await keepScreenshot(page, "live-phone");
	process.kill(stentor.edges[0].pid, "SIGKILL");
	const killed = Date.now();
	const before = Number(await page.locator("#stage").getAttribute("data-frames"));
	await page.locator("body").press("i");
	const next = new URL(stentor.moqt[1]).host;
	await page.waitForFunction((host) => document.querySelector("#stats").textContent.includes(host), next, { timeout: 60_000 });
	await pictureMoves(page, before + 30, 60_000);
	story.diagnostic(`the picture was back ${Date.now() - killed} ms after the kill, with what had been shown before it`);
	assert.equal(await page.locator("#stage").getAttribute("data-transport"), "WebTransport");
	await page.close();
});
