/** What both kinds of HLS have in common: a video element. */

import type { Choice, Player, Snapshot } from "./player";

/** A player whose picture is a video element. */
export abstract class VideoPlayer implements Player {
	abstract readonly transport: "HLS" | "Native HLS";
	readonly surface = document.createElement("video");
	readonly server: string;

	constructor(protected readonly address: string) {
		this.server = new URL(address, location.href).host;
		this.surface.className = "picture";
		this.surface.playsInline = true;
		this.surface.muted = true;
		this.surface.disableRemotePlayback = false;
	}

	/** Where the newest picture is that can be played without waiting, in seconds of the element. */
	protected abstract liveEdge(): number;
	abstract qualities(): Choice[];
	abstract setQuality(id: string | undefined): void;
	abstract sounds(): Choice[];
	abstract setSoundTrack(id: string): void;
	protected abstract rung(): string;
	protected abstract latency(): number | undefined;

	play(): void {
		// A refusal means that sound needs a click; without sound it is always let.
		this.surface.play().catch(() => {
			this.surface.muted = true;
			this.surface.play().catch(() => {});
		});
	}

	pause(): void {
		this.surface.pause();
	}

	jumpToLive(): void {
		this.surface.currentTime = this.liveEdge();
		this.play();
	}

	setSound(volume: number, muted: boolean): void {
		this.surface.volume = volume;
		this.surface.muted = muted;
	}

	async canSound(): Promise<boolean> {
		const probe = new AudioContext();
		const can = probe.state === "running";
		await probe.close();
		return can;
	}

	hasCaptions(): boolean {
		return this.surface.textTracks.length > 0;
	}

	setCaptions(shown: boolean): void {
		for (const track of this.surface.textTracks) track.mode = shown ? "showing" : "hidden";
	}

	async video(): Promise<HTMLVideoElement> {
		return this.surface;
	}

	snapshot(): Snapshot {
		const { currentTime, buffered, videoWidth, videoHeight } = this.surface;
		const end = buffered.length > 0 ? buffered.end(buffered.length - 1) : currentTime;
		return {
			frames: this.surface.getVideoPlaybackQuality?.().totalVideoFrames ?? Math.floor(currentTime * 30),
			behind: Math.max(0, this.liveEdge() - currentTime),
			buffered: Math.max(0, end - currentTime),
			latency: this.latency(),
			width: videoWidth,
			height: videoHeight,
			rung: this.rung(),
			audioOnly: false,
		};
	}

	close(): void {
		this.surface.removeAttribute("src");
		this.surface.load();
		this.surface.remove();
	}
}
