/** What stands in the place of the picture while there is none: each state says what is and what happens next. */

import type { Config, State } from "../config";

/** What the curtain shows: a state of the event, or of this page. */
export type Scene = State | "connecting" | "stalled" | "audio_only" | "none";

interface Words {
	heading: string;
	text: string;
	/** Whether something is under way. */
	busy?: boolean;
}

const WORDS: Record<Exclude<Scene, "none" | "live">, Words> = {
	connecting: { heading: "", text: "Connecting…", busy: true },
	stalled: { heading: "", text: "Catching up…", busy: true },
	audio_only: { heading: "Audio only", text: "The picture is off. You can turn it on again in the settings." },
	before: { heading: "Starting soon", text: "You are in the right place. The picture comes by itself." },
	lobby: { heading: "The doors are open", text: "The host will be on air in a moment. You need not do anything.", busy: true },
	host_lost: { heading: "Back soon", text: "The host’s connection was interrupted. Stay here; it goes on by itself.", busy: true },
	full: { heading: "Every seat is taken", text: "You are let in as soon as one is free. Keep this page open.", busy: true },
	wrong_link: { heading: "This link does not work", text: "Perhaps a part of it is missing. Open it again from your invitation, or ask the organiser for a new one." },
	expired: { heading: "This link has expired", text: "Ask the organiser for a new one." },
	ended: { heading: "That was it", text: "The event has ended. Thank you for being there." },
	unreachable: { heading: "No connection", text: "We keep trying. Is your device online?", busy: true },
};

/** The place of the picture. */
export class Curtain {
	#scene: Scene | undefined;
	#ticking: ReturnType<typeof setInterval> | undefined;

	constructor(private readonly root: HTMLElement) {
		this.show("connecting");
	}

	/** Shows `scene`, or lifts the curtain with "none". */
	show(scene: Scene, config?: Config): void {
		if (scene === this.#scene && scene !== "before") return;
		clearInterval(this.#ticking);
		this.#scene = scene;
		this.root.dataset.scene = scene;
		this.root.replaceChildren();
		if (scene === "none" || scene === "live") {
			this.root.hidden = true;
			return;
		}
		this.root.hidden = false;
		const words = WORDS[scene];
		if (words.busy) this.#add("div", "spinner").ariaHidden = "true";
		if (words.heading) this.#add("h2", "curtain-heading", words.heading);
		if (scene === "before" && config?.startsAt) this.#countdown(config.startsAt);
		this.#add("p", "curtain-text", words.text);
	}

	#countdown(startsAt: Date): void {
		const clock = this.#add("p", "countdown");
		// Read out once a minute would still be too much; the time of day below says it all.
		clock.role = "timer";
		clock.ariaLive = "off";
		const tick = () => clock.replaceChildren(...parts(startsAt.getTime() - Date.now()));
		tick();
		this.#ticking = setInterval(tick, 1000);
		const day = startsAt.toLocaleString(undefined, { dateStyle: "full", timeStyle: "short" });
		this.#add("p", "curtain-when", day);
	}

	#add(tag: string, className: string, text = ""): HTMLElement {
		const element = document.createElement(tag);
		element.className = className;
		element.textContent = text;
		this.root.append(element);
		return element;
	}
}

/** Days to seconds, without the leading ones that are zero; at least minutes and seconds. */
function parts(milliseconds: number): HTMLElement[] {
	const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
	const units: [string, number][] = [
		["days", Math.floor(seconds / 86_400)],
		["hours", Math.floor(seconds / 3_600) % 24],
		["min", Math.floor(seconds / 60) % 60],
		["sec", seconds % 60],
	];
	const largest = units.findIndex(([, value]) => value > 0);
	return units.slice(largest < 0 ? 2 : Math.min(2, largest)).map(([unit, value]) => {
		const part = document.createElement("span");
		part.className = "countdown-part";
		const number = document.createElement("span");
		number.textContent = String(value).padStart(2, "0");
		const name = document.createElement("small");
		name.textContent = unit;
		part.append(number, name);
		return part;
	});
}
