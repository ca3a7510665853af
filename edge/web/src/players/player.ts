/** What the page asks of a way to play, whichever it is. */

/** How the picture comes. */
export type Transport = "WebTransport" | "HLS" | "Native HLS";

/** One choice of the quality menu. */
export interface Choice {
	id: string;
	label: string;
}

/** What a player knows of itself at one moment. */
export interface Snapshot {
	/** Frames shown since the start; the page sees a stall by it. */
	frames: number;
	/** Seconds that the picture is behind what could be shown. */
	behind: number;
	/** Seconds of picture that wait to be shown. */
	buffered: number;
	/** From lens to eye in seconds, where the stream carries the time of day. */
	latency?: number;
	/** Size of the picture in pixels. */
	width: number;
	height: number;
	/** Bytes received since the start, where they can be counted. */
	bytes?: number;
	/** What plays now, in words. */
	rung: string;
	/** Whether somebody wants sound alone, so that no frames are to be expected. */
	audioOnly: boolean;
}

/** One way to play an event. */
export interface Player {
	readonly transport: Transport;
	/** Who serves the picture: a host and port. */
	readonly server: string;
	/** What shows the picture. */
	readonly surface: HTMLElement;
	/** Plays, at the newest picture if it was paused. */
	play(): void;
	pause(): void;
	/** Skips what is between the picture and the newest one. */
	jumpToLive(): void;
	/** Volume from 0 to 1, and whether there is sound at all. */
	setSound(volume: number, muted: boolean): void;
	/** Whether the browser lets sound begin now, without a click. */
	canSound(): Promise<boolean>;
	/** Choices of quality, the automatic one apart. */
	qualities(): Choice[];
	/** Plays one quality, or the best that fits if `undefined`. */
	setQuality(id: string | undefined): void;
	/** Languages or mixes to choose from. */
	sounds(): Choice[];
	setSoundTrack(id: string): void;
	/** Whether there are captions. */
	hasCaptions(): boolean;
	setCaptions(shown: boolean): void;
	/** A video element with the picture, for picture-in-picture; it may have to be made. */
	video(): Promise<HTMLVideoElement>;
	snapshot(): Snapshot;
	/** Ends it; it shows nothing any more. */
	close(): void;
}

/** What a player tells. */
export interface Listener {
	/** It can no longer play, and does not recover by itself. */
	lost(player: Player, why: string): void;
	/** The choices changed. */
	choices(player: Player): void;
}
