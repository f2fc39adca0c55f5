// What can be set about a chat: the system prompt and how the next token is chosen.
import {element} from './dom.js';

/**
 * @typedef {{key: string, label: string, help: string, fallback: number|string, least?: number, most?: number,
 *            step?: number, whole?: boolean, slider?: boolean, lines?: boolean, empty?: string}} Field
 * @type {Field[]}
 */
export const fields = [
  {key: 'temperature', label: 'Temperature', help: 'Higher is more varied; 0 always takes the likeliest token.', fallback: 0.8, least: 0, most: 2, step: 0.05, slider: true},
  {key: 'top_p', label: 'Top-p', help: 'Choose among the likeliest tokens that together have this probability; 1: all.', fallback: 0.95, least: 0, most: 1, step: 0.01, slider: true},
  {key: 'min_p', label: 'Min-p', help: 'Leave out tokens below this share of the likeliest one\u2019s probability; 0: none.', fallback: 0, least: 0, most: 1, step: 0.01, slider: true},
  {key: 'top_k', label: 'Top-k', help: 'Choose among this many of the likeliest tokens; 0: all.', fallback: 0, least: 0, most: 100000, step: 1, whole: true},
  {key: 'repetition_penalty', label: 'Repetition penalty', help: 'Above 1 makes tokens that were used less likely; 1: off.', fallback: 1, least: 0.5, most: 2, step: 0.05, slider: true},
  {key: 'max_tokens', label: 'Max tokens', help: 'The answer ends there at the latest.', fallback: 1024, least: 1, most: 1000000, step: 1, whole: true},
  {key: 'seed', label: 'Seed', help: 'Same seed, same answer; empty: another one each time.', fallback: '', least: 0, most: 2147483647, step: 1, whole: true, empty: 'random'},
  {key: 'stop', label: 'Stop texts', help: 'One on each line; the answer ends before any of them.', fallback: '', lines: true},
  {key: 'alternatives', label: 'Alternatives per token', help: 'How many of the likeliest tokens are kept with each token of an answer.', fallback: 6, least: 0, most: 20, step: 1, whole: true},
];

const storedName = 'fledge.settings';

/** The settings that a new chat begins with. */
export function newSettings() {
  /** @type {any} */
  const settings = {system: ''};
  let stored = {};
  try {
    stored = JSON.parse(localStorage.getItem(storedName) ?? '{}');
  } catch {
    // Somebody else's text, or a browser that keeps nothing.
  }
  return withDefaults({...settings, ...stored, system: ''});
}

/** @param {any} settings */
export function withDefaults(settings) {
  /** @type {any} */
  const result = {system: typeof settings?.system === 'string' ? settings.system : ''};
  for (const field of fields) result[field.key] = checked(field, settings?.[field.key]);
  return result;
}

/**
 * The value where the field takes it, else the nearest that it takes.
 * @param {Field} field
 * @param {any} value
 */
export function checked(field, value) {
  if (field.lines) return typeof value === 'string' ? value : field.fallback;
  if (value === '' && field.fallback === '') return '';
  const number = typeof value === 'string' && value.trim() === '' ? NaN : Number(value);
  if (value === undefined || value === null || !Number.isFinite(number)) return field.fallback;
  const inside = Math.min(Math.max(number, field.least ?? number), field.most ?? number);
  return field.whole ? Math.round(inside) : inside;
}

/**
 * The fields of a request.
 * @param {any} settings
 */
export function samplingFields(settings) {
  const {temperature, top_p, min_p, top_k, repetition_penalty, max_tokens, seed, stop, alternatives} = settings;
  const stops = String(stop ?? '').split('\n').map((line) => line.replace(/\\n/g, '\n')).filter((line) => line !== '');
  return {
    temperature, top_p, min_p, top_k, repetition_penalty, max_tokens,
    ...(seed === '' || seed === undefined ? {} : {seed}),
    ...(stops.length > 0 ? {stop: stops} : {}),
    fledge: {probabilities: alternatives},
  };
}

export class SamplerForm {
  /** @param {HTMLElement} root @param {(settings: any) => void} changed */
  constructor(root, changed) {
    this.settings = newSettings();
    this.changed = changed;
    /** @type {Map<string, {show: (value: any) => void}>} */
    this.controls = new Map();
    for (const field of fields) root.append(this.control(field));
    root.append(element('button', {type: 'button', class: 'plain', onclick: () => this.reset()}, 'Back to the defaults'));
  }

  /** @param {Field} field */
  control(field) {
    const id = `setting-${field.key}`;
    const range = {min: field.least, max: field.most, step: field.step};
    const box = field.lines
      ? element('textarea', {id, rows: 2, spellcheck: 'false', 'aria-describedby': `${id}-help`})
      : element('input', {id, type: 'number', inputmode: 'decimal', ...range, placeholder: field.empty, 'aria-describedby': `${id}-help`});
    const slider = field.slider ? element('input', {type: 'range', ...range, 'aria-label': field.label, tabindex: '-1'}) : null;
    const show = (/** @type {any} */ value) => {
      box.value = String(value);
      if (slider) slider.value = String(value);
    };
    const take = (/** @type {any} */ value) => {
      this.settings[field.key] = checked(field, value);
      show(this.settings[field.key]);
      this.changed(this.settings);
      this.store();
    };
    box.addEventListener('change', () => take(box.value));
    slider?.addEventListener('input', () => (box.value = slider.value));
    slider?.addEventListener('change', () => take(slider.value));
    this.controls.set(field.key, {show});
    return element('div', {class: 'setting'}, element('label', {for: id}, field.label), box, slider,
                   element('p', {id: `${id}-help`, class: 'help'}, field.help));
  }

  /** @param {any} settings */
  show(settings) {
    this.settings = settings;
    for (const field of fields) this.controls.get(field.key)?.show(settings[field.key]);
  }

  reset() {
    for (const field of fields) this.settings[field.key] = field.fallback;
    this.show(this.settings);
    this.changed(this.settings);
    this.store();
  }

  store() {
    try {
      localStorage.setItem(storedName, JSON.stringify({...this.settings, system: undefined}));
    } catch {
      // The browser keeps nothing: the next chat begins with the defaults.
    }
  }
}
