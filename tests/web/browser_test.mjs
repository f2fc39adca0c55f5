// The page in a real browser, from the first question to a reload, against fledge serving a tiny model:
//   node browser_test.mjs PATH/TO/fledge PATH/TO/chromium [FOLDER FOR PICTURES]
import assert from 'node:assert/strict';
import {mkdirSync, mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join, resolve} from 'node:path';
import {Browser} from './browser.mjs';
import {makeModels, serve} from './served.mjs';

const [fledge, chromium, pictures] = process.argv.slice(2);
const work = mkdtempSync(join(tmpdir(), 'fledge-page-'));
if (pictures) mkdirSync(pictures, {recursive: true});

const answers = '.message.answer';
const lastAnswer = `[...document.querySelectorAll('${answers}')].at(-1)`;
const bodyText = `(${lastAnswer}?.querySelector('.body').innerText.trim() ?? '')`;
const isIdle = `!document.querySelector('.running') && document.querySelector('#stop').hidden`;
const bubbles = `[...document.querySelectorAll('.question .body')].map((body) => body.innerText)`;

/** @param {import('./browser.mjs').Page} page @param {string} text */
async function say(page, text) {
  const before = await page.value(`document.querySelectorAll('${answers}').length`);
  await page.fill('#message', text);
  await page.press('Enter');
  await page.until(`document.querySelectorAll('${answers}').length > ${before}`, 'an answer to begin');
}

/** @param {import('./browser.mjs').Page} page */
async function answered(page) {
  await page.until(isIdle, 'the answer to end');
  return page.value(bodyText);
}

/** @param {import('./browser.mjs').Page} page @param {string} label */
const press = (page, label, of = '.answer:last-of-type') => page.click(`${of} .actions [aria-label^="${label}"]`);

/** @param {import('./browser.mjs').Page} page @param {string} key @param {string} value */
async function set(page, key, value) {
  await page.fill(`#setting-${key}`, value);
  await page.value(`document.activeElement.blur()`);
}

/** @param {import('./browser.mjs').Page} page */
async function setSampler(page) {
  await page.click('#open-sampler');
  await set(page, 'temperature', '0');
  await set(page, 'max_tokens', '12');
  await page.click('#drawer-close');
}

