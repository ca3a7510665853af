/** Plays by MoQ over WebTransport: `@moq/watch` decodes with WebCodecs and paints a canvas. */

import { Audio, Broadcast, Net, Signals, Sync, Video } from "@moq/watch";
import type { Config } from "../../config";
import type { Choice, Listener, Player, Snapshot } from "../player";
import { Link } from "./link";

const { Signal } = Signals;

/** Without a frame for so long another session is taken: the edge or the host may be gone. Each time is
 * twice the one before, and by chance up to half as much again: a whole audience waits for the same host. */
const SILENT_MS_MIN = 1_500;
const SILENT_MS_MAX = 12_000;

/** A group is 2 s long, at most 10 s; what is older than this belongs to a clock that began anew. */
const REPEATED_MS_MAX = 30_000;

/** How often to look for silence. */
const LISTEN_MS = 250;

/** How long the browser may think about whether sound may begin. */
const SOUND_MS_MAX = 300;

/** The id of "sound alone" among the qualities. */
const AUDIO_ONLY = "audio only";

/** A player of one event, on whichever of its edges answers. */
export class MoqPlayer implements Player {
	readonly transport = "WebTransport";
	readonly surface = document.createElement("canvas");

	readonly #link: Link;
	readonly #pictureEnabled = new Signal(true);
	readonly #soundEnabled = new Signal(false);
	readonly #paused = new Signal(false);
	readonly #muted = new Signal(true);
	readonly #volume = new Signal(1);
	readonly #target = new Signal<Video.Target | undefined>(undefined);
	readonly #soundTarget = new Signal<{ name?: string } | undefined>(undefined);
	readonly #effect = new Signals.Effect();
	readonly #videoSource: Video.Source;
	readonly #audioSource: Audio.Source;
	readonly #sync: Sync;
	readonly #video: Video.Decoder;
	readonly #audio: Audio.Decoder;
	readonly #renderer: Video.Renderer;
	#audioOnly = false;
	#patience = SILENT_MS_MIN;
	#shownUntil = Number.NEGATIVE_INFINITY;
	#frames = 0;
	#lastFrameAt = performance.now();
	#copy: HTMLVideoElement | undefined;

	/** Whether this browser can play so. */
	static isSupported(): boolean {
		return "WebTransport" in window && "VideoDecoder" in window && "AudioDecoder" in window;
	}

