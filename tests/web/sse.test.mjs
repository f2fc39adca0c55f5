import assert from 'node:assert/strict';
import test from 'node:test';
import {pageModule} from './page_modules.mjs';

const {EventParser} = await pageModule('sse.js');

test('events are found wherever the text is cut', () => {
  const text = '\ufeff: a comment\ndata: {"a":1}\n\nevent: x\r\ndata:two\r\ndata:  lines\r\n\r\nid: 3\rdata: \u00e4\r\rdata\n\ndata: [DONE]\n\n';
  const expected = ['{"a":1}', 'two\n lines', '\u00e4', '', '[DONE]'];
  for (let size = 1; size <= text.length; ++size) {
    const parser = new EventParser();
    const found = [];
    for (let at = 0; at < text.length; at += size) found.push(...parser.push(text.slice(at, at + size)));
    assert.deepEqual(found, expected, `pieces of ${size}`);
  }
});

test('an event without its empty line is not told', () => {
  const parser = new EventParser();
  assert.deepEqual(parser.push('data: half\n'), []);
  assert.deepEqual(parser.push('database: no\n\n'), ['half']);
  assert.deepEqual(parser.push('\n\n\n'), []);
});
