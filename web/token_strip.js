// An answer as its tokens: the less likely a token was, the stronger its colour. Each shows what else could have stood in
// its place, and taking another one branches the answer there.
import {element} from './dom.js';
import {labelOf, percent, textOf} from './tokens.js';

/**
 * @typedef {import('./tokens.js').Token} Token
 * @typedef {import('./tokens.js').Candidate} Candidate
 */

export class TokenStrip {
  /** @param {(index: number, other: Candidate) => void} branch @param {(index: number, other: Candidate) => string|null} textWith */
  constructor(branch, textWith) {
    this.branch = branch;
    this.textWith = textWith;
    /** @type {Token[]} */
    this.tokens = [];
    this.line = element('div', {class: 'tokens', role: 'group', 'aria-label': 'Tokens of this answer. Arrow keys move, Enter shows what else could have stood there.'});
    const legend = element('p', {class: 'legend', 'aria-hidden': 'true'}, 'likely', element('span', {class: 'scale'}), 'unlikely');
    this.element = element('div', {class: 'strip'}, this.line, legend);
    this.line.addEventListener('pointerover', (/** @type {PointerEvent} */ event) => {
      if (event.pointerType === 'mouse') this.hover(event.target);
    });
    this.line.addEventListener('pointerleave', () => popover.hideSoon());
    this.line.addEventListener('click', (/** @type {MouseEvent} */ event) => this.open(event.target, false));
    this.line.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => this.key(event));
  }

  /**
   * Shows these tokens; those shown already stay.
   * @param {Token[]} tokens
   */
  set(tokens) {
    const same = this.line.childElementCount <= tokens.length && this.tokens.every((token, i) => token === tokens[i]);
    if (!same) this.line.replaceChildren();
    for (let i = this.line.childElementCount; i < tokens.length; ++i) this.line.append(this.span(tokens[i], i));
    this.tokens = [...tokens];
  }

  /** @param {Token} token @param {number} index */
  span(token, index) {
    const text = textOf(token.bytes);
    const own = text === null || token.special ? labelOf(token) : text;
    const label = `${labelOf(token)}, ${percent(token.probability)}`;
    const kind = text === null ? 'token bytes' : token.special ? 'token bytes special' : 'token';
    const span = element('span', {class: kind, role: 'button', 'aria-haspopup': 'dialog', tabindex: index === 0 ? '0' : '-1', 'aria-label': label, 'data-index': index});
    // The space before a word may stay at the end of a line; the colour goes with the word.
    const space = text === null || token.special || own.trim() === '' ? '' : own.slice(0, own.length - own.trimStart().length);
    span.append(space, element('span', {class: 'word'}, own.slice(space.length)));
    span.style.setProperty('--unlikely', String(Math.round((1 - token.probability) * 100) / 100));
    return span;
  }

  /** @param {any} target */
  hover(target) {
    const token = target.closest('.token');
    if (token && !popover.isPinned) popover.show(this, Number(token.dataset.index), token, false);
  }

  /** @param {any} target @param {boolean} byKey */
  open(target, byKey) {
    const token = target.closest('.token');
    if (!token) return;
    this.focus(Number(token.dataset.index));
    popover.show(this, Number(token.dataset.index), token, true);
    if (byKey) popover.focusFirst();
  }

  /** @param {number} index */
  focus(index) {
    const span = this.line.children[index];
    if (!span) return;
    this.line.querySelector('[tabindex="0"]')?.setAttribute('tabindex', '-1');
    span.setAttribute('tabindex', '0');
    span.focus();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const index = Number(target.dataset.index);
    /** @type {Record<string, number>} */
    const steps = {ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: this.tokens.length - 1};
    if (event.key in steps) {
      popover.hide();
      this.focus(Math.min(Math.max(steps[event.key], 0), this.tokens.length - 1));
      if (document.activeElement !== target) popover.show(this, Number(/** @type {any} */ (document.activeElement).dataset.index), document.activeElement, false);
    } else if (event.key === 'Enter' || event.key === ' ' || event.key === 'ArrowDown') {
      this.open(target, true);
    } else {
      return;
    }
    event.preventDefault();
  }
}

