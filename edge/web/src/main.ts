/** The viewer page: asks how the event stands, plays it, and says what is the matter when it cannot. */

import { type Config, fetchConfig, type State } from "./config";
import type { Player, Snapshot } from "./players/player";
import { Controls, type Wishes } from "./ui/controls";
import { Curtain } from "./ui/curtain";
import { icon } from "./ui/icons";
import type { Group } from "./ui/menu";
import { type Counts, showStats } from "./ui/stats";
import { Watch, type Way } from "./watch";

/** States that end by themselves are asked for again. Up to half is added by chance, so that a million pages
 * which were refused together do not come back together. */
const ASK_AGAIN_MS: Partial<Record<State, number>> = {
	before: 20_000,
	lobby: 4_000,
	host_lost: 4_000,
	full: 15_000,
	unreachable: 3_000,
};

/** While it is live, the page looks now and then whether it still is. */
const LIVE_ASK_MS = 30_000;

/** How often the page looks at the picture. */
const LOOK_MS = 250;

/** Without a new frame for so long, the picture stands still: seven frames at 10 per second. */
const STALL_MS = 700;

/** Without a new frame for so long, it is the host who is gone rather than the network that hiccups. */
const HOST_LOST_MS = 4_000;

/** The quality which means "whatever fits". */
const AUTOMATIC = "";

class Page implements Wishes {
	readonly #event = decodeURIComponent(location.pathname.split("/")[2] ?? "");
	readonly #query = new URLSearchParams(location.search);
	readonly #stage = element("stage");
	readonly #surface = element("surface");
	readonly #unmute = element("unmute");
	readonly #stats = element("stats");
	readonly #bar = element("controls");
	readonly #curtain = new Curtain(element("curtain"));
	readonly #controls = new Controls(this.#bar, this.#stage, this);
	readonly #counts: Counts = { stalls: 0, stalled: 0, rate: 0 };
	#config: Config | undefined;
	#watch: Watch | undefined;
	#player: Player | undefined;
	#playing = true;
	#muted = true;
	#volume = 1;
	#captions = false;
	#quality = AUTOMATIC;
	#sound = "";
	#frames = 0;
	#lastFrameAt = performance.now();
	#standing = false;
	#asking: ReturnType<typeof setTimeout> | undefined;
	#sample = { at: performance.now(), frames: 0, bytes: 0 };

	constructor() {
		this.#unmute.innerHTML = `${icon("muted")}<span>Turn sound on</span>`;
		this.#unmute.addEventListener("click", () => this.toggleMute());
		this.#stage.addEventListener("dblclick", (event) => {
			if (event.target === this.#player?.surface) this.#bar.querySelector<HTMLElement>("[data-icon=full],[data-icon=small]")?.click();
		});
		setInterval(() => this.#look(), LOOK_MS);
		void this.#ask();
	}

