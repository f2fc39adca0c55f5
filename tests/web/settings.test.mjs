import assert from 'node:assert/strict';
import test from 'node:test';
import {pageModule} from './page_modules.mjs';

const {checked, fields, samplingFields, withDefaults} = await pageModule('settings.js');
const {fileName, toJson, toMarkdown} = await pageModule('export.js');
const {sentence} = await pageModule('api.js');
const {splitMarks} = await pageModule('prompt_panel.js');
const field = (key) => fields.find((each) => each.key === key);

test('values that cannot be become those that can', () => {
  assert.equal(checked(field('temperature'), '0.35'), 0.35);
  assert.equal(checked(field('temperature'), '-1'), 0);
  assert.equal(checked(field('temperature'), 'warm'), 0.8);
  assert.equal(checked(field('temperature'), ''), 0.8);
  assert.equal(checked(field('top_k'), '40.4'), 40);
  assert.equal(checked(field('max_tokens'), 0), 1);
  assert.equal(checked(field('seed'), ''), '');
  assert.equal(checked(field('seed'), Infinity), '');
  assert.equal(checked(field('stop'), 3), '');
  assert.deepEqual(withDefaults(null), withDefaults({system: 7, temperature: 'x', unknown: 1}));
});

test('a request holds what was set', () => {
  const body = samplingFields({...withDefaults({}), seed: '', stop: 'END\n\n\\n\\n'});
  assert.ok(!('seed' in body) && !('system' in body));
  assert.deepEqual(body.stop, ['END', '\n\n']);
  assert.deepEqual(body.fledge, {probabilities: 6});
  assert.equal(samplingFields({...withDefaults({}), seed: 0}).seed, 0);
  assert.ok(!('stop' in samplingFields(withDefaults({}))));
});

test('a chat as a file', () => {
  const path = [{role: 'user', content: 'Hi'}, {role: 'assistant', content: 'Hello\n', data: {model: 'm'}}];
  const told = toMarkdown({title: 'First', settings: {system: 'Be brief.'}}, path);
  assert.equal(told, '# First\n\n**System**\n\nBe brief.\n\n**User**\n\nHi\n\n**Assistant (m)**\n\nHello\n');
  assert.deepEqual(JSON.parse(toJson({id: 'c', messages: []}, path)).messages, path);
  assert.equal(fileName('../../etc: passwd?'), 'etc-passwd');
  assert.equal(fileName('\u2026'), 'chat');
});

test('errors are sentences', () => {
  assert.equal(sentence('the queue is full'), 'The queue is full.');
  assert.equal(sentence('Why?'), 'Why?');
});

test('the marks of templates stand at odd places', () => {
  assert.deepEqual(splitMarks('<|im_start|>user\nHi<|im_end|>'), ['', '<|im_start|>', 'user\nHi', '<|im_end|>', '']);
  assert.equal(splitMarks('a < b | c > d').length, 1);
});
