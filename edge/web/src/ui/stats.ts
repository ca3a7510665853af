/** The panel for those who want to know: how the picture comes, how late, how steadily. */

import type { Player, Snapshot } from "../players/player";

/** What is counted while the page is open. */
export interface Counts {
	/** Times that the picture stood still after it had begun. */
	stalls: number;
	/** Seconds that it stood still, together. */
	stalled: number;
	/** Milliseconds from opening the page to the first picture. */
	firstPicture?: number;
	/** Frames of the last second. */
	rate: number;
	/** Bits of the last second. */
	bitrate?: number;
}

/** Shows the numbers of `player` in `root`. */
export function showStats(root: HTMLElement, player: Player, now: Snapshot, counts: Counts, edge: string): void {
	const late = now.latency === undefined ? `${now.behind.toFixed(1)} s behind live` : `${now.latency.toFixed(1)} s`;
	const rows: [string, string][] = [
		["Transport", player.transport],
		["Edge", [edge, player.server].filter(Boolean).join(" · ")],
		["Picture", now.width ? `${now.width} × ${now.height}, ${counts.rate.toFixed(0)} fps` : "none"],
		["Quality", now.rung || "automatic"],
		["Bit rate", counts.bitrate === undefined ? "unknown" : `${(counts.bitrate / 1e6).toFixed(2)} Mb/s`],
		["Latency", player.transport === "WebTransport" ? `${(now.buffered * 1000).toFixed(0)} ms held back` : late],
		["Buffer", `${now.buffered.toFixed(2)} s`],
		["First picture", counts.firstPicture === undefined ? "not yet" : `${(counts.firstPicture / 1000).toFixed(2)} s`],
		["Stalls", counts.stalls === 0 ? "none" : `${counts.stalls}, ${counts.stalled.toFixed(1)} s together`],
	];
	const list = document.createElement("dl");
	for (const [name, value] of rows) {
		const term = document.createElement("dt");
		term.textContent = name;
		const detail = document.createElement("dd");
		detail.textContent = value;
		list.append(term, detail);
	}
	root.replaceChildren(list);
}
