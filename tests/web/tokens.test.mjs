import assert from 'node:assert/strict';
import test from 'node:test';
import {pageModule} from './page_modules.mjs';

const tokens = await pageModule('tokens.js');
const bytes = (text) => [...new TextEncoder().encode(text)];
const told = (id, text, logprob, top = []) => ({id, text, bytes: bytes(text), logprob, top});

test('kept tokens come back as they were, to four digits', () => {
  const half = {id: 9, bytes: [0xc3], logprob: Math.log(0.123456), top: [told(4, ' b', -1)]};
  const read = tokens.readTokens([told(3, '\ufeffa', 0, [told(3, '\ufeffa', 0), {...told(0, '<|end|>', -9999), special: true}]), half]);
  const back = tokens.unpackTokens(JSON.parse(JSON.stringify(tokens.packTokens(read))));
  assert.deepEqual(back[0], read[0]);
  assert.deepEqual(back[1].bytes, [0xc3]);
  assert.ok(Math.abs(back[1].probability - 0.123456) < 5e-5);
  assert.equal(back[0].others[1].special, true);
  assert.equal(back[0].others[1].probability, 0);
});

test('anything else in their place is no tokens', () => {
  for (const wrong of [undefined, null, 'text', {}, [1, 2], [[1]]]) assert.deepEqual(tokens.unpackTokens(wrong), [], JSON.stringify(wrong));
});

test('another token in a place gives the text up to there', () => {
  const line = tokens.readTokens([told(1, ' Un', 0), told(2, ' \u00e9', 0), told(3, 't\u00e9', 0)]);
  const other = (text) => tokens.readTokens([told(7, text, -1)])[0];
  assert.equal(tokens.textWith(line, 2, other(' a'), ' Un \u00e9t\u00e9'), ' Un \u00e9 a');
  assert.equal(tokens.textWith(line, 0, other('Deux'), ' Un \u00e9t\u00e9'), 'Deux');
  // A tokenizer whose texts begin with a space that is not shown.
  assert.equal(tokens.textWith(line, 1, other(' le'), 'Un \u00e9t\u00e9'), 'Un le');
  // Half a letter is no text.
  assert.equal(tokens.textWith(line, 1, {id: 5, bytes: [0xc3], probability: 0.1, special: false}, ''), null);
  // A special token ends the text before it.
  assert.equal(tokens.textWith(line, 1, {...other('<|end|>'), special: true}, ' Un'), ' Un');
});

test('tokens are shown so that they can be told apart', () => {
  assert.equal(tokens.labelOf({bytes: bytes(' a\n\t')}), '\u00b7a\u21b5\u21e5');
  assert.equal(tokens.labelOf({bytes: [0xe2, 0x82]}), 'E2 82');
  assert.equal(tokens.labelOf({bytes: []}), '(nothing)');
  assert.deepEqual([1, 0.9996, 0.25, 0.0123, 0.0005, 1e-6].map(tokens.percent), ['100 %', '100 %', '25 %', '1.2 %', '0.05 %', '< 0.01 %']);
});