	togglePlay(): void {
		this.#playing = !this.#playing;
		this.#lastFrameAt = performance.now();
		if (this.#playing) this.#player?.jumpToLive();
		else this.#player?.pause();
		this.#show();
	}

	toggleMute(): void {
		this.#muted = !this.#muted;
		if (!this.#muted && this.#volume === 0) this.#volume = 1;
		this.#applySound();
	}

	setVolume(volume: number): void {
		this.#volume = volume;
		this.#muted = volume === 0;
		this.#applySound();
	}

	jumpToLive(): void {
		this.#playing = true;
		this.#player?.jumpToLive();
		this.#show();
	}

	toggleCaptions(): void {
		this.#captions = !this.#captions;
		this.#player?.setCaptions(this.#captions);
		this.#show();
	}

	toggleStats(): void {
		this.#stats.hidden = !this.#stats.hidden;
		this.#look();
		this.#show();
	}

	togglePictureInPicture(): void {
		void this.#pictureInPicture().catch((error) => console.warn("no picture in picture", error));
	}

	/** A `Watch` tells who plays. */
	playing(player: Player | undefined): void {
		this.#player = player;
		this.#surface.replaceChildren(...(player ? [player.surface] : []));
		this.#frames = 0;
		this.#sample = { at: performance.now(), frames: 0, bytes: 0 };
		this.#lastFrameAt = performance.now();
		if (!player) return;
		player.surface.ariaLabel = this.#config?.title ?? "";
		player.surface.role = "img";
		player.setSound(this.#volume, this.#muted);
		if (!this.#playing) player.pause();
		this.#stage.dataset.transport = player.transport;
		void this.#tryWithSound(player);
	}

	/** A `Watch` tells that there is something else to choose. */
	choices(player: Player): void {
		const groups: Group[] = [
			{
				name: "Quality",
				choices: [{ id: AUTOMATIC, label: "Automatic" }, ...player.qualities()],
				chosen: this.#quality,
				choose: (id) => {
					this.#quality = id;
					this.#player?.setQuality(id === AUTOMATIC ? undefined : id);
				},
			},
			{
				name: "Audio",
				choices: player.sounds(),
				chosen: this.#sound || (player.sounds()[0]?.id ?? ""),
				choose: (id) => {
					this.#sound = id;
					this.#player?.setSoundTrack(id);
				},
			},
		];
		this.#controls.offer(groups);
		this.#show();
	}

	async #ask(): Promise<void> {
		clearTimeout(this.#asking);
		const config = await fetchConfig(this.#event, this.#query.get("t") ?? "");
		this.#take(config);
		const wait = config.state === "live" ? LIVE_ASK_MS : ASK_AGAIN_MS[config.state];
		if (wait === undefined) return;
		const untilStart = config.state === "before" && config.startsAt ? config.startsAt.getTime() - Date.now() : wait;
		const due = untilStart > 0 ? Math.min(wait, untilStart) : wait / 4;
		this.#asking = setTimeout(() => void this.#ask(), due * (1 + Math.random() / 2));
	}

	#take(config: Config): void {
		// An edge that does not answer while the picture plays on is no reason to stop.
		if (config.state === "unreachable" && this.#watch) return;
		this.#config = config;
		element("title").textContent = config.title;
		document.title = config.title ? `${config.title} · Stentor` : "Stentor";
		element("about").textContent = aboutLine(config);
		this.#stage.dataset.state = config.state;
		const onAir = config.state === "live" || config.state === "host_lost";
		if (onAir) {
			this.#watch ??= new Watch(config, this, way(this.#query.get("via")));
			describeToSystem(config, this);
		} else {
			this.#watch?.close();
			this.#watch = undefined;
			this.playing(undefined);
			this.#curtain.show(config.state, config);
		}
		this.#bar.hidden = !onAir;
		this.#look();
	}

	/** Begins with sound where the browser lets it, else without and with a button that cannot be missed. */
	async #tryWithSound(player: Player): Promise<void> {
		if (!this.#muted || this.#unmute.dataset.asked === "true") return;
		if (await player.canSound()) {
			this.#muted = false;
			this.#applySound();
		} else if (player === this.#player) {
			this.#unmute.hidden = false;
		}
	}

	#applySound(): void {
		if (!this.#muted) {
			this.#unmute.hidden = true;
			this.#unmute.dataset.asked = "true";
		}
		this.#player?.setSound(this.#volume, this.#muted);
		this.#show();
	}

	async #pictureInPicture(): Promise<void> {
		if (document.pictureInPictureElement) {
			await document.exitPictureInPicture();
			return;
		}
		const video = await this.#player?.video();
		await video?.requestPictureInPicture();
	}

	/** Looks whether the picture moves, and shows what that means. */
	#look(): void {
		const player = this.#player;
		if (this.#config?.state !== "live" && this.#config?.state !== "host_lost") return;
		const now = performance.now();
		const snapshot = player?.snapshot();
		if (snapshot && snapshot.frames !== this.#frames) this.#moved(snapshot, now);
		if (document.hidden || !this.#playing || snapshot?.audioOnly) this.#lastFrameAt = now;
		const scene = this.#scene(now - this.#lastFrameAt);
		this.#curtain.show(scene === "none" && snapshot?.audioOnly ? "audio_only" : scene, this.#config);
		this.#count(now);
		if (player && snapshot && !this.#stats.hidden) showStats(this.#stats, player, snapshot, this.#counts, this.#config.edge);
		this.#show(snapshot);
	}

	#moved(snapshot: Snapshot, now: number): void {
		if (this.#standing) this.#counts.stalled += (now - this.#lastFrameAt) / 1000;
		this.#standing = false;
		this.#counts.firstPicture ??= now;
		this.#stage.dataset.firstPicture ??= now.toFixed(0);
		this.#frames = snapshot.frames;
		this.#lastFrameAt = now;
		this.#stage.dataset.frames = String(snapshot.frames);
	}

	#scene(still: number): "none" | "connecting" | "stalled" | "host_lost" {
		if (!this.#playing) return "none";
		const begun = this.#counts.firstPicture !== undefined;
		if (this.#config?.state === "host_lost" && (!begun || still > STALL_MS)) return "host_lost";
		if (!this.#player) return "connecting";
		if (begun && still > HOST_LOST_MS) return "host_lost";
		if (!begun) return "connecting";
		if (still < STALL_MS) return "none";
		if (!this.#standing) {
			this.#standing = true;
			this.#counts.stalls += 1;
			this.#stage.dataset.stalls = String(this.#counts.stalls);
		}
		return "stalled";
	}

	/** Rates of the last second. */
	#count(now: number): void {
		const seconds = (now - this.#sample.at) / 1000;
		const snapshot = this.#player?.snapshot();
		if (seconds < 1 || !snapshot) return;
		this.#counts.rate = (snapshot.frames - this.#sample.frames) / seconds;
		this.#counts.bitrate = snapshot.bytes === undefined ? undefined : ((snapshot.bytes - this.#sample.bytes) * 8) / seconds;
		this.#sample = { at: now, frames: snapshot.frames, bytes: snapshot.bytes ?? 0 };
	}

	#show(snapshot?: Snapshot): void {
		const has = this.#player?.hasCaptions() ?? false;
		this.#controls.show({
			playing: this.#playing,
			muted: this.#muted,
			volume: this.#volume,
			captions: has ? (this.#captions ? "on" : "off") : "none",
			stats: !this.#stats.hidden,
			...(snapshot ? { behind: snapshot.behind } : {}),
		});
	}
}

/** The line below the title. */
function aboutLine({ state, startsAt }: Config): string {
	if (state === "before" || !startsAt) return "";
	return startsAt.toLocaleString(undefined, { dateStyle: "long", timeStyle: "short" });
}

/** Tells lock screens and media keys what plays. */
function describeToSystem({ title, event }: Config, page: Wishes): void {
	if (!("mediaSession" in navigator)) return;
	navigator.mediaSession.metadata = new MediaMetadata({ title, artist: "Live", album: event });
	navigator.mediaSession.setActionHandler("play", () => page.togglePlay());
	navigator.mediaSession.setActionHandler("pause", () => page.togglePlay());
}

/** The way that `?via=` demands: for support and tests. */
function way(name: string | null): Way | undefined {
	return name === "webtransport" || name === "hls" || name === "native" ? name : undefined;
}

function element(id: string): HTMLElement {
	const found = document.getElementById(id);
	if (!found) throw new Error(`the page has no #${id}`);
	return found;
}

new Page();
