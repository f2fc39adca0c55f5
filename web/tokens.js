// Tokens of an answer as the server reports them, and what the page keeps of them.

/**
 * A token is bytes, and only with its neighbours always text: one letter may take several tokens.
 * @typedef {{id: number, bytes: number[], probability: number, special: boolean}} Candidate
 * @typedef {Candidate & {others: Candidate[]}} Token `others`: the likeliest tokens in its place, itself perhaps among them
 */

/** @param {any} told @returns {Candidate} */
const candidate = (told) => ({
  id: told.id,
  bytes: told.bytes,
  probability: Math.exp(told.logprob),
  special: told.special === true,
});

/** @param {any[]} told "fledge": {"tokens": ...} of a chunk @returns {Token[]} */
export function readTokens(told) {
  return told.map((token) => ({...candidate(token), others: (token.top ?? []).map(candidate)}));
}

/** @param {Candidate} token */
const pack = (token) => {
  const text = textOf(token.bytes);
  const packed = [token.id, text ?? token.bytes, Number(token.probability.toPrecision(4))];
  return token.special ? [...packed, 1] : packed;
};

/**
 * The short form in which a kept chat holds tokens.
 * @param {Token[]} tokens
 * @returns {any[]}
 */
export function packTokens(tokens) {
  return tokens.map((token) => [pack(token), ...token.others.map(pack)]);
}

/** @param {any} packed @returns {Candidate} */
function unpack(packed) {
  const [id, text, probability, special] = packed;
  const bytes = typeof text === 'string' ? [...new TextEncoder().encode(text)] : text;
  return {id, bytes, probability, special: special === 1};
}

/**
 * What packTokens() wrote; nothing where something else stands there.
 * @param {any} packed
 * @returns {Token[]}
 */
export function unpackTokens(packed) {
  if (!Array.isArray(packed)) return [];
  try {
    return packed.map(([own, ...others]) => ({...unpack(own), others: others.map(unpack)}));
  } catch {
    return [];
  }
}

/**
 * The text of these bytes, or null where they are no whole letters.
 * @param {number[]} bytes
 * @returns {string|null}
 */
export function textOf(bytes) {
  try {
    return new TextDecoder('utf-8', {fatal: true, ignoreBOM: true}).decode(Uint8Array.from(bytes));
  } catch {
    return null;
  }
}

/**
 * A token as it is shown by itself: white space made visible, broken letters as bytes.
 * @param {Candidate} token
 */
export function labelOf(token) {
  const text = textOf(token.bytes);
  if (text === null) return token.bytes.map((byte) => byte.toString(16).toUpperCase().padStart(2, '0')).join(' ');
  if (text === '') return '(nothing)';
  return text.replace(/ /g, '\u00b7').replace(/\n/g, '\u21b5').replace(/\t/g, '\u21e5').replace(/\r/g, '\u240d');
}

/**
 * The answer's text up to a token, with another one in its place; null where that is no text (the middle of a letter).
 * Special tokens before it are not part of the text.
 * @param {Token[]} tokens
 * @param {number} index
 * @param {Candidate} other
 * @param {string} content the whole answer: some tokenizers write a space that is not shown at its beginning
 * @returns {string|null}
 */
export function textWith(tokens, index, other, content) {
  /** @type {number[]} */
  const bytes = [];
  for (const token of tokens.slice(0, index)) {
    if (!token.special) bytes.push(...token.bytes);
  }
  if (!other.special) bytes.push(...other.bytes);
  const text = textOf(bytes);
  const first = tokens.length > 0 ? textOf(tokens[0].bytes) : null;
  const hasHiddenSpace = first !== null && first.startsWith(' ') && !content.startsWith(' ');
  return hasHiddenSpace && text !== null ? text.replace(/^ /, '') : text;
}

/** @param {number} probability */
export function percent(probability) {
  const value = probability * 100;
  if (value >= 99.95) return '100 %';
  if (value >= 10) return `${value.toFixed(0)} %`;
  if (value >= 0.095) return `${value.toFixed(1)} %`;
  return value >= 0.01 ? `${value.toFixed(2)} %` : '< 0.01 %';
}
