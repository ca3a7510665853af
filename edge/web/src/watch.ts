/** Chooses how to play, and chooses again when a way fails: WebTransport, then hls.js, then the browser's own HLS. */

import type { Config } from "./config";
import type { Listener, Player } from "./players/player";

/** A way to play, in the order in which they are tried. */
export type Way = "webtransport" | "hls" | "native";

const WAYS: readonly Way[] = ["webtransport", "hls", "native"];

/** After all ways failed, the round begins anew so much later: an edge that died is replaced within seconds. */
const ROUND_MS = 3_000;

/** What the page is told. */
export interface Audience {
	/** Another player plays from now on; `undefined` while none does. */
	playing(player: Player | undefined): void;
	/** The player's choices changed. */
	choices(player: Player): void;
}

/** Keeps an event playing. */
export class Watch implements Listener {
	#player: Player | undefined;
	#next = 0;
	#stopped = false;

	/** Plays only `only`, where given. */
	constructor(
		private readonly config: Config,
		private readonly audience: Audience,
		private readonly only?: Way,
	) {
		void this.#advance();
	}

	lost(player: Player, why: string): void {
		if (player !== this.#player || this.#stopped) return;
		console.warn(`${player.transport} no longer plays: ${why}`);
		player.close();
		this.#player = undefined;
		this.audience.playing(undefined);
		void this.#advance();
	}

	choices(player: Player): void {
		if (player === this.#player) this.audience.choices(player);
	}

	/** Ends it. */
	close(): void {
		this.#stopped = true;
		this.#player?.close();
		this.#player = undefined;
	}

	async #advance(): Promise<void> {
		while (this.#next < WAYS.length) {
			const way = WAYS[this.#next++] as Way;
			if (this.only !== undefined && this.only !== way) continue;
			const player = await this.#begin(way);
			if (this.#stopped) {
				player?.close();
				return;
			}
			if (player) {
				this.#player = player;
				this.audience.playing(player);
				this.audience.choices(player);
				return;
			}
		}
		this.#next = 0;
		setTimeout(() => {
			if (!this.#stopped) void this.#advance();
		}, ROUND_MS);
	}

	/** The code of a way is loaded when it is needed: the first picture waits for one of them only. */
	async #begin(way: Way): Promise<Player | undefined> {
		try {
			if (way === "webtransport") {
				if (this.config.moqt.length === 0 || !("WebTransport" in window)) return undefined;
				const { MoqPlayer } = await import("./players/moq");
				return MoqPlayer.isSupported() ? new MoqPlayer(this.config, this) : undefined;
			}
			if (!this.config.hls) return undefined;
			if (way === "hls") {
				const { HlsPlayer } = await import("./players/hls");
				return HlsPlayer.isSupported() ? new HlsPlayer(this.config, this) : undefined;
			}
			const { NativePlayer } = await import("./players/native");
			return NativePlayer.isSupported() ? new NativePlayer(this.config, this) : undefined;
		} catch (error) {
			console.warn(`${way} cannot be tried`, error);
			return undefined;
		}
	}
}
