/** What an edge says of an event: `GET /e/EVENT/config.json?t=TOKEN`. */

/** How the event stands for the one who asks. */
export type State =
	| "before"
	| "lobby"
	| "live"
	| "host_lost"
	| "full"
	| "wrong_link"
	| "expired"
	| "ended"
	/** Our own word for "the edge does not answer". */
	| "unreachable";

/** All that the page needs to play. */
export interface Config {
	event: string;
	title: string;
	state: State;
	/** When it begins, where that is known. */
	startsAt?: Date;
	/** WebTransport addresses, the best first. */
	moqt: string[];
	/** SHA-256 of the edges' certificate in hex, where it is not signed by an authority. */
	certificateSha256?: string;
	/** Address of the HLS multivariant playlist. */
	hls?: string;
	/** Name of the edge that answered. */
	edge: string;
}

/** How long an edge may take to answer before another attempt is worth more. */
const ANSWER_MS_MAX = 5_000;

const STATES: readonly string[] = [
	"before",
	"lobby",
	"live",
	"host_lost",
	"full",
	"wrong_link",
	"expired",
	"ended",
] satisfies State[];

/** Asks for the config of `event`. Never fails: no answer is a state, too. */
export async function fetchConfig(event: string, token: string): Promise<Config> {
	try {
		const query = token ? `?t=${encodeURIComponent(token)}` : "";
		const answer = await fetch(`/e/${encodeURIComponent(event)}/config.json${query}`, {
			cache: "no-store",
			signal: AbortSignal.timeout(ANSWER_MS_MAX),
		});
		return parseConfig(event, await answer.json(), answer.ok ? "live" : refusal(answer.status));
	} catch {
		return parseConfig(event, {}, "unreachable");
	}
}

/** Reads an answer; what is missing or strange in it is left out. */
function parseConfig(event: string, body: unknown, fallback: State): Config {
	const fields: Record<string, unknown> = typeof body === "object" && body !== null ? { ...body } : {};
	const text = (name: string) => (typeof fields[name] === "string" ? fields[name] : undefined);
	const state = text("state");
	return {
		event: text("event") ?? event,
		title: text("title") || event,
		state: state !== undefined && STATES.includes(state) ? (state as State) : fallback,
		startsAt: parseTime(fields.starts_at),
		moqt: Array.isArray(fields.moqt) ? fields.moqt.filter((it) => typeof it === "string") : [],
		certificateSha256: text("certificate_sha256"),
		hls: text("hls"),
		edge: text("edge") ?? "",
	};
}

/** A time as RFC 3339 text or as seconds since 1970. */
function parseTime(value: unknown): Date | undefined {
	if (typeof value !== "string" && typeof value !== "number") return undefined;
	const time = new Date(typeof value === "number" ? value * 1000 : value);
	return Number.isNaN(time.getTime()) ? undefined : time;
}

/** What a status without a body means. */
function refusal(status: number): State {
	if (status === 401 || status === 403 || status === 404) return "wrong_link";
	return "unreachable";
}
