// One message as it is shown: its text, the row of things to do with it, and an answer's tokens.
import {copyButton, element, fitHeight, iconButton} from './dom.js';
import {MarkdownView} from './markdown_view.js';
import {textWith, unpackTokens} from './tokens.js';
import {TokenStrip} from './token_strip.js';

/**
 * @typedef {import('./chats.js').Message} Message
 * @typedef {import('./tokens.js').Token} Token
 * @typedef {object} Actions
 * @property {(message: Message, text: string) => void} edit
 * @property {(message: Message) => void} again
 * @property {(message: Message) => void} goOn
 * @property {(message: Message) => void} showPrompt
 * @property {(message: Message, index: number, other: import('./tokens.js').Candidate) => void} branch
 * @property {(message: Message, step: number) => void} sibling
 */

export class MessageView {
  /** @param {Message} message @param {Actions} actions */
  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    this.isAnswer = message.role === 'assistant';
    this.isRunning = false;
    /**
     * Tokens while they come; afterwards they are read from the message.
     * @type {Token[]|null}
     */
    this.liveTokens = null;
    this.body = element('div', {class: 'body'});
    this.row = element('div', {class: 'actions'});
    this.element = element('article', {class: `message ${this.isAnswer ? 'answer' : 'question'}`, 'aria-label': this.isAnswer ? 'Answer' : 'Your message'}, this.body, this.row);
    /** @type {MarkdownView|null} */
    this.markdown = null;
    /** @type {TokenStrip|null} */
    this.strip = null;
    this.frame = 0;
    this.showText();
  }

  tokens() {
    return this.liveTokens ?? unpackTokens(this.message.data.tokens);
  }

  /** Shows a growing text, at most once for each picture that the screen draws. */
  grow() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      if (this.isRunning) this.showText();
    });
  }

  showText() {
    const {content, data} = this.message;
    if (this.strip) return this.strip.set(this.tokens());
    if (!this.isAnswer || data.plain) {
      if (!(this.body.firstChild instanceof Text) || this.body.childNodes.length !== 1) this.body.replaceChildren(content);
      else this.body.firstChild.data = content;
      this.body.classList.add('verbatim');
      return;
    }
    if (!this.markdown) {
      this.markdown = new MarkdownView();
      this.body.replaceChildren(this.markdown.element);
    }
    this.markdown.set(content);
  }

  /** @param {boolean} isRunning @param {{index: number, count: number}} place among its siblings @param {boolean} isBusy another answer is being made */
  update(isRunning, place, isBusy) {
    this.isRunning = isRunning;
    this.element.classList.toggle('running', isRunning);
    this.element.setAttribute('aria-busy', String(isRunning));
    if (!isRunning) this.showText();
    const row = [];
    if (place.count > 1) row.push(this.branches(place, isBusy));
    if (!isRunning) row.push(...this.buttons(isBusy));
    if (this.isAnswer) row.push(element('span', {class: 'meta'}, this.meta()));
    this.row.replaceChildren(...row);
  }

  /** @param {{index: number, count: number}} place @param {boolean} isBusy */
  branches({index, count}, isBusy) {
    const step = (/** @type {number} */ by, /** @type {string} */ label) => {
      const button = iconButton(by < 0 ? 'left' : 'right', label, () => this.actions.sibling(this.message, by));
      button.disabled = isBusy || index + by < 0 || index + by >= count;
      return button;
    };
    return element('span', {class: 'branches'}, step(-1, 'The branch before'),
                   element('span', {'aria-label': `Branch ${index + 1} of ${count}`}, `${index + 1}/${count}`), step(1, 'The next branch'));
  }

  /** @param {boolean} isBusy */
  buttons(isBusy) {
    const {message, actions} = this;
    const copy = copyButton('Copy the text', () => message.content);
    const edit = iconButton('edit', this.isAnswer ? 'Edit into a new branch' : 'Edit and ask again', () => this.edit());
    edit.disabled = isBusy;
    if (!this.isAnswer) return [edit, copy];
    const again = iconButton('again', 'Another answer', () => actions.again(message));
    again.disabled = isBusy;
    const tokens = iconButton('tokens', 'Tokens and their probabilities', () => this.toggleStrip());
    tokens.setAttribute('aria-pressed', String(this.strip !== null));
    tokens.disabled = this.tokens().length === 0;
    const prompt = iconButton('prompt', 'The exact prompt of this answer', () => actions.showPrompt(message));
    const buttons = [copy, again, edit, tokens, prompt];
    if (['length', 'stopped', 'error', 'edited'].includes(message.data.finish)) {
      const onward = iconButton('onward', 'Go on with this answer', () => actions.goOn(message));
      onward.disabled = isBusy;
      buttons.push(onward);
    }
    return buttons;
  }

  meta() {
    const {model, timings, finish, speed} = this.message.data;
    const parts = [];
    if (model) parts.push(model);
    if (this.isRunning) {
      if (speed) parts.push(`${speed.toFixed(1)} tokens/s`);
    } else if (timings) {
      parts.push(`${timings.answer_tokens} tokens`);
      const time = timings.answer_seconds;
      if (time > 0 && timings.answer_tokens > 1) parts.push(`${((timings.answer_tokens - 1) / time).toFixed(1)} tokens/s`);
    }
    /** @type {Record<string, string>} */
    const ends = {length: 'cut at the limit', stopped: 'stopped', error: 'broken off', edited: 'edited'};
    if (!this.isRunning && ends[finish]) parts.push(ends[finish]);
    return parts.join(' \u00b7 ');
  }

  toggleStrip() {
    if (this.strip) {
      this.strip = null;
      this.markdown = null;
      this.body.replaceChildren();
    } else {
      const {message} = this;
      const tokens = this.tokens();
      this.strip = new TokenStrip((index, other) => this.actions.branch(message, index, other),
                                  (index, other) => textWith(this.tokens(), index, other, message.content));
      this.body.classList.remove('verbatim');
      this.body.replaceChildren(this.strip.element);
      this.strip.set(tokens);
    }
    this.showText();
    const button = this.row.querySelector('[aria-pressed]');
    button?.setAttribute('aria-pressed', String(this.strip !== null));
  }

  edit() {
    const box = element('textarea', {'aria-label': 'Edit the message', rows: 1});
    box.value = this.message.content;
    const close = () => {
      this.strip = null;
      this.markdown = null;
      this.body.replaceChildren();
      this.element.classList.remove('editing');
      this.showText();
      this.row.querySelector('button')?.focus();
    };
    const save = () => {
      const text = box.value;
      close();
      if (text.trim() !== '' && text !== this.message.content) this.actions.edit(this.message, text);
    };
    box.addEventListener('input', () => fitHeight(box));
    box.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
      if (event.key === 'Escape') close();
      else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) save();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    const buttons = element('div', {class: 'edit-buttons'},
                            element('button', {type: 'button', class: 'plain', onclick: close}, 'Cancel'),
                            element('button', {type: 'button', class: 'primary', title: 'Ctrl+Enter', onclick: save}, this.isAnswer ? 'Save as a branch' : 'Ask again'));
    this.body.classList.remove('verbatim');
    this.body.replaceChildren(box, buttons);
    this.element.classList.add('editing');
    fitHeight(box);
    box.focus();
  }
}