/** The one list of alternatives that is open. */
class Popover {
  constructor() {
    this.element = element('div', {id: 'alternatives', role: 'dialog', 'aria-label': 'What else could have stood here', hidden: true});
    this.isPinned = false;
    /** @type {any} */
    this.anchor = null;
    this.timer = 0;
    document.body.append(this.element);
    this.element.addEventListener('pointerenter', () => clearTimeout(this.timer));
    this.element.addEventListener('pointerleave', () => this.hideSoon());
    this.element.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => this.key(event));
    document.addEventListener('pointerdown', (event) => {
      const target = /** @type {Node} */ (event.target);
      if (!this.element.contains(target) && !this.anchor?.contains(target)) this.hide();
    });
    document.addEventListener('scroll', () => this.isOpen && this.place(), {capture: true, passive: true});
    addEventListener('resize', () => this.hide());
  }

  get isOpen() {
    return !this.element.hidden;
  }

  /** @param {TokenStrip} strip @param {number} index @param {any} anchor @param {boolean} pinned */
  show(strip, index, anchor, pinned) {
    clearTimeout(this.timer);
    this.hide();
    this.isPinned = pinned;
    this.anchor = anchor;
    anchor.classList.add('shown');
    const token = strip.tokens[index];
    const own = token.others.findIndex(({id}) => id === token.id);
    const list = own < 0 ? [...token.others, token] : token.others;
    const rows = list.map((other) => this.row(strip, index, other, other.id === token.id));
    const rank = own < 0 ? `not among the likeliest ${token.others.length}` : `rank ${own + 1}`;
    this.element.replaceChildren(
        element('p', {class: 'chosen'}, element('code', {}, labelOf(token)), ` ${percent(token.probability)}, ${rank}`), ...rows,
        element('p', {class: 'help'}, 'Take another one to branch the answer here.'));
    this.element.hidden = false;
    this.place();
  }

  /** @param {TokenStrip} strip @param {number} index @param {Candidate} other @param {boolean} isOwn */
  row(strip, index, other, isOwn) {
    const impossible = !isOwn && strip.textWith(index, other) === null;
    const bar = element('span', {class: 'bar'});
    bar.style.setProperty('--share', String(other.probability));
    const take = () => {
      this.hide();
      strip.branch(index, other);
    };
    const why = impossible ? 'Only a part of a letter, or a special token: the answer cannot go on from it' : `Token ${other.id}`;
    return element('button', {type: 'button', class: isOwn ? 'own' : null, disabled: isOwn || impossible, title: why, onclick: take},
                   element('code', {}, labelOf(other)), element('span', {class: 'track'}, bar), element('span', {class: 'number'}, percent(other.probability)));
  }

  /** Below the token, or above it where there is no room. */
  place() {
    const anchor = this.anchor.lastElementChild.getBoundingClientRect(), own = this.element.getBoundingClientRect();
    if (anchor.bottom < 0 || anchor.top > innerHeight || anchor.width === 0) return this.hide();
    const left = Math.min(Math.max(8, anchor.left), innerWidth - own.width - 8);
    const below = anchor.bottom + 4;
    const top = below + own.height < innerHeight - 8 ? below : Math.max(8, anchor.top - own.height - 4);
    this.element.style.left = `${left}px`;
    this.element.style.top = `${top}px`;
  }

  focusFirst() {
    this.element.querySelector('button:not(:disabled)')?.focus();
  }

  hideSoon() {
    clearTimeout(this.timer);
    if (!this.isPinned) this.timer = setTimeout(() => this.hide(), 200);
  }

  hide() {
    this.anchor?.classList.remove('shown');
    this.element.hidden = true;
    this.isPinned = false;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const buttons = [...this.element.querySelectorAll('button:not(:disabled)')];
    const at = buttons.indexOf(document.activeElement);
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : undefined;
    if (step !== undefined) {
      buttons[(at + step + buttons.length) % buttons.length]?.focus();
      event.preventDefault();
    } else if (event.key === 'Escape') {
      this.hide();
      this.anchor?.focus();
      event.stopPropagation();
    }
  }
}

const popover = new Popover();

/** Closes the list of alternatives; false where none is open. */
export function closeAlternatives() {
  if (!popover.isOpen) return false;
  popover.hide();
  return true;
}