const steps = {
  async 'both models can be chosen'(page) {
    const names = await page.value(`[...document.querySelectorAll('#model option')].map((option) => option.value)`);
    assert.deepEqual(names, ['parrot', 'plain']);
    assert.equal(await page.value(`document.querySelector('#welcome').hidden`), false);
    assert.equal(await page.value(`document.activeElement.id`), 'message');
  },

  async 'a question is answered, piece by piece'(page) {
    await setSampler(page);
    await say(page, 'Line 7');
    const text = await answered(page);
    assert.ok(text.length > 10, `the answer is "${text}"`);
    assert.match(await page.value(`document.querySelector('.meta').textContent`), /^parrot · 12 tokens · [\d.]+ tokens\/s · cut at the limit$/);
    assert.match(await page.value('location.hash'), /^#chat_/);
    assert.deepEqual(await page.value(`[...document.querySelectorAll('#chat-list a')].map((link) => link.innerText)`), ['Line 7']);
  },

  async 'an answer that was cut goes on'(page) {
    const before = await page.value(bodyText);
    await press(page, 'Go on');
    await page.until(`${bodyText}.length > ${before.length} && ${isIdle}`, 'more of the answer');
    assert.ok((await page.value(bodyText)).startsWith(before));
    assert.match(await page.value(`document.querySelector('.meta').textContent`), / 24 tokens /);
  },

  async 'a long answer is stopped, and what came of it stays'(page) {
    await page.click('#open-sampler');
    await set(page, 'max_tokens', '16000');
    await set(page, 'alternatives', '0');
    await page.click('#drawer-close');
    await say(page, 'Line 8');
    await page.until(`${bodyText}.length > 40`, 'streamed text');
    assert.equal(await page.value(`document.querySelectorAll('.running').length`), 1);
    await page.press('Escape');
    const text = await answered(page);
    assert.ok(text.length > 40 && text.length < 60000, `${text.length} letters`);
    assert.match(await page.value(`${lastAnswer}.querySelector('.meta').textContent`), /stopped$/);
    await page.click('#open-sampler');
    await set(page, 'max_tokens', '12');
    await set(page, 'alternatives', '6');
    await page.click('#drawer-close');
  },

  async 'editing a question makes a branch, and both stay'(page) {
    await press(page, 'Edit and ask again', '.question:nth-of-type(3)');
    await page.press('a', 2);
    await page.type('Line 9');
    await page.press('Enter', 2);
    await page.until(`(${bubbles}).includes('Line 9') && ${isIdle}`, 'the edited question and its answer');
    assert.deepEqual(await page.value(bubbles), ['Line 7', 'Line 9']);
    await press(page, 'The branch before', '.question:nth-of-type(3)');
    await page.until(`(${bubbles}).includes('Line 8')`, 'the question as it was');
    await press(page, 'The next branch', '.question:nth-of-type(3)');
    await page.until(`(${bubbles}).includes('Line 9')`, 'the edited question');
  },

  async 'another answer stands beside the first'(page) {
    await press(page, 'Another answer');
    await page.until(`${lastAnswer}.querySelector('.branches')?.innerText.includes('2/2') && ${isIdle}`, 'the second answer');
  },

  async 'the tokens show what else could have been, and another one branches the answer'(page) {
    await press(page, 'Tokens');
    const tokens = await page.value(`[...${lastAnswer}.querySelectorAll('.token')].map((token) => token.textContent)`);
    assert.equal(tokens.length, 12);
    const text = tokens.join('');
    await page.hover('.answer:last-of-type .token:nth-child(4)');
    await page.until(`!document.querySelector('#alternatives').hidden`, 'the alternatives');
    const shares = await page.value(`[...document.querySelectorAll('#alternatives .number')].map((number) => parseFloat(number.innerText.replace('<', '')))`);
    assert.equal(shares.length, 6);
    assert.ok(shares.every((share, i) => i === 0 || share <= shares[i - 1]) && shares.reduce((sum, share) => sum + share) <= 101, String(shares));
    if (pictures) await page.screenshot(join(pictures, 'tokens.png'));
    await page.click('.answer:last-of-type .token:nth-child(4)');
    const chosen = await page.value(`document.querySelector('#alternatives button:not(:disabled) code').innerText.replaceAll('\\u00b7', ' ').replaceAll('\\u21b5', '\\n')`);
    await page.click('#alternatives button:not(:disabled)');
    await page.until(`${lastAnswer}.querySelector('.branches')?.innerText.includes('3/3') && ${isIdle}`, 'the branch');
    const branched = await page.value(`[...${lastAnswer}.querySelectorAll('.token')].map((token) => token.textContent)`);
    assert.equal(branched.slice(0, 3).join(''), text.slice(0, tokens.slice(0, 3).join('').length));
    assert.equal(branched[3], chosen);
    assert.ok(branched.length > 4, 'the model went on');
  },

  async 'tokens and alternatives are in reach of the keyboard'(page) {
    await page.value(`document.querySelector('.answer:last-of-type .token').focus()`);
    await page.press('ArrowRight');
    assert.equal(await page.value(`document.activeElement.dataset.index`), '1');
    await page.press('Enter');
    assert.ok(await page.value(`document.querySelector('#alternatives').contains(document.activeElement)`));
    await page.press('Escape');
    assert.equal(await page.value(`document.activeElement.dataset.index`), '1');
    await press(page, 'Tokens');
  },

  async 'the prompt is shown as the model gets it'(page) {
    await page.click('#open-system');
    await page.fill('#system', 'Be brief.');
    await page.click('#tab-prompt');
    await page.until(`document.querySelector('#prompt-exact').textContent.startsWith('<|system|>Be brief.\\n<|user|>Line 7\\n<|assistant|>')`, 'the prompt');
    assert.match(await page.value(`document.querySelector('#prompt-about').textContent`), /: \d+ of 16384 tokens for parrot\.$/);
    // An answer's own prompt has the settings of its time.
    await press(page, 'The exact prompt');
    await page.until(`document.querySelector('#prompt-about').textContent.startsWith('The prompt of this answer')`, 'the prompt of the answer');
    const prompt = await page.value(`document.querySelector('#prompt-exact').textContent`);
    assert.ok(prompt.startsWith('<|user|>Line 7\n') && prompt.endsWith('<|user|>Line 9\n<|assistant|>'), prompt);
    if (pictures) await page.screenshot(join(pictures, 'prompt.png'));
    await page.press('Escape');
  },

  async 'a prompt that is too long is refused with the numbers'(page) {
    await page.fill('#message', 'Line 1 '.repeat(9000));
    await page.press('Enter');
    const told = await page.until(`document.querySelector('.error')?.innerText`, 'the error');
    assert.match(told, /The prompt has \d+ tokens and the context of the model "parrot" is 16384/);
    assert.equal(await page.value(`document.querySelectorAll('${answers}').length`), 2);
    page.complaints = page.complaints.filter((text) => !text.includes('400'));
  },

  async 'a model without a chat template goes on with a text'(page) {
    await page.click('#new-chat');
    await page.value(`(() => { const model = document.querySelector('#model'); model.value = 'plain'; model.dispatchEvent(new Event('change')); })()`);
    assert.match(await page.value(`document.querySelector('#welcome').innerText`), /plain was not trained to chat/);
    await say(page, 'Line 12 of a');
    assert.match(await answered(page), /^ ?little text/);
    assert.equal(await page.value(`document.querySelectorAll('#chat-list li').length`), 2);
  },

  async 'after a reload everything is there'(page) {
    await page.click('#chat-list li:nth-child(2) a');
    await page.until(`document.querySelectorAll('.question').length === 3`, 'the first chat');
    const before = await page.value(`document.querySelector('#messages').innerText`);
    const address = await page.value('location.href');
    await page.value('window.old = true');
    await page.send('Page.reload');
    await page.until(`!window.old && document.querySelectorAll('.question').length === 3`, 'the chat after the reload');
    assert.equal(await page.value('location.href'), address);
    assert.equal(await page.value(`document.querySelector('#system').value`), 'Be brief.');
    assert.equal(await page.value(`document.querySelector('#model').value`), 'parrot');
    const shown = await page.value(`document.querySelector('#messages').innerText`);
    assert.ok(before.includes(shown.trim()), `it was\n${before}\nand is\n${shown}`);
  },

  async 'an answer under way is kept when the page goes away'(page) {
    await page.click('#new-chat');
    await page.click('#open-sampler');
    await set(page, 'max_tokens', '16000');
    await set(page, 'alternatives', '0');
    await page.click('#drawer-close');
    await say(page, 'Line 10');
    await page.until(`${bodyText}.length > 40`, 'streamed text');
    await page.value('window.old = true');
    await page.send('Page.reload');
    await page.until(`!window.old && document.body.classList.contains('ready') && ${bubbles}.includes('Line 10')`, 'the chat after the reload');
    assert.ok((await page.until(bodyText, 'the answer')).length > 40);
    assert.match(await page.value(`${lastAnswer}.querySelector('.meta').textContent`), /stopped$/);
    assert.equal(await page.value(`document.querySelectorAll('.branches').length`), 0);
  },

  async 'what a model writes stays text'(page) {
    const hostile = ['<img src=x onerror="window.taken = 1">', '<script>window.taken = 1</script>', '[link](javascript:window.taken=1)',
                     '![picture](http://example.org/a.png)', '```"><script>window.taken = 1</script>\n</code></pre><b>x</b>\n```', '**bold** [web](https://example.org/?a="b)'];
    await page.value(`(async () => {
      const post = async (path, body) => (await fetch(path, {method: 'POST', body: JSON.stringify(body)})).json();
      const chat = await post('/api/chats', {title: '<img src=x onerror="window.taken = 1">', model: 'parrot'});
      const data = {model: '<b>', tokens: [['<', 1], 7], timings: {answer_tokens: '<i>'}};
      await post('/api/chats/' + chat.id + '/messages', {role: 'assistant', content: ${JSON.stringify(hostile.join('\n\n'))}, data});
      location.hash = chat.id;
    })()`);
    await page.until(`${bodyText}.includes('picture')`, 'the chat');
    assert.deepEqual(await page.value(`[...new Set([...document.querySelectorAll('#messages *')].map((found) => found.localName))].sort().join(' ')`),
                     'a article button code div p path pre span strong svg');
    assert.deepEqual(await page.value(`[...document.querySelectorAll('#messages a')].map((link) => link.href + ' ' + link.rel)`),
                     ['http://example.org/a.png noopener noreferrer nofollow', 'https://example.org/?a=%22b noopener noreferrer nofollow']);
    assert.equal(await page.value('window.taken ?? 0'), 0);
    await page.hover('#chat-list li:nth-child(1)');
    await page.click('#chat-list li:nth-child(1) [aria-label^="Delete"]');
    await page.click('#chat-list .danger');
    await page.until(`document.querySelectorAll('#chat-list li').length === 3`, 'it to be gone');
    await page.click('#chat-list li:nth-child(1) a');
    await page.until(`${bubbles}.includes('Line 10')`, 'the chat');
  },

  async 'a chat is renamed and removed'(page) {
    await page.hover('#chat-list li:nth-child(2)');
    await page.click('#chat-list li:nth-child(2) [aria-label^="Rename"]');
    await page.press('a', 2);
    await page.type('Named <b>');
    await page.press('Enter');
    await page.until(`[...document.querySelectorAll('#chat-list a')].some((link) => link.innerText === 'Named <b>')`, 'the new title');
    await page.hover('#chat-list li:nth-child(2)');
    await page.click('#chat-list li:nth-child(2) [aria-label^="Delete"]');
    await page.click('#chat-list .danger');
    await page.until(`document.querySelectorAll('#chat-list li').length === 2`, 'two chats to be left');
  },

  async 'it fits narrow screens'(page) {
    await page.look(360, 740, 'dark');
    for (const drawer of ['none', 'system', 'sampler', 'prompt']) {
      if (drawer !== 'none') await page.click(`#open-${drawer}`);
      const wide = await page.value(`document.documentElement.scrollWidth`);
      assert.ok(wide <= 360, `${drawer}: ${wide} pixels wide`);
      if (drawer !== 'none') await page.click('#drawer-close');
    }
    await page.click('#side-open');
    await page.until(`document.querySelector('#side').getBoundingClientRect().left === 0`, 'the list of chats');
    await page.press('Escape');
    await page.until(`document.querySelector('#side').getBoundingClientRect().right <= 0`, 'the list of chats to go');
  },
};

/** A server that wants a key, keeps no chats and lets one request wait. @param {Browser} browser @param {string[]} models */
async function strictServer(browser, models) {
  const strict = await serve(resolve(fledge), [...models, '--port', '0', '--no-chats', '--api-key', 'secret', '--parallel', '1', '--queue', '1']);
  try {
    const page = await browser.newPage();
    await page.look(1280, 800, 'light');
    await page.send('Page.navigate', {url: strict.address});
    await page.until(`document.querySelector('#key-dialog').open`, 'the question for the key');
    for (const key of ['wrong', 'secret']) {
      await page.fill('#key-text', key);
      await page.press('Enter');
      await page.until(`!document.querySelector('#key-dialog').open || document.querySelector('#key-why').textContent.includes('wrong')`, 'the answer about the key');
      if (key === 'wrong') await page.until(`document.querySelector('#key-why').textContent.includes('wrong') && document.querySelector('#key-dialog').open`, 'the second question');
    }
    await page.until(`document.body.classList.contains('ready')`, 'the page to start');
    assert.equal(await page.value(`document.querySelector('#chat-note').hidden`), false);
    await setSampler(page);
    const leave = new AbortController();
    const body = JSON.stringify({prompt: 'Line', max_tokens: 16000, temperature: 0, stream: true});
    const ask = () => fetch(`${strict.address}v1/completions`, {method: 'POST', headers: {Authorization: 'Bearer secret'}, body, signal: leave.signal});
    await page.fill('#message', 'Line 4');
    // The first is being answered once text of it comes; only then has the second the place in the queue.
    const running = await ask();
    assert.equal(running.status, 200);
    await running.body.getReader().read();
    assert.equal((await ask()).status, 200);
    await page.press('Enter');
    const told = await page.until(`document.querySelector('.error p')?.innerText`, 'the refusal');
    assert.equal(told, '1 requests are waiting already; try again later.');
    leave.abort();
    await page.until(`(() => { document.querySelector('.error button')?.click(); return ${isIdle} && ${bodyText}.length > 10; })()`, 'the answer at last');
    assert.equal(await page.value(`document.querySelectorAll('.error').length`), 0);
    console.log('ok: a key, a full queue and chats that are not kept');
  } finally {
    await strict.stop();
  }
}

const browser = new Browser(chromium);
let server;
try {
  const models = makeModels(resolve(fledge), work);
  server = await serve(resolve(fledge), [...models, '--port', '0', '--state', join(work, 'state')]);
  const page = await browser.newPage();
  await page.look(1280, 800, 'light');
  await page.open(server.address);
  const paint = await page.value(`performance.getEntriesByName('first-contentful-paint')[0]?.startTime`);
  const weight = [...page.weights.values()].reduce((sum, bytes) => sum + bytes);
  assert.ok(weight > 20000 && weight < 300000, `the page weighs ${weight} bytes`);
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step(page);
    } catch (error) {
      if (pictures) await page.screenshot(join(pictures, 'failure.png'));
      throw error;
    }
    console.log(`ok: ${name}`);
  }
  for (const url of page.requests) assert.ok(url.startsWith(server.address) || url.startsWith('blob:') || url.startsWith('data:'), `asked for ${url}`);
  assert.deepEqual(page.complaints, []);
  console.log(`ok: ${page.requests.length} requests, none to another place; the page weighs ${weight} bytes, first paint after ${Math.round(paint)} ms`);
  await strictServer(browser, models);
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.close();
  await server?.stop();
  rmSync(work, {recursive: true, force: true});
}
