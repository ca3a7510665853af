/** The session with an edge: opened within a time limit, moved to another edge when it is lost. */

import { Net, Signals } from "@moq/watch";
import { corrected } from "./draft18";

type Session = Net.Connection.Established;

/** How long WebTransport may take until another way is tried: the promise of the page is a picture within 3 s. */
const UP_MS_MAX = 1_500;

/** So many losses in a row, and this network does not carry WebTransport for long. */
const LOSSES_MAX = 2;

/** A session that held for so long was a good one: a loss after it is the first. */
const HELD_MS = 60_000;

/** Keeps a session with one of several edges. */
export class Link {
	/** The session, while there is one. */
	readonly session = new Signals.Signal<Session | undefined>(undefined);
	/** The edge that serves it: host and port. */
	server = "";

	#stop = new AbortController();
	/** Whether the session was closed by us, which is no loss. */
	#renewing = false;
	#left = Promise.withResolvers<void>();
	#resumed: PromiseWithResolvers<void> | undefined;

	/** `givenUp` is told once, when no session is to be had any more. */
	constructor(
		private readonly urls: string[],
		private readonly certificateSha256: string | undefined,
		private readonly givenUp: (why: string) => void,
	) {
		void this.#keep();
	}

	/** Ends it. */
	close(): void {
		this.#stop.abort();
	}

	/** Takes another session, with the next edge: the one there is brings nothing. */
	renew(): void {
		const session = this.session.peek();
		if (!session) return;
		this.#renewing = true;
		session.close();
		// A session with a dead edge takes its time to be closed.
		this.#left.resolve();
	}

	/** Has no session until `resume`. */
	pause(): void {
		this.#resumed ??= Promise.withResolvers();
		this.renew();
	}

	/** Has one again. */
	resume(): void {
		this.#resumed?.resolve();
		this.#resumed = undefined;
	}

	async #keep(): Promise<void> {
		let losses = 0;
		let turn = 0;
		while (losses < LOSSES_MAX) {
			await this.#resumed?.promise;
			const found = await this.#firstUp(turn);
			if (this.#stop.signal.aborted) return;
			if (!found) return this.givenUp(`no session within ${UP_MS_MAX} ms`);
			const since = performance.now();
			await this.#hold(found.session, found.url);
			if (this.#stop.signal.aborted) return;
			if (!this.#renewing) losses = performance.now() - since > HELD_MS ? 1 : losses + 1;
			this.#renewing = false;
			turn = found.turn + 1;
		}
		this.givenUp(`${losses} sessions were lost`);
	}

	/** Asks each edge once, beginning with number `first`, until one answers or the time is up for all of them. */
	async #firstUp(first: number): Promise<{ session: Session; url: string; turn: number } | undefined> {
		const limit = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(UP_MS_MAX)]);
		for (let turn = first; turn < first + this.urls.length && !limit.aborted; turn++) {
			const url = this.urls[turn % this.urls.length] ?? "";
			try {
				return { session: await open(url, this.certificateSha256, limit), url, turn };
			} catch (error) {
				console.warn(`${new URL(url).host} is not to be had`, error);
			}
		}
		return undefined;
	}

	/** Offers a session, and returns when it is over. */
	async #hold(session: Session, url: string): Promise<void> {
		this.server = new URL(url).host;
		const stopped = () => session.close();
		this.#stop.signal.addEventListener("abort", stopped, { once: true });
		this.#left = Promise.withResolvers();
		this.session.set(session);
		await Promise.race([session.closed.catch(() => {}), this.#left.promise]);
		this.#stop.signal.removeEventListener("abort", stopped);
		this.session.set(undefined);
	}
}

/** Opens a session; `limit` ends the attempt. */
async function open(url: string, certificateSha256: string | undefined, limit: AbortSignal): Promise<Session> {
	const transport = new WebTransport(url, {
		allowPooling: false,
		congestionControl: "low-latency",
		protocols: ["moqt-18"],
		serverCertificateHashes: certificateSha256
			? [{ algorithm: "sha-256", value: fromHex(certificateSha256) }]
			: undefined,
	} as WebTransportOptions);
	transport.closed.catch(() => {});
	const tooLate = () => transport.close();
	limit.addEventListener("abort", tooLate, { once: true });
	try {
		await transport.ready;
		return await Net.Connection.connect(new URL(url), {
			transport: corrected(transport),
			discovery: false,
			signal: limit,
		});
	} finally {
		limit.removeEventListener("abort", tooLate);
	}
}

function fromHex(text: string): Uint8Array<ArrayBuffer> {
	return Uint8Array.from(text.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
}
