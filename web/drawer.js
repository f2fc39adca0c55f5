// The drawer at the right: system prompt, sampler, exact prompt.
import {byId} from './dom.js';

const names = ['system', 'sampler', 'prompt'];

export class Drawer {
  /** @param {(name: string) => void} opened */
  constructor(opened) {
    this.root = byId('drawer');
    this.opened = opened;
    /** @type {string|null} */
    this.shown = null;
    /** @type {HTMLElement|null} */
    this.opener = null;
    for (const name of names) {
      byId(`open-${name}`).addEventListener('click', () => (this.shown === name ? this.close() : this.open(name)));
      byId(`tab-${name}`).addEventListener('click', () => this.open(name));
    }
    byId('drawer-close').addEventListener('click', () => this.close());
    byId('tabs').addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
      const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (step === undefined) return;
      const next = names[(names.indexOf(this.shown ?? '') + step + names.length) % names.length];
      this.open(next);
      byId(`tab-${next}`).focus();
    });
  }

  /** @param {string} name */
  open(name) {
    if (!this.shown) this.opener = /** @type {HTMLElement} */ (document.activeElement);
    this.shown = name;
    this.root.hidden = false;
    document.body.classList.add('drawer-open');
    for (const each of names) {
      const isShown = each === name;
      byId(`panel-${each}`).hidden = !isShown;
      byId(`tab-${each}`).setAttribute('aria-selected', String(isShown));
      byId(`tab-${each}`).tabIndex = isShown ? 0 : -1;
      byId(`open-${each}`).setAttribute('aria-expanded', String(isShown));
    }
    this.opened(name);
  }

  /** False where it was closed already. */
  close() {
    if (!this.shown) return false;
    byId(`open-${this.shown}`).setAttribute('aria-expanded', 'false');
    this.shown = null;
    this.root.hidden = true;
    document.body.classList.remove('drawer-open');
    this.opener?.focus();
    return true;
  }
}
