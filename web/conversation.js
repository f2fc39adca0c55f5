// The chat that is shown: asking, stopping, editing and branching, and keeping what came of it.
import {ServerError} from './api.js';
import {ask} from './answers.js';
import {ChatTree} from './chat_tree.js';
import {announce, byId, element} from './dom.js';
import {MessageView} from './message_view.js';
import {newSettings, withDefaults} from './settings.js';
import {packTokens, textWith, unpackTokens} from './tokens.js';

/**
 * @typedef {import('./chats.js').Message} Message
 * @typedef {import('./chats.js').Chat} Chat
 * @typedef {import('./tokens.js').Token} Token
 * @typedef {{parent: string|null, prefix: string, tokens: Token[], message: Message|null}} Start
 *   how an answer begins: after which message, with which text and its tokens; `message`: the one that grows, if any
 */

/**
 * The times of an answer that was made in two goes.
 * @param {any} first
 * @param {any} second
 */
function added(first, second) {
  const sum = {...second};
  for (const name of ['answer_tokens', 'answer_seconds', 'prompt_seconds', 'queue_seconds']) sum[name] += first[name] ?? 0;
  return sum;
}

export class Conversation {
  /**
   * @param {import('./chats.js').ServerChats|import('./chats.js').PageChats} store
   * @param {() => import('./answers.js').Model} model the chosen one
   * @param {{changed: () => void, busy: (isBusy: boolean) => void, showPrompt: (message: Message) => void}} events
   */
  constructor(store, model, events) {
    this.store = store;
    this.model = model;
    this.events = events;
    this.root = byId('messages');
    this.scroller = byId('conversation');
    this.isAtEnd = true;
    this.scroller.addEventListener('scroll', () => {
      this.isAtEnd = this.scroller.scrollTop + this.scroller.clientHeight > this.scroller.scrollHeight - 40;
    });
    /** @type {Map<Message, MessageView>} */
    this.views = new Map();
    /**
     * What is being answered.
     * @type {{abort: AbortController, message: Message, isNew: boolean, done: Promise<void>}|null}
     */
    this.run = null;
    this.unsaved = 0;
    this.isSaving = false;
    /** The page may be about to go. */
    this.isLeaving = false;
    /** @type {Chat|null} */
    this.chat = null;
    this.tree = new ChatTree();
    this.settings = newSettings();
    /** @type {HTMLElement|null} */
    this.error = null;
  }

  get isBusy() {
    return this.run !== null || this.isSaving;
  }

  /**
   * Shows a chat with its messages, or the beginning of a new one.
   * @param {Chat|null} chat
   */
  show(chat) {
    this.chat = chat;
    this.settings = chat ? withDefaults(chat.settings) : newSettings();
    this.tree = new ChatTree(chat?.messages ?? [], chat?.current_message ?? null);
    this.views.clear();
    this.error = null;
    this.isAtEnd = true;
    this.render();
  }

  /** @param {any} settings */
  async setSettings(settings) {
    this.settings = settings;
    const chat = this.chat;
    if (chat) await this.guard(() => this.store.update(chat.id, {settings}));
  }

  /** @param {string} model */
  async setModel(model) {
    const chat = this.chat;
    if (chat) await this.guard(() => this.store.update(chat.id, {model}));
  }

  render() {
    const path = this.tree.path();
    const shown = path.map((message) => {
      let view = this.views.get(message);
      if (!view) this.views.set(message, (view = new MessageView(message, this)));
      const {ids, index} = this.tree.siblings(message.id);
      view.update(this.run?.message === message, {index, count: ids.length}, this.isBusy);
      return view.element;
    });
    if (this.error) shown.push(this.error);
    shown.forEach((each, index) => {
      if (this.root.childNodes[index] !== each) this.root.insertBefore(each, this.root.childNodes[index] ?? null);
    });
    while (this.root.childNodes.length > shown.length) this.root.lastChild?.remove();
    byId('welcome').hidden = shown.length > 0;
    this.follow();
  }

