// Markdown as models write it, made into a tree of plain nodes: parsing makes only the tags and attributes named here, and
// showing (markdown_view.js) puts text in as text, so that nothing a model writes can become markup or code.
//
// A part of CommonMark and GitHub's tables. Time grows with the text's length, not its square: what was looked for in vain
// is not looked for again, and nesting has a limit.

/**
 * @typedef {{tag: string, attributes?: Record<string, string>, children: (Node|string)[]}} Node
 */

const mostNested = 12;

/** @param {string} tag @param {(Node|string)[]} children @param {Record<string, string>} [attributes] @returns {Node} */
const node = (tag, children, attributes) => (attributes ? {tag, attributes, children} : {tag, children});

/**
 * A link's address where it is one of the web, or null.
 * @param {string} text
 * @returns {string|null}
 */
export function safeUrl(text) {
  if (!/^https?:\/\//i.test(text)) return null;
  try {
    const url = new URL(text);
    return url.protocol === 'http:' || url.protocol === 'https:' ? url.href : null;
  } catch {
    return null;
  }
}

/** @param {string} href @param {(Node|string)[]} children */
const link = (href, children) => node('a', children, {href, rel: 'noopener noreferrer nofollow', target: '_blank'});

const isSpace = (/** @type {string|undefined} */ c) => c === undefined || /\s/.test(c);
const isWord = (/** @type {string|undefined} */ c) => c !== undefined && /[\p{L}\p{N}]/u.test(c);

class Inline {
  /** @param {string} text @param {number} depth */
  constructor(text, depth) {
    this.text = text;
    this.depth = depth;
    this.at = 0;
    this.plain = '';
    /** @type {(Node|string)[]} */
    this.nodes = [];
    /**
     * What has no end from here on.
     * @type {Set<string>}
     */
    this.unclosed = new Set();
  }

  parse() {
    while (this.at < this.text.length) {
      if (!this.special()) this.plain += this.text[this.at++];
    }
    this.flush();
    return this.nodes;
  }

  flush() {
    if (this.plain !== '') this.nodes.push(this.plain);
    this.plain = '';
  }

  /** @param {Node} made @param {number} end */
  take(made, end) {
    this.flush();
    this.nodes.push(made);
    this.at = end;
    return true;
  }

  /** @returns {boolean} whether something began here */
  special() {
    const c = this.text[this.at];
    if (c === '\\') return this.escape();
    if (c === '`') return this.code();
    if (c === '*' || c === '_' || c === '~') return this.emphasis(c);
    if (c === '[' || c === '!') return this.link();
    if (c === 'h') return this.address();
    if (c === '\n') {
      this.plain = this.plain.replace(/ +$/, '');
      return this.take(node('br', []), this.at + 1);
    }
    return false;
  }

  escape() {
    const next = this.text[this.at + 1];
    if (next === undefined || !/[!-/:-@[-`{-~]/.test(next)) return false;
    this.plain += next;
    this.at += 2;
    return true;
  }

  /** @param {string} c */
  runLength(c) {
    let end = this.at;
    while (this.text[end] === c) ++end;
    return end - this.at;
  }

  code() {
    const length = this.runLength('`');
    const mark = '`'.repeat(length);
    let end = this.unclosed.has(mark) ? -1 : this.text.indexOf(mark, this.at + length);
    while (end >= 0 && (this.text[end + length] === '`' || this.text[end - 1] === '`')) {
      while (this.text[end] === '`') ++end;
      end = this.text.indexOf(mark, end);
    }
    if (end < 0) {
      this.unclosed.add(mark);
      this.plain += mark;
      this.at += length;
      return true;
    }
    let inner = this.text.slice(this.at + length, end).replace(/\n/g, ' ');
    if (/^ .*[^ ].* $/.test(inner)) inner = inner.slice(1, -1);
    return this.take(node('code', [inner]), end + length);
  }

  /** @param {string} c */
  emphasis(c) {
    const length = this.runLength(c);
    const mark = c.repeat(Math.min(length, 3));
    const before = this.text[this.at - 1], after = this.text[this.at + length];
    const opens = length <= 3 && !isSpace(after) && !(c === '_' && isWord(before)) && !(c === '~' && length !== 2);
    const end = opens && this.depth < mostNested ? this.closer(mark) : -1;
    if (end < 0) {
      this.plain += c.repeat(length);
      this.at += length;
      return true;
    }
    const inner = new Inline(this.text.slice(this.at + length, end), this.depth + 1).parse();
    const strong = length === 3 ? node('strong', [node('em', inner)]) : node(length === 2 ? 'strong' : 'em', inner);
    return this.take(c === '~' ? node('del', inner) : strong, end + length);
  }

  /**
   * Where the emphasis that begins here ends, or -1.
   * @param {string} mark
   */
  closer(mark) {
    if (this.unclosed.has(mark)) return -1;
    const c = mark[0];
    for (let at = this.at + mark.length; ; ) {
      const found = this.text.indexOf(mark, at);
      if (found < 0) break;
      let end = found;
      while (this.text[end] === c) ++end;
      const fits = end - found === mark.length && !isSpace(this.text[found - 1]) && this.text[found - 1] !== '\\';
      if (fits && !(c === '_' && isWord(this.text[end]))) return found;
      // "**bold *both***": the inner one ends first.
      if (end - found > mark.length && end - found <= 3 && !isSpace(this.text[found - 1])) return end - mark.length;
      at = end;
    }
    this.unclosed.add(mark);
    return -1;
  }

  link() {
    // A picture would be a request to another place: it becomes a link.
    const found = /!?\[([^[\]\n]{0,1000})\]\(\s*<?([^()\s<>]{0,2000}(?:\([^()\s<>]{0,200}\)[^()\s<>]{0,200})?)>?(?:\s+"[^"\n]{0,300}")?\s*\)/y;
    found.lastIndex = this.at;
    const match = found.exec(this.text);
    const href = match ? safeUrl(match[2]) : null;
    if (!match || href === null || this.depth >= mostNested) return false;
    const inner = new Inline(match[1] || href, mostNested).parse();
    return this.take(link(href, inner), this.at + match[0].length);
  }

  address() {
    if (isWord(this.text[this.at - 1])) return false;
    const found = /https?:\/\/[^\s<>"'`\\]{1,2000}/y;
    found.lastIndex = this.at;
    const match = found.exec(this.text);
    if (!match) return false;
    let shown = match[0].replace(/[.,;:!?*_~\]]+$/, '');
    if (shown.endsWith(')') && !shown.includes('(')) shown = shown.slice(0, -1);
    const href = safeUrl(shown);
    return href !== null && this.depth < mostNested && this.take(link(href, [shown]), this.at + shown.length);
  }
}

/** @param {string} text */
const inline = (text, depth = 0) => new Inline(text.trim(), depth).parse();

const fence = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`\n]*)$/;
const heading = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$/;
const rule = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const quote = /^ {0,3}> ?/;
const item = /^( *)([-*+]|\d{1,9}[.)])(?:([ \t]+)(.*)|)$/;
const tableRule = /^ *\|? *:?-+:? *(\| *:?-+:? *)*\|? *$/;

/** @param {string} line @param {number} most */
function withoutIndent(line, most) {
  let at = 0;
  while (at < most && line[at] === ' ') ++at;
  return line.slice(at);
}

class Blocks {
  /** @param {string[]} lines @param {number} depth */
  constructor(lines, depth) {
    this.lines = lines;
    this.depth = depth;
    this.at = 0;
  }

  /**
   * The next block, or null at the end.
   * @returns {Node|null}
   */
  next() {
    while (this.at < this.lines.length && this.lines[this.at].trim() === '') ++this.at;
    if (this.at >= this.lines.length) return null;
    const line = this.lines[this.at];
    if (this.depth < mostNested) {
      if (fence.test(line)) return this.code();
      if (rule.test(line)) return ++this.at, node('hr', []);
      if (heading.test(line)) return this.heading();
      if (quote.test(line)) return this.quote();
      if (this.isItem(line)) return this.list();
      if (this.isTable()) return this.table();
    }
    return this.paragraph();
  }

  all() {
    const made = [];
    for (let block = this.next(); block; block = this.next()) made.push(block);
    return made;
  }

  /** @param {string} line */
  isItem(line) {
    const found = item.exec(line);
    return found !== null && found[1].length <= 3;
  }

  isTable() {
    const second = this.lines[this.at + 1];
    return second !== undefined && this.lines[this.at].includes('|') && second.includes('-') && tableRule.test(second);
  }

  heading() {
    const [, marks, text] = /** @type {RegExpExecArray} */ (heading.exec(this.lines[this.at++]));
    // The page's own headings come first.
    return node(`h${Math.min(marks.length + 2, 6)}`, inline(text ?? ''));
  }

  code() {
    const [opening, mark, info] = /** @type {RegExpExecArray} */ (fence.exec(this.lines[this.at++]));
    const indent = opening.length - opening.trimStart().length;
    const inner = [];
    for (; this.at < this.lines.length; ++this.at) {
      const line = this.lines[this.at], end = line.trim();
      if (end.length >= mark.length && end === mark[0].repeat(end.length) && /^ {0,3}\S/.test(line)) {
        ++this.at;
        break;
      }
      inner.push(withoutIndent(line, indent));
    }
    const language = info.trim().split(/\s/)[0].slice(0, 30);
    return node('pre', [node('code', [inner.join('\n')])], language ? {'data-language': language} : undefined);
  }

  quote() {
    const inner = [];
    for (; this.at < this.lines.length && quote.test(this.lines[this.at]); ++this.at) {
      inner.push(this.lines[this.at].replace(quote, ''));
    }
    return node('blockquote', new Blocks(inner, this.depth + 1).all());
  }

  list() {
    const first = /** @type {RegExpExecArray} */ (item.exec(this.lines[this.at]));
    const ordered = /\d/.test(first[2]);
    const items = [];
    while (this.at < this.lines.length) {
      const found = item.exec(this.lines[this.at]);
      if (!found || found[1].length > first[1].length + 1 || rule.test(this.lines[this.at])) break;
      if (/\d/.test(found[2]) !== ordered) break;
      items.push(this.item(found));
    }
    const start = parseInt(first[2], 10);
    return node(ordered ? 'ol' : 'ul', items, ordered && start !== 1 ? {start: String(start)} : undefined);
  }

  /** @param {RegExpExecArray} found */
  item(found) {
    const marker = found[1].length, indent = marker + found[2].length + Math.min((found[3] ?? ' ').length, 4);
    const inner = [found[4] ?? ''];
    for (++this.at; this.at < this.lines.length; ++this.at) {
      const line = this.lines[this.at];
      const blank = line.trim() === '';
      const deep = line.length - line.trimStart().length;
      if (blank) {
        // The item goes on behind a blank line only where the next line is indented.
        const next = this.lines.slice(this.at + 1, this.at + 3).find((each) => each.trim() !== '');
        if (next === undefined || next.length - next.trimStart().length < marker + 2) break;
      } else if (deep < marker + 2 && (item.test(line) || this.beginsBlock(line) || inner.at(-1)?.trim() === '')) {
        break;
      }
      inner.push(withoutIndent(line, indent));
    }
    while (this.at < this.lines.length && this.lines[this.at].trim() === '') ++this.at;
    const blocks = new Blocks(inner, this.depth + 1).all();
    return node('li', blocks.flatMap((block) => (block.tag === 'p' && blocks.filter(({tag}) => tag === 'p').length === 1 ? block.children : [block])));
  }

  /** @param {string} line */
  beginsBlock(line) {
    return fence.test(line) || heading.test(line) || rule.test(line) || quote.test(line);
  }

  table() {
    const cells = (/** @type {string} */ line) =>
      line.trim().replace(/^\|/, '').replace(/(^|[^\\])\|$/, '$1').split(/(?<!\\)\|/).map((cell) => cell.replace(/\\\|/g, '|'));
    const head = cells(this.lines[this.at]);
    this.at += 2;
    const rows = [];
    for (; this.at < this.lines.length && this.lines[this.at].includes('|') && this.lines[this.at].trim() !== ''; ++this.at) {
      rows.push(cells(this.lines[this.at]).slice(0, head.length));
    }
    const row = (/** @type {string[]} */ texts, /** @type {string} */ tag) => node('tr', texts.map((text) => node(tag, inline(text))));
    return node('table', [node('thead', [row(head, 'th')]), node('tbody', rows.map((texts) => row(texts, 'td')))]);
  }

  paragraph() {
    const inner = [this.lines[this.at++]];
    for (; this.at < this.lines.length && this.lines[this.at].trim() !== ''; ++this.at) {
      const line = this.lines[this.at];
      const list = item.exec(line);
      const begins = this.beginsBlock(line) || (list && list[1].length <= 3 && list[4]) || this.isTable();
      if (begins && this.depth < mostNested) break;
      inner.push(line);
    }
    return node('p', inline(inner.map((line) => line.trim()).join('\n')));
  }
}

/**
 * The blocks of a text, each with the lines that it was made of: what did not change need not be shown anew.
 * @param {string} text
 * @returns {{source: string, node: Node}[]}
 */
export function parseMarkdown(text) {
  const lines = text.replace(/\r\n?/g, '\n').replace(/\t/g, '    ').split('\n');
  const blocks = new Blocks(lines, 0);
  const result = [];
  for (;;) {
    const start = blocks.at;
    const made = blocks.next();
    if (!made) return result;
    result.push({source: lines.slice(start, blocks.at).join('\n').trim(), node: made});
  }
}
