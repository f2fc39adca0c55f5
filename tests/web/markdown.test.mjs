import assert from 'node:assert/strict';
import test from 'node:test';
import {pageModule} from './page_modules.mjs';

const {parseMarkdown, safeUrl} = await pageModule('markdown.js');

/** A short form: tag(children). */
const shown = (node) => (typeof node === 'string' ? node : `${node.tag}(${node.children.map(shown).join('|')})`);
const read = (text) => parseMarkdown(text).map(({node}) => shown(node)).join(' ');
const textOf = (node) => (typeof node === 'string' ? node : node.children.map(textOf).join(''));

const tags = new Set(['p', 'br', 'strong', 'em', 'del', 'code', 'pre', 'a', 'ul', 'ol', 'li', 'blockquote', 'hr', 'h3', 'h4', 'h5', 'h6', 'table', 'thead', 'tbody', 'tr', 'th', 'td']);
const attributes = {a: ['href', 'rel', 'target'], pre: ['data-language'], ol: ['start']};

/** Throws where a tree holds anything but the tags and attributes that are meant to be. */
function check(node) {
  if (typeof node === 'string') return;
  assert.ok(tags.has(node.tag), `tag ${node.tag}`);
  for (const [name, value] of Object.entries(node.attributes ?? {})) {
    assert.ok(attributes[node.tag]?.includes(name), `${name} of ${node.tag}`);
    if (name === 'href') assert.match(value, /^https?:\/\//);
    if (name === 'rel') assert.match(value, /noopener/);
    if (name === 'start') assert.match(value, /^\d+$/);
  }
  node.children.forEach(check);
}

test('what models write', () => {
  assert.equal(read('Hello *you* and **all of *us***, `x*y*`\nnext'), 'p(Hello |em(you)| and |strong(all of |em(us))|, |code(x*y*)|br()|next)');
  assert.equal(read('# One\n\n#### Four ##\ntext'), 'h3(One) h6(Four) p(text)');
  assert.equal(read('- a\n- b\n  - c\n- d'), 'ul(li(a)|li(b|ul(li(c)))|li(d))');
  assert.equal(read('3. a\n4. b\n\ntext'), 'ol(li(a)|li(b)) p(text)');
  assert.equal(parseMarkdown('3. a')[0].node.attributes.start, '3');
  assert.equal(read('```c++ x\nint a; // *no*\n\n<b>\n```\nafter'), 'pre(code(int a; // *no*\n\n<b>)) p(after)');
  assert.equal(parseMarkdown('```c++ x\n```')[0].node.attributes['data-language'], 'c++');
  assert.equal(read('```\nnot closed *yet*'), 'pre(code(not closed *yet*))');
  assert.equal(read('> quoted\n> > twice\n\n---'), 'blockquote(p(quoted)|blockquote(p(twice))) hr()');
  assert.equal(read('| a | b |\n|---|:-:|\n| 1 | x\\|y |'), 'table(thead(tr(th(a)|th(b)))|tbody(tr(td(1)|td(x|y))))');
  assert.equal(read('~~old~~ a_b_c 2*3*4 \\*no\\* 5 * 6'), 'p(del(old)| a_b_c 2|em(3)|4 *no* 5 * 6)');
  assert.equal(read('1. a\n\n   ```\n   x\n   ```\n2. b'), 'ol(li(a|pre(code(x)))|li(b))');
});

test('links lead to the web alone', () => {
  const link = parseMarkdown('see [this *one*](https://example.org/a(b)?q=1#f "t").')[0].node.children[1];
  assert.deepEqual(link.attributes, {href: 'https://example.org/a(b)?q=1#f', rel: 'noopener noreferrer nofollow', target: '_blank'});
  assert.equal(read('at https://example.org/x, or (http://a.b/c).'), 'p(at |a(https://example.org/x)|, or (|a(http://a.b/c)|).)');
  for (const url of ['javascript:alert(1)', 'JaVaScRiPt:alert(1)', 'data:text/html,x', 'vbscript:x', 'file:///etc/passwd', '//example.org', '/v1/models', 'java\tscript:1', 'blob:https://x/1', 'https://']) {
    assert.equal(safeUrl(url), null, url);
    assert.ok(!read(`[x](${url})`).includes('a(x)'), url);
  }
  // A picture would be fetched from elsewhere.
  assert.equal(read('![cat](https://example.org/cat.png)'), 'p(a(cat))');
});

test('markup stays text', () => {
  const hostile = ['<script>alert(1)</script>', '<img src=x onerror=alert(1)>', '<a href="javascript:alert(1)">x</a>', '<!-- x -->', '&lt;b&gt; &#60;'];
  for (const text of hostile) assert.equal(read(text), `p(${text})`);
  const quoted = parseMarkdown('[x](https://a.b/"onmouseover="alert(1))')[0].node;
  check(quoted);
  check(parseMarkdown('```"><script>alert(1)</script>\nx\n```')[0].node);
});

test('no text makes anything but the known tags, and none is lost or slow', () => {
  let state = 12345;
  const random = (n) => (state = (state * 1103515245 + 12345) % 2147483648) % n;
  const pieces = ['*', '**', '_', '~~', '`', '```', '[', ']', '(', ')', '!', '<', '>', '\n', '\n\n', '    ', '- ', '1. ', '# ', '| ', '|-|', '\\', 'https://a.b', 'javascript:', 'word', ' ', '"', '\u00e9', '\ud83d', '\t', '\r\n'];
  for (let round = 0; round < 3000; ++round) {
    let text = '';
    for (let i = random(40); i >= 0; --i) text += pieces[random(pieces.length)];
    const blocks = parseMarkdown(text);
    blocks.forEach(({node}) => check(node));
    const words = (t) => (t.match(/word/g) ?? []).length;
    const kept = words(blocks.map(({node}) => textOf(node) + (node.attributes?.['data-language'] ?? '')).join(' '));
    // Only what stands behind a fence's language or a table's last column may go.
    if (!/[`|]/.test(text) && !text.includes('javascript:') && !text.includes('](')) assert.equal(kept, words(text), JSON.stringify(text));
  }
  for (const piece of ['*a ', '**a', '_a', '`'.repeat(3) + 'a`', '[', '[a](', '![', '> ', '- ', '  - ', '| a |\n|-|\n', '~~a', '***a**b*', '`a``', 'https://', '\n\n - a', '1. ', '*a**b']) {
    const start = performance.now();
    const text = piece.repeat(200000 / piece.length);
    parseMarkdown(text).forEach(({node}) => check(node));
    const time = performance.now() - start;
    assert.ok(time < 3000, `${JSON.stringify(piece)} took ${time} ms`);
  }
});

test('a growing text changes its last blocks only', () => {
  const text = '# Title\n\nFirst *words* here.\n\n- one\n- two\n\n```\ncode\n```\n\nEnd.';
  const whole = parseMarkdown(text).map(({source}) => source);
  for (let length = 0; length < text.length; ++length) {
    const part = parseMarkdown(text.slice(0, length)).map(({source}) => source);
    part.slice(0, -1).forEach((source, index) => assert.equal(source, whole[index], `after ${length}`));
  }
});