  /** Keeps the end in view where the reader was there. */
  follow() {
    if (this.isAtEnd) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /**
   * Asks, and waits for the answer.
   * @param {string} text
   * @returns {Promise<boolean>} whether the question became a part of the chat
   */
  async send(text) {
    if (this.isBusy) return false;
    this.isAtEnd = true;
    let isAdded = false;
    await this.guard(async () => {
      const message = await this.addMessage('user', text, this.tree.leaf()?.id ?? null, {});
      isAdded = true;
      await this.answer({parent: message.id, prefix: '', tokens: [], message: null});
    });
    return isAdded;
  }

  // What the buttons of a message do (message_view.js).

  /** @param {Message} message @param {string} text */
  async edit(message, text) {
    if (this.isBusy) return;
    await this.guard(async () => {
      const isAnswer = message.role === 'assistant';
      const data = isAnswer ? {...message.data, tokens: undefined, timings: undefined, finish: 'edited'} : {};
      const changed = await this.addMessage(message.role, text, message.parent, data);
      if (!isAnswer) await this.answer({parent: changed.id, prefix: '', tokens: [], message: null});
    });
  }

  /** @param {Message} message */
  again(message) {
    return this.guard(() => this.answer({parent: message.parent, prefix: '', tokens: [], message: null}));
  }

  /** @param {Message} message */
  goOn(message) {
    const start = {parent: message.parent, prefix: message.content, tokens: unpackTokens(message.data.tokens), message};
    return this.guard(() => this.answer(start));
  }

  /** @param {Message} message @param {number} index @param {import('./tokens.js').Candidate} other */
  async branch(message, index, other) {
    const tokens = unpackTokens(message.data.tokens);
    const prefix = textWith(tokens, index, other, message.content);
    if (this.isBusy || prefix === null) return;
    const kept = [...tokens.slice(0, index), {...other, others: tokens[index].others}];
    const showsTokens = this.views.get(message)?.strip !== null;
    await this.guard(() => this.answer({parent: message.parent, prefix, tokens: kept, message: null}, showsTokens));
  }

  /** @param {Message} message */
  showPrompt(message) {
    this.events.showPrompt(message);
  }

  /** @param {Message} message @param {number} step */
  async sibling(message, step) {
    if (this.isBusy) return;
    this.isAtEnd = false;
    this.tree.showSibling(message.id, step);
    this.error = null;
    this.render();
    this.events.changed();
    const chat = this.chat, leaf = this.tree.leaf();
    if (leaf && chat) await this.guard(() => this.store.update(chat.id, {current_message: leaf.id}));
  }

  async stop() {
    const run = this.run;
    run?.abort.abort();
    await run?.done;
  }

  /**
   * Runs what may fail and shows why.
   * @param {() => Promise<any>} work
   */
  async guard(work) {
    this.error = null;
    try {
      await work();
    } catch (error) {
      this.fail(error);
    }
    this.render();
  }

  /** @param {any} error @param {(() => void)} [retry] */
  fail(error, retry) {
    const text = error instanceof ServerError ? error.message : `The page made a mistake: ${error?.message ?? error}.`;
    if (!(error instanceof ServerError)) console.error(error);
    this.error = element('div', {class: 'error', role: 'alert'}, element('p', {}, text),
                         retry && element('button', {type: 'button', class: 'plain', onclick: retry}, 'Try again'));
  }

  /** @param {string} role @param {string} content @param {string|null} parent @param {any} data */
  async addMessage(role, content, parent, data) {
    this.isSaving = true;
    let message;
    try {
      const title = (content.trim().split('\n')[0] ?? '').slice(0, 60);
      const chat = this.chat ?? (await this.store.create({title, model: this.model().id, settings: this.settings}));
      this.chat = chat;
      message = await this.store.add(chat.id, {role, content, parent, data});
    } finally {
      this.isSaving = false;
    }
    this.tree.add(message);
    this.render();
    this.events.changed();
    return message;
  }

  /**
   * The question that an answer at this place answers.
   * @param {string|null} parent
   * @param {string} [prefix]
   * @returns {import('./answers.js').Question}
   */
  question(parent, prefix = '') {
    return {model: this.model(), messages: this.tree.pathTo(parent), settings: {...this.settings}, prefix};
  }

  /** @param {Start} start @param {boolean} [showsTokens] */
  async answer(start, showsTokens = false) {
    if (this.isBusy) return;
    const question = this.question(start.parent, start.prefix);
    const {system, ...sampling} = question.settings;
    // Without a seed nobody could ask for the same answer again.
    if (question.settings.seed === '') question.settings.seed = Math.floor(Math.random() * 2 ** 31);
    const data = {model: question.model.id, plain: !question.model.chats, settings: {...sampling, system, seed: question.settings.seed}};
    const isNew = start.message === null;
    const message = start.message ?? this.tree.add({id: `unsaved_${++this.unsaved}`, parent: start.parent, role: 'assistant', content: start.prefix, data, created: Date.now()});
    const abort = new AbortController();
    let finished = () => {};
    this.run = {abort, message, isNew, done: new Promise((resolve) => (finished = () => resolve(undefined)))};
    this.error = null;
    this.events.busy(true);
    this.render();
    const view = /** @type {MessageView} */ (this.views.get(message));
    view.liveTokens = [...start.tokens];
    if (showsTokens) view.toggleStrip();
    try {
      await this.receive(question, message, view, abort.signal);
    } catch (error) {
      // A browser that leaves the page ends its requests first; leave() then keeps what there is.
      if (this.isLeaving) await new Promise((resolve) => setTimeout(resolve, 3000));
      message.data.finish = 'stopped';
      if (!abort.signal.aborted) {
        message.data.finish = 'error';
        this.fail(error, () => this.guard(() => (isNew ? this.answer(start) : this.goOn(message))));
      }
    }
    await this.finish(message, view, isNew);
    finished();
  }

  /** @param {any} question @param {Message} message @param {MessageView} view @param {AbortSignal} signal */
  async receive(question, message, view, signal) {
    const tokens = /** @type {Token[]} */ (view.liveTokens);
    const before = message.data.timings;
    let made = 0, firstAt = 0;
    for await (const piece of ask(question, signal)) {
      message.content += piece.text;
      tokens.push(...piece.tokens);
      made += Math.max(piece.tokens.length, piece.text ? 1 : 0);
      const now = performance.now();
      if (made > 0) firstAt ||= now;
      if (made > 1 && now > firstAt) message.data.speed = ((made - 1) * 1000) / (now - firstAt);
      if (piece.finish) message.data.finish = piece.finish;
      if (piece.timings) message.data.timings = before ? added(before, piece.timings) : piece.timings;
      view.grow();
      view.row.querySelector('.meta')?.replaceChildren(view.meta());
      requestAnimationFrame(() => this.follow());
    }
  }

  /**
   * Keeps the answer, however it ended.
   * @param {Message} message
   * @param {MessageView} view
   * @param {boolean} isNew
   */
  async finish(message, view, isNew) {
    const chat = /** @type {Chat} */ (this.chat);
    message.data.tokens = packTokens(view.liveTokens ?? []);
    delete message.data.speed;
    view.liveTokens = null;
    try {
      if (isNew && message.content === '' && message.data.finish !== 'stop') {
        this.tree.remove(message.id);
        this.views.delete(message);
      } else if (isNew) {
        const {role, content, parent, data} = message;
        const kept = await this.store.add(chat.id, {role, content, parent, data});
        this.tree.rename(message.id, kept.id);
      } else {
        await this.store.change(chat.id, message.id, {content: message.content, data: message.data});
      }
    } catch (error) {
      this.fail(error);
    }
    this.run = null;
    this.events.busy(false);
    this.render();
    this.events.changed();
    announce(this.error ? 'The answer was broken off' : `Answer finished, ${view.tokens().length} tokens`);
  }

  /** Keeps what there is of an answer while the page goes away. */
  leave() {
    if (this.run && this.chat && this.run.message.content !== '') {
      this.run.message.data.finish = 'stopped';
      this.store.saveAndLeave(this.chat.id, this.run.message, this.run.isNew);
    }
  }
}
