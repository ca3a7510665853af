/** The bar over the picture: buttons, volume, settings; and the keys that do the same. */

import { type Icon, icon } from "./icons";
import { fillMenu, type Group } from "./menu";

/** What somebody at the controls can want. */
export interface Wishes {
	togglePlay(): void;
	toggleMute(): void;
	setVolume(volume: number): void;
	jumpToLive(): void;
	toggleCaptions(): void;
	toggleStats(): void;
	togglePictureInPicture(): void;
}

/** What the bar shows. */
export interface Look {
	playing: boolean;
	muted: boolean;
	volume: number;
	/** Seconds behind the newest picture. */
	behind: number;
	captions: "none" | "off" | "on";
	stats: boolean;
}

/** Farther behind than this, "jump to live" has something to do. HLS itself stays about 3 s behind. */
const BEHIND_SECONDS_MAX = 3;

/** The bar goes away after so long without a movement. */
const IDLE_MS = 3_000;

/** One step of the volume by arrow key. */
const VOLUME_STEP = 0.1;

/** The bar and the keys. */
export class Controls {
	readonly #play: HTMLButtonElement;
	readonly #mute: HTMLButtonElement;
	readonly #volume: HTMLInputElement;
	readonly #live: HTMLButtonElement;
	readonly #captions: HTMLButtonElement;
	readonly #settings: HTMLButtonElement;
	readonly #menu: HTMLElement;
	readonly #stats: HTMLButtonElement;
	readonly #full: HTMLButtonElement;
	#idle: ReturnType<typeof setTimeout> | undefined;
	#look: Look = { playing: true, muted: true, volume: 1, behind: 0, captions: "none", stats: false };

