// The wire format of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), as far as
// answers use it: "data:" lines.

/** Finds the data of events in a text that comes in pieces cut anywhere. */
export class EventParser {
  constructor() {
    this.rest = '';
    /** @type {string[]} */
    this.data = [];
    this.first = true;
  }

  /**
   * The data of the events that became complete with this piece.
   * @param {string} piece
   * @returns {string[]}
   */
  push(piece) {
    if (this.first && piece !== '') {
      this.first = false;
      if (piece.startsWith('\ufeff')) piece = piece.slice(1);
    }
    this.rest += piece;
    /** @type {string[]} */
    const events = [];
    // A carriage return at the very end may be the first half of a line break.
    const breaks = /\r\n|\n|\r(?!$)/g;
    let start = 0;
    for (let found = breaks.exec(this.rest); found; found = breaks.exec(this.rest)) {
      this.line(this.rest.slice(start, found.index), events);
      start = found.index + found[0].length;
    }
    this.rest = this.rest.slice(start);
    return events;
  }

  /** @param {string} line @param {string[]} events */
  line(line, events) {
    if (line === '') {
      if (this.data.length > 0) events.push(this.data.join('\n'));
      this.data = [];
      return;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    if (field !== 'data') return;
    const value = colon < 0 ? '' : line.slice(colon + 1);
    this.data.push(value.startsWith(' ') ? value.slice(1) : value);
  }
}
