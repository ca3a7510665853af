/** Plays by HLS over HTTPS with hls.js, where the browser has Media Source Extensions. */

import Hls from "hls.js";
import type { Config } from "../config";
import type { Choice, Listener, Snapshot } from "./player";
import { VideoPlayer } from "./video";

/** Faults that hls.js may try to mend by itself before another player is worth more. */
const MENDS_MAX = 3;

/** How much of the past is kept to rewind into: a phone has little memory. */
const BACK_BUFFER_SECONDS = 30;

/** HLS by hls.js. */
export class HlsPlayer extends VideoPlayer {
	readonly transport = "HLS";
	readonly #hls: Hls;
	#mends = 0;
	#bytes = 0;

	/** Whether this browser can play so. */
	static isSupported(): boolean {
		return Hls.isSupported();
	}

	constructor(config: Config, listener: Listener) {
		super(config.hls ?? "");
		this.#hls = new Hls({ lowLatencyMode: true, backBufferLength: BACK_BUFFER_SECONDS });
		this.#hls.on(Hls.Events.ERROR, (_, { fatal, type, details }) => {
			if (!fatal) return;
			this.#mends += 1;
			if (this.#mends > MENDS_MAX) listener.lost(this, details);
			else if (type === Hls.ErrorTypes.MEDIA_ERROR) this.#hls.recoverMediaError();
			else listener.lost(this, details);
		});
		this.#hls.on(Hls.Events.FRAG_BUFFERED, (_, { stats }) => {
			this.#bytes += stats.total;
		});
		this.#hls.on(Hls.Events.MANIFEST_PARSED, () => {
			listener.choices(this);
			this.play();
		});
		this.#hls.on(Hls.Events.AUDIO_TRACKS_UPDATED, () => listener.choices(this));
		this.#hls.on(Hls.Events.SUBTITLE_TRACKS_UPDATED, () => listener.choices(this));
		this.#hls.loadSource(this.address);
		this.#hls.attachMedia(this.surface);
	}

	override qualities(): Choice[] {
		return this.#hls.levels
			.map((level, index) => ({ id: String(index), label: level.height ? `${level.height}p` : level.name || "Audio only", height: level.height }))
			.sort((a, b) => b.height - a.height)
			.map(({ id, label }) => ({ id, label }));
	}

	override setQuality(id: string | undefined): void {
		this.#hls.nextLevel = id === undefined ? -1 : Number(id);
	}

	override sounds(): Choice[] {
		return this.#hls.audioTracks.map(({ id, name }) => ({ id: String(id), label: name }));
	}

	override setSoundTrack(id: string): void {
		this.#hls.audioTrack = Number(id);
	}

	override setCaptions(shown: boolean): void {
		this.#hls.subtitleTrack = shown ? 0 : -1;
		super.setCaptions(shown);
	}

	override snapshot(): Snapshot {
		return { ...super.snapshot(), bytes: this.#bytes };
	}

	override close(): void {
		this.#hls.destroy();
		super.close();
	}

	protected override liveEdge(): number {
		return this.#hls.liveSyncPosition ?? this.surface.currentTime;
	}

	protected override rung(): string {
		const level = this.#hls.levels[this.#hls.currentLevel];
		return level?.height ? `${level.height}p` : "";
	}

	/** From the wall clock in the playlist to ours; of no use where a clock is wrong. */
	protected override latency(): number | undefined {
		const shown = this.#hls.playingDate;
		return shown ? (Date.now() - shown.getTime()) / 1000 : undefined;
	}
}
