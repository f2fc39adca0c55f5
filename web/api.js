// The server's HTTP interface (docs/server.md).
import {EventParser} from './sse.js';

/** What went wrong, as a sentence for people. */
export class ServerError extends Error {
  /** @param {string} message @param {number} status @param {string} [code] */
  constructor(message, status, code = '') {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const keyName = 'fledge.key';
/**
 * Asks for the server's key; set by the page.
 * @type {(why: string) => Promise<string|null>}
 */
let askForKey = async () => null;

/** @param {(why: string) => Promise<string|null>} ask */
export function setKeyQuestion(ask) {
  askForKey = ask;
}

function storedKey() {
  try {
    return localStorage.getItem(keyName) ?? '';
  } catch {
    return '';
  }
}

/** @param {string} method @param {string} path @param {any} [body] @param {AbortSignal} [signal] @param {boolean} [keepalive] */
async function send(method, path, body, signal, keepalive = false) {
  for (;;) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const key = storedKey();
    if (key) headers.Authorization = `Bearer ${key}`;
    const text = body === undefined ? undefined : JSON.stringify(body);
    let response;
    try {
      response = await fetch(path, {method, headers, body: text, signal, keepalive, credentials: 'omit'});
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ServerError('The server cannot be reached. Is "fledge serve" still running?', 0, 'unreachable');
    }
    if (response.ok) return response;
    const error = await errorOf(response);
    if (response.status !== 401) throw error;
    const given = await askForKey(error.message);
    if (given === null) throw error;
    localStorage.setItem(keyName, given);
  }
}

/** @param {Response} response */
async function errorOf(response) {
  let told;
  try {
    told = (await response.json()).error;
  } catch {
    // Something between here and the server answered.
  }
  const message = told?.message ?? `The server answered ${response.status} ${response.statusText}`;
  return new ServerError(sentence(message), response.status, told?.code ?? '');
}

/** @param {string} text */
export function sentence(text) {
  const trimmed = text.trim();
  const begun = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** @param {string} method @param {string} path @param {any} [body] @param {AbortSignal} [signal] */
export async function call(method, path, body, signal) {
  const response = await send(method, path, body, signal);
  return response.status === 204 ? null : response.json();
}

/**
 * For the moment when the page goes away.
 * @param {string} method
 * @param {string} path
 * @param {any} body
 */
export function callAndLeave(method, path, body) {
  send(method, path, body, undefined, true).catch(() => {});
}

/**
 * The chunks of a streamed answer, to the end of the stream. Throws ServerError where the server tells of an error or the
 * connection breaks, and what the signal throws where it is aborted.
 * @param {string} path
 * @param {any} body
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<any>}
 */
export async function* stream(path, body, signal) {
  const response = await send('POST', path, body, signal);
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const decoder = new TextDecoder();
  const parser = new EventParser();
  for (;;) {
    let piece;
    try {
      piece = await reader.read();
    } catch (error) {
      if (signal.aborted) throw error;
      break;
    }
    if (piece.done) break;
    for (const data of parser.push(decoder.decode(piece.value, {stream: true}))) {
      if (data === '[DONE]') return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ServerError(sentence(chunk.error.message), 200, chunk.error.code ?? '');
      yield chunk;
    }
  }
  throw new ServerError('The connection broke before the answer was complete.', 0, 'broken');
}
