// A headless Chromium, driven over its DevTools protocol through a pipe: nothing to install beside Node and the browser.
// https://chromedevtools.github.io/devtools-protocol/
import {spawn} from 'node:child_process';
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

const patience = 30000;

export class Browser {
  /** @param {string} program */
  constructor(program) {
    this.profile = mkdtempSync(join(tmpdir(), 'fledge-chromium-'));
    const flags = ['--headless=new', '--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--remote-debugging-pipe', '--no-first-run',
                   '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions', '--hide-scrollbars',
                   // Whatever the page asks of another host fails, and shows in the list of requests.
                   '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', `--user-data-dir=${this.profile}`, 'about:blank'];
    this.process = spawn(program, flags, {stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe']});
    this.number = 0;
    /** @type {Map<number, {resolve: (value: any) => void, reject: (error: Error) => void}>} */
    this.waiting = new Map();
    /** @type {((message: any) => void)[]} */
    this.listeners = [];
    let rest = '';
    this.process.stdio[4].setEncoding('utf8').on('data', (piece) => {
      const messages = (rest + piece).split('\0');
      rest = messages.pop() ?? '';
      for (const text of messages) this.receive(JSON.parse(text));
    });
    this.process.on('exit', () => {
      for (const {reject} of this.waiting.values()) reject(new Error('the browser ended'));
    });
  }

  receive(message) {
    if (message.id === undefined) {
      for (const listener of this.listeners) listener(message);
      return;
    }
    const waiter = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (message.error) waiter?.reject(new Error(message.error.message));
    else waiter?.resolve(message.result);
  }

  /** @param {string} method @param {any} [params] @param {string} [sessionId] @returns {Promise<any>} */
  send(method, params = {}, sessionId) {
    const id = ++this.number;
    this.process.stdio[3].write(JSON.stringify({id, method, params, sessionId}) + '\0');
    return new Promise((resolve, reject) => this.waiting.set(id, {resolve, reject}));
  }

  async newPage() {
    const {targetId} = await this.send('Target.createTarget', {url: 'about:blank'});
    const {sessionId} = await this.send('Target.attachToTarget', {targetId, flatten: true});
    const page = new Page(this, sessionId);
    for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await page.send(`${domain}.enable`);
    return page;
  }

  async close() {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.send('Browser.close').catch(() => {});
    const timer = setTimeout(() => this.process.kill('SIGKILL'), 5000);
    await ended;
    clearTimeout(timer);
    rmSync(this.profile, {recursive: true, force: true, maxRetries: 5});
  }
}

export class Page {
  /** @param {Browser} browser @param {string} session */
  constructor(browser, session) {
    this.browser = browser;
    this.session = session;
    /** Addresses that the page asked for. @type {string[]} */
    this.requests = [];
    /** Bytes of the page's files, by address. @type {Map<string, number>} */
    this.weights = new Map();
    /** What the browser complained about. @type {string[]} */
    this.complaints = [];
    /** @type {Map<string, string>} */
    const addresses = new Map();
    browser.listeners.push(({method, params, sessionId}) => {
      if (sessionId !== session) return;
      if (method === 'Network.requestWillBeSent') {
        this.requests.push(params.request.url);
        addresses.set(params.requestId, params.request.url);
      } else if (method === 'Network.dataReceived') {
        const url = addresses.get(params.requestId) ?? '';
        this.weights.set(url, (this.weights.get(url) ?? 0) + params.dataLength);
      } else if (method === 'Runtime.exceptionThrown') {
        this.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
      } else if (method === 'Log.entryAdded' && params.entry.level === 'error') {
        this.complaints.push(`${params.entry.text} ${params.entry.url ?? ''}`);
      }
    });
  }

  /** @param {string} method @param {any} [params] */
  send(method, params) {
    return this.browser.send(method, params, this.session);
  }

  /** @param {string} url */
  async open(url) {
    await this.send('Page.navigate', {url});
    await this.until(`document.readyState === 'complete' && document.body.classList.contains('ready')`, 'the page to start');
  }

  /** The value of an expression in the page. @param {string} expression */
  async value(expression) {
    const {result, exceptionDetails} = await this.send('Runtime.evaluate', {expression, awaitPromise: true, returnByValue: true});
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return result.value;
  }

  /** Waits until an expression is true, and returns its value. @param {string} expression @param {string} what */
  async until(expression, what) {
    for (const end = Date.now() + patience; ; ) {
      let value;
      try {
        value = await this.value(expression);
      } catch (error) {
        // While a page is being left there is nothing to ask.
        if (Date.now() > end) throw error;
      }
      if (value) return value;
      if (Date.now() > end) {
        throw new Error(`waited in vain for ${what}; the page shows: ${(await this.value('document.body.innerText')).slice(-1500)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** A real click in the middle of an element. @param {string} selector */
  async click(selector) {
    const {x, y} = await this.place(selector);
    for (const type of ['mouseMoved', 'mousePressed', 'mouseReleased']) {
      await this.send('Input.dispatchMouseEvent', {type, x, y, button: type === 'mouseMoved' ? 'none' : 'left', clickCount: 1});
    }
  }

  /** @param {string} selector */
  async hover(selector) {
    const {x, y} = await this.place(selector);
    await this.send('Input.dispatchMouseEvent', {type: 'mouseMoved', x, y});
  }

  /** The middle of an element that can be used, is not covered and does not move. @param {string} selector */
  async place(selector) {
    const query = JSON.stringify(selector);
    return this.until(`(async () => {
      const middle = () => {
        const found = document.querySelector(${query});
        if (!found || found.disabled) return null;
        found.scrollIntoView({block: 'nearest'});
        const {x, y, width, height} = [...found.getClientRects()].at(-1) ?? {};
        const place = {x: x + width / 2, y: y + height / 2};
        // Nothing may lie over it.
        return width && height && found.contains(document.elementFromPoint(place.x, place.y)) ? place : null;
      };
      const first = middle();
      for (let i = 0; i < 2; ++i) await new Promise(requestAnimationFrame);
      const second = middle();
      return first && second && first.x === second.x && first.y === second.y ? second : null;
    })()`, `${selector} to be there`);
  }

  /** @param {string} text */
  type(text) {
    return this.send('Input.insertText', {text});
  }

  /** @param {string} key such as "Enter" @param {number} [modifiers] 1 Alt, 2 Ctrl, 8 Shift */
  async press(key, modifiers = 0) {
    const codes = {Enter: 13, Escape: 27, ArrowRight: 39, ArrowDown: 40, a: 65};
    const text = key === 'Enter' ? '\r' : undefined;
    const common = {key, code: key, modifiers, windowsVirtualKeyCode: codes[key]};
    await this.send('Input.dispatchKeyEvent', {type: 'keyDown', text: modifiers === 2 ? undefined : text, ...common, ...(key === 'a' ? {commands: ['selectAll'], code: 'KeyA'} : {})});
    await this.send('Input.dispatchKeyEvent', {type: 'keyUp', ...common});
  }

  /** Replaces what is in a box. @param {string} selector @param {string} text */
  async fill(selector, text) {
    await this.click(selector);
    await this.press('a', 2);
    await this.type(text);
  }

  /** @param {number} width @param {number} height @param {'light'|'dark'} scheme */
  async look(width, height, scheme) {
    await this.send('Emulation.setDeviceMetricsOverride', {width, height, deviceScaleFactor: 1, mobile: width < 500});
    await this.send('Emulation.setEmulatedMedia', {features: [{name: 'prefers-color-scheme', value: scheme}]});
    await this.until(`innerWidth === ${width} && matchMedia('(prefers-color-scheme: ${scheme})').matches`, 'the new size');
  }

  /** @param {string} file */
  async screenshot(file) {
    const {data} = await this.send('Page.captureScreenshot', {format: 'png'});
    writeFileSync(file, Buffer.from(data, 'base64'));
  }
}
