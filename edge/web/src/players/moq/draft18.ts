/**
 * Where `@moq/net` 0.2.8 and draft-18 of MoQT differ on the wire, put right between the two.
 *
 * 1. SUBSCRIBER_PRIORITY is one byte (10.2.7); the library writes a varint, which differs from 128 on.
 * 2. LARGEST_OBJECT is a bare Location (10.2.9); the library reads a length before it. It has no use for the
 *    value, so the parameter is taken out.
 *
 * Requests have a bidirectional stream each, which carries messages of the form type, 16-bit length, body, so the
 * stream can be cut into messages without knowing more of them. A peer or a library without these faults passes
 * unchanged.
 */

const SUBSCRIBE = 0x03;
const SUBSCRIBE_OK = 0x04;

const LARGEST_OBJECT = 0x09;
const FORWARD = 0x10;
const SUBSCRIBER_PRIORITY = 0x20;

/** A type of at most nine bytes, and a length of two. */
const HEAD_BYTES_MAX = 11;

/** A session over `session` in which the differences are gone. */
export function corrected(session: WebTransport): WebTransport {
	return new Proxy(session, {
		get(target, name) {
			if (name === "createBidirectionalStream") {
				return async (options?: WebTransportSendStreamOptions) =>
					correctedStream(await target.createBidirectionalStream(options));
			}
			const value: unknown = Reflect.get(target, name, target);
			return typeof value === "function" ? value.bind(target) : value;
		},
	});
}

function correctedStream(stream: WebTransportBidirectionalStream): WebTransportBidirectionalStream {
	const outbound = new TransformStream(messageByMessage(correctSubscribe));
	// Errors of the stream come out at the end which the library holds; here nobody waits for them.
	outbound.readable.pipeTo(stream.writable).catch(() => {});
	const inbound = stream.readable.pipeThrough(new TransformStream(messageByMessage(correctSubscribeOk)));
	return { readable: inbound, writable: outbound.writable } as WebTransportBidirectionalStream;
}

/** Gathers bytes until a message is whole, and lets `correct` change its body. */
function messageByMessage(correct: (type: number, body: Uint8Array) => Uint8Array): Transformer<Uint8Array, Uint8Array> {
	let held = new Uint8Array(0);
	return {
		transform(bytes, controller) {
			held = joined(held, bytes);
			for (;;) {
				const message = firstMessage(held);
				if (!message) return;
				const body = correct(message.type, message.body);
				const head = held.slice(0, message.headBytes);
				head.set([body.length >> 8, body.length & 0xff], message.headBytes - 2);
				controller.enqueue(joined(head, body));
				held = held.slice(message.headBytes + message.body.length);
			}
		},
		flush(controller) {
			if (held.length > 0) controller.enqueue(held);
		},
	};
}

function firstMessage(bytes: Uint8Array): { type: number; headBytes: number; body: Uint8Array } | undefined {
	const type = readVarint(bytes, 0);
	if (!type || type.end + 2 > bytes.length || type.end + 2 > HEAD_BYTES_MAX) return undefined;
	const length = ((bytes[type.end] ?? 0) << 8) | (bytes[type.end + 1] ?? 0);
	const headBytes = type.end + 2;
	if (bytes.length < headBytes + length) return undefined;
	return { type: type.value, headBytes, body: bytes.slice(headBytes, headBytes + length) };
}

/** SUBSCRIBE: request id, namespace, name, then the parameters, of which FORWARD and the priority come first. */
function correctSubscribe(type: number, body: Uint8Array): Uint8Array {
	if (type !== SUBSCRIBE) return body;
	let at = skipVarint(body, 0);
	const fields = readVarint(body, at);
	at = fields?.end ?? body.length;
	for (let field = 0; field <= (fields?.value ?? 0); field++) at = skipPrefixed(body, at);
	at = skipVarint(body, at);
	let kind = 0;
	while (at < body.length) {
		const delta = readVarint(body, at);
		if (!delta) return body;
		kind += delta.value;
		at = delta.end;
		if (kind === SUBSCRIBER_PRIORITY) {
			const priority = readVarint(body, at);
			// The library writes two bytes only where it must; anything else is one byte and what follows it.
			if (!priority || priority.value < 0x80 || priority.value > 0xff) return body;
			return joined(body.slice(0, at), Uint8Array.of(priority.value), body.slice(priority.end));
		}
		if (kind !== FORWARD) return body;
		at += 1;
	}
	return body;
}

/** SUBSCRIBE_OK: alias, then the parameters, then properties of the track. */
function correctSubscribeOk(type: number, body: Uint8Array): Uint8Array {
	if (type !== SUBSCRIBE_OK) return body;
	const countAt = skipVarint(body, 0);
	const count = readVarint(body, countAt);
	let at = count?.end ?? body.length;
	let kind = 0;
	for (let index = 0; index < (count?.value ?? 0); index++) {
		const from = at;
		const delta = readVarint(body, at);
		if (!delta) return body;
		kind += delta.value;
		if (kind === LARGEST_OBJECT) {
			const end = skipVarint(body, skipVarint(body, delta.end));
			const last = index + 1 === count?.value;
			const next = last ? undefined : readVarint(body, end);
			// What follows counts its type from the one before it, which is now another.
			const following = next ? writeSmallVarint(delta.value + next.value) : new Uint8Array(0);
			return joined(
				body.slice(0, countAt),
				writeSmallVarint((count?.value ?? 1) - 1),
				body.slice(count?.end, from),
				following,
				body.slice(next?.end ?? end),
			);
		}
		// EXPIRES is all that may come before it, and is a varint.
		at = skipVarint(body, delta.end);
	}
	return body;
}

/** A variable-length integer of draft-18, 1.4.1: leading ones tell the bytes that follow. */
function readVarint(bytes: Uint8Array, at: number): { value: number; end: number } | undefined {
	const first = bytes[at];
	if (first === undefined) return undefined;
	const more = Math.clz32(~(first << 24));
	if (at + 1 + more > bytes.length) return undefined;
	let value = more >= 7 ? 0 : first & (0x7f >> more);
	for (let index = 1; index <= more; index++) value = value * 256 + (bytes[at + index] ?? 0);
	return { value, end: at + 1 + more };
}

function skipVarint(bytes: Uint8Array, at: number): number {
	return readVarint(bytes, at)?.end ?? bytes.length;
}

function skipPrefixed(bytes: Uint8Array, at: number): number {
	const length = readVarint(bytes, at);
	return length ? length.end + length.value : bytes.length;
}

/** Counts and types here are below 2^14. */
function writeSmallVarint(value: number): Uint8Array {
	return value < 0x80 ? Uint8Array.of(value) : Uint8Array.of(0x80 | (value >> 8), value & 0xff);
}

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
	const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
	let at = 0;
	for (const part of parts) {
		whole.set(part, at);
		at += part.length;
	}
	return whole;
}