	constructor(
		private readonly root: HTMLElement,
		private readonly stage: HTMLElement,
		private readonly wishes: Wishes,
	) {
		this.#play = this.#button("play", "Pause", () => wishes.togglePlay());
		this.#mute = this.#button("muted", "Unmute", () => wishes.toggleMute());
		this.#volume = this.#slider();
		this.#live = document.createElement("button");
		this.#live.type = "button";
		this.#live.className = "live";
		this.#live.addEventListener("click", () => wishes.jumpToLive());
		root.append(this.#live);
		const space = document.createElement("span");
		space.className = "space";
		root.append(space);
		this.#captions = this.#button("captions", "Captions", () => wishes.toggleCaptions());
		this.#menu = document.createElement("div");
		this.#menu.className = "menu";
		this.#menu.id = "menu";
		this.#menu.hidden = true;
		this.#settings = this.#button("settings", "Settings", () => this.#openMenu(Boolean(this.#menu.hidden)));
		this.#settings.setAttribute("aria-expanded", "false");
		this.#settings.setAttribute("aria-controls", "menu");
		root.append(this.#menu);
		this.#stats = this.#button("stats", "Statistics", () => wishes.toggleStats());
		const pip = this.#button("pip", "Picture in picture", () => wishes.togglePictureInPicture());
		pip.hidden = !document.pictureInPictureEnabled;
		this.#full = this.#button("full", "Full screen", () => this.#toggleFullScreen());
		this.#full.hidden = !document.fullscreenEnabled;

		document.addEventListener("fullscreenchange", () => this.show({}));
		document.addEventListener("keydown", (event) => this.#key(event));
		document.addEventListener("pointerdown", (event) => {
			const at = event.target instanceof Node ? event.target : null;
			if (!this.#menu.contains(at) && !this.#settings.contains(at)) this.#openMenu(false);
		});
		for (const name of ["pointermove", "pointerdown", "focusin", "keydown"]) stage.addEventListener(name, () => this.#wake());
		this.show({});
	}

	/** Changes what is shown. */
	show(change: Partial<Look>): void {
		this.#look = { ...this.#look, ...change };
		const { playing, muted, volume, behind, captions, stats } = this.#look;
		const silent = muted || volume === 0;
		dress(this.#play, playing ? "pause" : "play", playing ? "Pause (space)" : "Play (space)");
		dress(this.#mute, silent ? "muted" : "sound", silent ? "Unmute (m)" : "Mute (m)");
		if (document.activeElement !== this.#volume) this.#volume.value = String(silent ? 0 : volume);
		this.#volume.style.setProperty("--filled", `${(silent ? 0 : volume) * 100}%`);
		const late = !playing || behind > BEHIND_SECONDS_MAX;
		this.#live.dataset.late = String(late);
		const words = late ? "Jump to live" : "Live";
		if (this.#live.textContent !== words) this.#live.textContent = words;
		this.#live.ariaDisabled = String(!late);
		this.#captions.hidden = captions === "none";
		this.#captions.ariaPressed = String(captions === "on");
		this.#stats.ariaPressed = String(stats);
		dress(this.#full, document.fullscreenElement ? "small" : "full", document.fullscreenElement ? "Leave full screen (f)" : "Full screen (f)");
		this.#wake();
	}

	/** Offers these settings; without any, no menu. */
	offer(groups: Group[]): void {
		const worth = groups.filter((group) => group.choices.length > 1);
		this.#settings.hidden = worth.length === 0;
		fillMenu(this.#menu, worth);
	}

	#openMenu(open: boolean): void {
		if (this.#menu.hidden !== open) return;
		this.#menu.hidden = !open;
		this.#settings.setAttribute("aria-expanded", String(open));
		if (open) this.#menu.querySelector<HTMLInputElement>("input:checked")?.focus();
	}

	/** Shows the bar, and hides it again when nothing moves while the picture does. */
	#wake(): void {
		this.stage.dataset.idle = "false";
		clearTimeout(this.#idle);
		this.#idle = setTimeout(() => {
			const held = !this.#menu.hidden || this.root.matches(":focus-within:has(:focus-visible)") || this.root.matches(":hover");
			if (this.#look.playing && !held) this.stage.dataset.idle = "true";
		}, IDLE_MS);
	}

	#key(event: KeyboardEvent): void {
		if (event.ctrlKey || event.metaKey || event.altKey || this.root.hidden) return;
		if (event.key === "Escape" && !this.#menu.hidden) {
			this.#openMenu(false);
			this.#settings.focus();
			return;
		}
		const target = event.target instanceof HTMLElement ? event.target.tagName : "";
		// A focused button takes the space bar, a focused slider or choice the arrows.
		if (target === "INPUT" || (target === "BUTTON" && (event.key === " " || event.key === "Enter"))) return;
		const wish = this.#wish(event.key);
		if (!wish) return;
		event.preventDefault();
		wish();
		this.#wake();
	}

	#wish(key: string): (() => void) | undefined {
		const { wishes } = this;
		const louder = (by: number) => () => wishes.setVolume(Math.min(1, Math.max(0, (this.#look.muted ? 0 : this.#look.volume) + by)));
		switch (key) {
			case " ":
			case "k":
				return () => wishes.togglePlay();
			case "m":
				return () => wishes.toggleMute();
			case "f":
				return () => this.#toggleFullScreen();
			case "l":
				return () => wishes.jumpToLive();
			case "i":
				return () => wishes.toggleStats();
			case "p":
				return () => wishes.togglePictureInPicture();
			case "c":
				return () => wishes.toggleCaptions();
			case "ArrowUp":
				return louder(VOLUME_STEP);
			case "ArrowDown":
				return louder(-VOLUME_STEP);
			default:
				return undefined;
		}
	}

	#toggleFullScreen(): void {
		const done = document.fullscreenElement ? document.exitFullscreen() : this.stage.requestFullscreen();
		done.catch(() => {});
	}

	#button(name: Icon, label: string, act: () => void): HTMLButtonElement {
		const button = document.createElement("button");
		button.type = "button";
		dress(button, name, label);
		button.addEventListener("click", act);
		this.root.append(button);
		return button;
	}

	#slider(): HTMLInputElement {
		const slider = document.createElement("input");
		slider.type = "range";
		slider.className = "volume";
		slider.min = "0";
		slider.max = "1";
		slider.step = "0.05";
		slider.ariaLabel = "Volume";
		slider.addEventListener("input", () => this.wishes.setVolume(Number(slider.value)));
		this.root.append(slider);
		return slider;
	}
}

/** Gives a button its drawing and its name. */
function dress(button: HTMLButtonElement, name: Icon, label: string): void {
	if (button.dataset.icon === name && button.ariaLabel === label) return;
	button.dataset.icon = name;
	button.innerHTML = icon(name);
	button.ariaLabel = label;
	button.title = label;
}