	constructor(config: Config, listener: Listener) {
		this.#link = new Link(config.moqt, config.certificateSha256, (why) => listener.lost(this, why));
		this.surface.className = "picture";

		const broadcast = new Broadcast({
			connection: this.#link.session,
			enabled: new Signal(true),
			name: Net.Path.from(config.event),
			reload: false,
			catalogFormat: "msf",
		});
		this.#videoSource = new Video.Source({ broadcast, target: this.#target, supported: Video.Decoder.supported });
		this.#audioSource = new Audio.Source({ broadcast, target: this.#soundTarget, supported: Audio.Decoder.supported });
		this.#sync = new Sync({
			connection: this.#link.session,
			video: this.#videoSource.out.jitter,
			audio: this.#audioSource.out.jitter,
		});
		this.#video = new Video.Decoder(this.#videoSource, this.#sync, { enabled: this.#pictureEnabled });
		this.#audio = new Audio.Decoder(this.#audioSource, this.#sync, { enabled: this.#soundEnabled });
		const emitter = new Audio.Emitter(this.#audio, { volume: this.#volume, muted: this.#muted, paused: this.#paused });
		this.#renderer = new Video.Renderer(this.#video, { canvas: new Signal(this.surface), visible: new Signal("always") });

		this.#effect.run((it) => {
			const time = it.get(this.#renderer.out.timestamp);
			if (time === undefined || !this.#isNew(time)) return;
			this.#shownUntil = time;
			this.#frames += 1;
			this.#patience = SILENT_MS_MIN;
			this.#lastFrameAt = performance.now();
		});
		this.#effect.run((it) => {
			it.get(this.#videoSource.out.available);
			it.get(this.#audioSource.out.available);
			listener.choices(this);
		});
		this.#effect.interval(() => this.#listen(), LISTEN_MS);
		for (const part of [broadcast, this.#videoSource, this.#audioSource, this.#sync, this.#video, this.#audio, emitter, this.#renderer]) {
			this.#effect.cleanup(() => part.close());
		}
	}

	get server(): string {
		return this.#link.server;
	}

	play(): void {
		if (!this.#paused.peek()) return;
		this.#sync.reset();
		this.#paused.set(false);
		this.#link.resume();
		this.#enable();
	}

	pause(): void {
		this.#paused.set(true);
		this.#link.pause();
		this.#enable();
	}

	jumpToLive(): void {
		this.#sync.reset();
		this.#audio.reset();
		this.play();
	}

	setSound(volume: number, muted: boolean): void {
		this.#volume.set(volume);
		this.#muted.set(muted);
		this.#enable();
	}

	async canSound(): Promise<boolean> {
		const context = new AudioContext();
		const decided = new Promise((resolve) => {
			context.onstatechange = resolve;
			setTimeout(resolve, SOUND_MS_MAX);
		});
		if (context.state !== "running") await decided;
		const can = context.state === "running";
		await context.close();
		return can;
	}

	qualities(): Choice[] {
		const rungs = Object.entries(this.#videoSource.out.available.peek());
		rungs.sort(([, a], [, b]) => (b.codedHeight ?? 0) - (a.codedHeight ?? 0));
		const choices = rungs.map(([id, rung]) => ({ id, label: rungLabel(id, rung.codedHeight) }));
		return this.sounds().length > 0 ? [...choices, { id: AUDIO_ONLY, label: "Audio only" }] : choices;
	}

	setQuality(id: string | undefined): void {
		this.#audioOnly = id === AUDIO_ONLY;
		this.#enable();
		this.#target.set(id === undefined || id === AUDIO_ONLY ? undefined : { name: id });
	}

	sounds(): Choice[] {
		return Object.keys(this.#audioSource.out.available.peek()).map((id) => ({ id, label: id.replace(/^audio\//, "") }));
	}

	setSoundTrack(id: string): void {
		this.#soundTarget.set({ name: id });
	}

	hasCaptions(): boolean {
		return false;
	}

	setCaptions(): void {}

	async video(): Promise<HTMLVideoElement> {
		if (!this.#copy) {
			this.#copy = document.createElement("video");
			this.#copy.muted = true;
			this.#copy.srcObject = this.surface.captureStream();
		}
		await this.#copy.play();
		return this.#copy;
	}

	snapshot(): Snapshot {
		const newest = this.#sync.out.timestamp.peek() ?? 0;
		const shown = this.#renderer.out.timestamp.peek() ?? newest;
		const waiting = Math.max(0, newest - shown) / 1000;
		const picture = this.#video.out.stats.peek()?.bytesReceived ?? 0;
		const sound = this.#audio.out.stats.peek()?.bytesReceived ?? 0;
		return {
			frames: this.#frames,
			behind: 0,
			buffered: waiting,
			width: this.surface.width,
			height: this.surface.height,
			bytes: picture + sound,
			rung: this.#audioOnly ? AUDIO_ONLY : this.#rung(),
			audioOnly: this.#audioOnly,
		};
	}

	close(): void {
		this.#link.close();
		this.#effect.close();
		this.#copy?.remove();
	}

	/** A new session begins with the newest group, which may have been seen: that is no sign of a host. */
	#isNew(time: number): boolean {
		return time > this.#shownUntil || time < this.#shownUntil - REPEATED_MS_MAX;
	}

	#rung(): string {
		const id = this.#videoSource.out.track.peek();
		return id === undefined ? "" : rungLabel(id, this.#videoSource.out.config.peek()?.codedHeight);
	}

	/** Downloads what is seen and heard, and nothing else. */
	#enable(): void {
		const playing = !this.#paused.peek();
		this.#lastFrameAt = performance.now();
		this.#pictureEnabled.set(playing && !this.#audioOnly);
		// Once heard, the sound is kept, however short somebody mutes it: it costs a tenth of the picture.
		this.#soundEnabled.set(playing && (this.#soundEnabled.peek() || !this.#muted.peek()));
	}

	/** Begins anew where the session holds and nothing comes. */
	#listen(): void {
		const due = this.#link.session.peek() && this.#pictureEnabled.peek() && !document.hidden;
		if (!due || performance.now() - this.#lastFrameAt < this.#patience) return;
		this.#lastFrameAt = performance.now();
		this.#patience = Math.min(SILENT_MS_MAX, this.#patience * 2) * (1 + Math.random() / 2);
		this.#sync.reset();
		this.#link.renew();
	}
}

/** How people name a rung: by its lines. */
function rungLabel(id: string, lines: number | undefined): string {
	return lines ? `${lines}p` : id.replace(/^video\//, "");
}
