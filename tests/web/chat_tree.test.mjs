import assert from 'node:assert/strict';
import test from 'node:test';
import {pageModule} from './page_modules.mjs';

const {ChatTree} = await pageModule('chat_tree.js');
const message = (id, parent, role = 'user') => ({id, parent, role, content: id, data: {}, created: 0});
const ids = (messages) => messages.map(({id}) => id);

function grown() {
  return new ChatTree([message('q1', null), message('a1', 'q1'), message('q2', 'a1'), message('a2', 'q2'), message('a1b', 'q1'), message('q1b', null)]);
}

test('the newest branch is shown where none was chosen, and the chosen one else', () => {
  assert.deepEqual(ids(grown().path()), ['q1b']);
  const all = [...grown().messages.values()];
  assert.deepEqual(ids(new ChatTree(all, 'a2').path()), ['q1', 'a1', 'q2', 'a2']);
  assert.deepEqual(ids(new ChatTree(all, 'q2').path()), ['q1', 'a1', 'q2', 'a2']);
  assert.deepEqual(ids(new ChatTree(all, 'not there').path()), ['q1b']);
});

test('going back to a branch finds it as it was left', () => {
  const tree = grown();
  tree.show('a2');
  assert.deepEqual(tree.siblings('a1'), {ids: ['a1', 'a1b'], index: 0});
  tree.showSibling('a1', 1);
  assert.deepEqual(ids(tree.path()), ['q1', 'a1b']);
  tree.showSibling('a1b', -1);
  assert.deepEqual(ids(tree.path()), ['q1', 'a1', 'q2', 'a2']);
  tree.showSibling('q1', 5);
  assert.deepEqual(ids(tree.path()), ['q1', 'a1', 'q2', 'a2']);
  assert.deepEqual(ids(tree.pathTo('q2')), ['q1', 'a1', 'q2']);
  assert.deepEqual(tree.pathTo(null), []);
});

test('a message that got its id from the server keeps its place and what follows it', () => {
  const tree = grown();
  tree.show('a2');
  tree.rename('q1', 'kept');
  assert.deepEqual(ids(tree.path()), ['kept', 'a1', 'q2', 'a2']);
  assert.equal(tree.messages.get('a1').parent, 'kept');
  assert.deepEqual(tree.siblings('kept').ids, ['kept', 'q1b']);
});

test('removing takes what follows along and shows a sibling', () => {
  const tree = grown();
  tree.show('a2');
  tree.remove('a1');
  assert.deepEqual(ids(tree.path()), ['q1', 'a1b']);
  assert.deepEqual([...tree.messages.keys()].sort(), ['a1b', 'q1', 'q1b']);
  tree.remove('q1');
  tree.remove('q1b');
  assert.deepEqual(tree.path(), []);
  assert.equal(tree.leaf(), null);
});

test('a message without its parent begins a chat, and a message that is its own parent does not hang', () => {
  const tree = new ChatTree([message('a', 'gone'), message('b', 'b')]);
  assert.deepEqual(ids(tree.path()), ['b']);
  assert.deepEqual(tree.siblings('a').ids, ['a', 'b']);
});
