/** Every state that people meet: what it says, how it looks, and whether everybody can use it. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";
import { keepScreenshot, liveConfig, openBrowser, openPage, servePage } from "./support.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const IN_26_HOURS = () => new Date(Date.now() + 26 * 3_600_000).toISOString();
const IN_3_MINUTES = () => new Date(Date.now() + 179_000).toISOString();

const STATES = [
	{ name: "before", says: "Starting soon", answer: () => ({ body: liveConfig({ state: "before", starts_at: IN_3_MINUTES() }) }) },
	{ name: "before-tomorrow", says: "hours", answer: () => ({ body: liveConfig({ state: "before", starts_at: IN_26_HOURS() }) }) },
	{ name: "lobby", says: "The doors are open", answer: () => ({ body: liveConfig({ state: "lobby" }) }) },
	{ name: "connecting", says: "Connecting", answer: () => ({ body: liveConfig({}) }) },
	{ name: "host-lost", says: "Back soon", answer: () => ({ body: liveConfig({ state: "host_lost" }) }) },
	{ name: "full", says: "Every seat is taken", answer: () => ({ status: 403, body: { state: "full" } }) },
	{ name: "wrong-link", says: "This link does not work", answer: () => ({ status: 401, body: { state: "wrong_link" } }) },
	{ name: "expired", says: "This link has expired", answer: () => ({ status: 403, body: { state: "expired" } }) },
	{ name: "ended", says: "The event has ended", answer: () => ({ status: 404, body: { state: "ended" } }) },
	{ name: "unreachable", says: "No connection", answer: () => ({ status: 502, body: {} }) },
];

const SCREENS = [
	{ name: "dark", options: { colorScheme: "dark" } },
	{ name: "light", options: { colorScheme: "light" } },
	{ name: "phone", options: { colorScheme: "light", viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 } },
	{ name: "tv", options: { colorScheme: "dark", viewport: { width: 1920, height: 1080 } } },
];

let state = STATES[0];
let server;
let browser;

before(async () => {
	server = await servePage(() => state.answer());
	browser = await openBrowser();
});

after(async () => {
	await browser?.close();
	await server?.stop();
});

for (const candidate of STATES) {
	test(`${candidate.name}: the page says "${candidate.says}" on every screen, and axe finds nothing`, async () => {
		state = candidate;
		for (const screen of SCREENS) {
			const page = await openPage(browser, server.origin, screen.options);
			await page.goto(server.link());
			await page.getByRole("status").getByText(candidate.says).first().waitFor();
			await keepScreenshot(page, `state-${candidate.name}-${screen.name}`);
			await assertAccessible(page);
			const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
			assert.ok(overflow <= 0, `${overflow} px wider than the screen`);
			assert.deepEqual(page.strangers, []);
			assert.deepEqual(page.failures, []);
			await page.close();
		}
	});
}

test("the page lets itself in when the doors open and leaves when it ends", async () => {
	state = STATES.find(({ name }) => name === "lobby");
	const page = await openPage(browser, server.origin);
	await page.clock.install();
	await page.goto(server.link());
	await page.getByText("The doors are open").waitFor();
	state = STATES.find(({ name }) => name === "connecting");
	await page.clock.runFor(10_000);
	await page.locator("#stage[data-state=live]").waitFor();
	state = STATES.find(({ name }) => name === "ended");
	await page.clock.runFor(60_000);
	await page.getByText("The event has ended").waitFor();
	await page.close();
});

async function assertAccessible(page) {
	await page.evaluate(axe);
	const { violations } = await page.evaluate(() => globalThis.axe.run());
	const told = violations.map(({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map(({ html }) => html.slice(0, 100)).join(" | ")}`);
	assert.deepEqual(told, []);
}
