/** Plays by HLS with the browser's own player: phones and televisions without Media Source Extensions. */

import type { Config } from "../config";
import type { Choice, Listener } from "./player";
import { VideoPlayer } from "./video";

/** HLS by the browser itself. */
export class NativePlayer extends VideoPlayer {
	readonly transport = "Native HLS";

	/** Whether this browser can play so. */
	static isSupported(): boolean {
		return document.createElement("video").canPlayType("application/vnd.apple.mpegurl") !== "";
	}

	constructor(config: Config, listener: Listener) {
		super(config.hls ?? "");
		this.surface.addEventListener("error", () => listener.lost(this, this.surface.error?.message ?? "media error"));
		this.surface.addEventListener("loadedmetadata", () => listener.choices(this));
		this.surface.src = this.address;
		this.play();
	}

	/** The browser chooses; nothing can be asked of it. */
	override qualities(): Choice[] {
		return [];
	}

	override setQuality(): void {}

	override sounds(): Choice[] {
		return [];
	}

	override setSoundTrack(): void {}

	protected override liveEdge(): number {
		const { seekable, currentTime } = this.surface;
		return seekable.length > 0 ? seekable.end(seekable.length - 1) : currentTime;
	}

	protected override rung(): string {
		return this.surface.videoHeight > 0 ? `${this.surface.videoHeight}p` : "";
	}

	protected override latency(): number | undefined {
		return undefined;
	}
}
