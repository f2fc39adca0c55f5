// Shows Markdown, and only what changed of it while it grows.
import {copyButton, element} from './dom.js';
import {parseMarkdown} from './markdown.js';

/** @param {import('./markdown.js').Node|string} node @returns {Node|string} */
function made(node) {
  if (typeof node === 'string') return node;
  if (node.tag === 'pre') return codeBlock(node);
  const shown = element(node.tag, node.attributes, ...node.children.map(made));
  // Wide tables scroll by themselves, so that the page does not.
  return node.tag === 'table' ? element('div', {class: 'wide', tabindex: '0', role: 'region', 'aria-label': 'Table'}, shown) : shown;
}

/** @param {import('./markdown.js').Node} node */
function codeBlock(node) {
  const code = /** @type {import('./markdown.js').Node} */ (node.children[0]);
  const text = String(code.children[0] ?? '');
  const head = element('div', {class: 'code-head'}, element('span', {}, node.attributes?.['data-language'] ?? 'text'),
                       copyButton('Copy this code', () => text));
  return element('div', {class: 'code'}, head, element('pre', {tabindex: '0'}, element('code', {}, text)));
}

export class MarkdownView {
  constructor() {
    this.element = element('div', {class: 'markdown'});
    /** @type {string[]} */
    this.sources = [];
  }

  /** @param {string} text */
  set(text) {
    const blocks = parseMarkdown(text);
    blocks.forEach(({source, node}, index) => {
      if (this.sources[index] === source) return;
      const shown = made(node);
      const old = this.element.childNodes[index];
      if (old) old.replaceWith(shown);
      else this.element.append(shown);
    });
    while (this.element.childNodes.length > blocks.length) this.element.lastChild?.remove();
    this.sources = blocks.map(({source}) => source);
  }
}
