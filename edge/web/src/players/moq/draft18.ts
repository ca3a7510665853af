/**
 * Where `@moq/net` 0.2.8 and draft-18 of MoQT differ on the wire, put right between the two.
 *
 * 1. SUBSCRIBER_PRIORITY is one byte (10.2.7); the library writes a varint, which differs from 128 on.
 * 2. LARGEST_OBJECT is a bare Location (10.2.9); the library reads a length before it. It has no use for the
 *    value, so the parameter is taken out.
 * 3. The library asks for what comes after the largest object: the rest of a group whose head it never gets, so that
 *    the first picture waits for the next key frame. Without a filter an edge begins with the newest group.
 *
 * 4. The library gives a request up by ending its half of the stream; the draft wants a reset (3.3.2). Until the edge
 *    knows, it refuses another subscription to the same track.
 *
 * Requests have a bidirectional stream each, which carries messages of the form type, 16-bit length, body, so the
 * stream can be cut into messages without knowing more of them. What cannot be read passes unchanged.
 */

const SUBSCRIBE = 0x03;
const SUBSCRIBE_OK = 0x04;

const LARGEST_OBJECT = 0x09;
const SUBSCRIBER_PRIORITY = 0x20;
const SUBSCRIPTION_FILTER = 0x21;

/** The code of a stream that is given up (draft-18, 3.3.3). */
const CANCELLED = 0x1;

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
	const readable = stream.readable.pipeThrough(new TransformStream(messageByMessage(correctSubscribeOk)));
	const outbound = new TransformStream(messageByMessage(correctSubscribe));
	const corrected = outbound.readable.getReader();
	const source = outbound.writable.getWriter();
	const writer = stream.writable.getWriter();
	const writable = new WritableStream<Uint8Array>({
		start(controller) {
			writer.closed.catch((error) => controller.error(error));
			void forward(corrected, writer);
		},
		write: (bytes) => source.write(bytes),
		close: () => writer.abort(new WebTransportError("cancelled", { source: "stream", streamErrorCode: CANCELLED })),
		abort: (reason) => writer.abort(reason),
	});
	return { readable, writable } as WebTransportBidirectionalStream;
}

/** Writes what is read, for as long as the stream is there; its end is heard by who holds it. */
async function forward(from: ReadableStreamDefaultReader<Uint8Array>, to: WritableStreamDefaultWriter): Promise<void> {
	try {
		for (let next = await from.read(); !next.done; next = await from.read()) await to.write(next.value);
	} catch {
		await from.cancel();
	}
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

/** A message parameter: its type, and its value as it is on the wire. */
interface Parameter {
	type: number;
	value: Uint8Array;
}

/** SUBSCRIBE: request id, namespace, name, parameters. */
function correctSubscribe(type: number, body: Uint8Array): Uint8Array {
	if (type !== SUBSCRIBE) return body;
	const fields = readVarint(body, skipVarint(body, 0));
	let at = fields?.end ?? body.length;
	for (let field = 0; field <= (fields?.value ?? 0); field++) at = skipPrefixed(body, at);
	const list = readParameters(body, at, libraryValueEnd);
	if (list?.end !== body.length) return body;
	const parameters = list.parameters
		.filter((it) => it.type !== SUBSCRIPTION_FILTER)
		.map((it) => (it.type === SUBSCRIBER_PRIORITY ? { ...it, value: oneByte(it.value) } : it));
	return joined(body.slice(0, at), writeParameters(parameters));
}

/** SUBSCRIBE_OK: alias, parameters, properties of the track. */
function correctSubscribeOk(type: number, body: Uint8Array): Uint8Array {
	if (type !== SUBSCRIBE_OK) return body;
	const at = skipVarint(body, 0);
	const list = readParameters(body, at, draftValueEnd);
	if (!list) return body;
	const parameters = list.parameters.filter((it) => it.type !== LARGEST_OBJECT);
	return joined(body.slice(0, at), writeParameters(parameters), body.slice(list.end));
}

/** Where a value of the library's ends: a varint if the type is even, else a length and as many bytes. */
function libraryValueEnd(bytes: Uint8Array, at: number, type: number): number {
	return type % 2 === 0 ? skipVarint(bytes, at) : skipPrefixed(bytes, at);
}

/** Where a value in SUBSCRIBE_OK ends: it has LARGEST_OBJECT, two varints, and EXPIRES, one (draft-18, 10.2). */
function draftValueEnd(bytes: Uint8Array, at: number, type: number): number {
	return type === LARGEST_OBJECT ? skipVarint(bytes, skipVarint(bytes, at)) : skipVarint(bytes, at);
}

/** Reads a count and as many parameters, each with its type as the difference from the one before. */
function readParameters(bytes: Uint8Array, start: number, valueEnd: typeof libraryValueEnd) {
	const count = readVarint(bytes, start);
	if (!count) return undefined;
	const parameters: Parameter[] = [];
	let at = count.end;
	let type = 0;
	while (parameters.length < count.value) {
		const delta = readVarint(bytes, at);
		if (!delta) return undefined;
		type += delta.value;
		at = valueEnd(bytes, delta.end, type);
		parameters.push({ type, value: bytes.slice(delta.end, at) });
	}
	return { parameters, end: at };
}

function writeParameters(parameters: Parameter[]): Uint8Array {
	let type = 0;
	const parts = [writeVarint(parameters.length)];
	for (const parameter of parameters) {
		parts.push(writeVarint(parameter.type - type), parameter.value);
		type = parameter.type;
	}
	return joined(...parts);
}

function oneByte(varint: Uint8Array): Uint8Array {
	return Uint8Array.of(readVarint(varint, 0)?.value ?? 0);
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

/** Counts and types of parameters are below 2^14, which is two bytes. */
function writeVarint(value: number): Uint8Array {
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
