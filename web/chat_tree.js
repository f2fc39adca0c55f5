// A chat's messages are a tree: each names the one before it, and editing or asking again makes another branch. One
// path from the root to a leaf is shown.

/** @typedef {import('./chats.js').Message} Message */

export class ChatTree {
  /** @param {Message[]} messages older ones first @param {string|null} [current] the message that was shown last */
  constructor(messages = [], current = null) {
    /** @type {Map<string, Message>} */
    this.messages = new Map();
    /** @type {Map<string|null, string[]>} */
    this.childrenOf = new Map();
    /**
     * Which child was shown last, by parent.
     * @type {Map<string|null, string>}
     */
    this.chosen = new Map();
    for (const message of messages) this.add(message);
    if (current !== null && this.messages.has(current)) this.show(current);
  }

  /**
   * Adds a message and shows it.
   * @param {Message} message
   */
  add(message) {
    // What does not fit (its parent is gone) would never be reached: it begins the chat anew.
    if (message.parent !== null && !this.messages.has(message.parent)) message.parent = null;
    this.messages.set(message.id, message);
    const siblings = this.childrenOf.get(message.parent) ?? [];
    siblings.push(message.id);
    this.childrenOf.set(message.parent, siblings);
    this.show(message.id);
    return message;
  }

  /**
   * Takes away a message and what follows it.
   * @param {string} id
   */
  remove(id) {
    const message = this.messages.get(id);
    if (!message) return;
    for (const child of [...(this.childrenOf.get(id) ?? [])]) this.remove(child);
    this.childrenOf.delete(id);
    this.chosen.delete(id);
    const siblings = (this.childrenOf.get(message.parent) ?? []).filter((sibling) => sibling !== id);
    this.childrenOf.set(message.parent, siblings);
    if (this.chosen.get(message.parent) === id) this.chosen.delete(message.parent);
    this.messages.delete(id);
  }

  /**
   * Gives a message the id that the server made.
   * @param {string} from
   * @param {string} to
   */
  rename(from, to) {
    const message = this.messages.get(from);
    if (!message || from === to) return;
    this.messages.delete(from);
    message.id = to;
    this.messages.set(to, message);
    const siblings = this.childrenOf.get(message.parent) ?? [];
    siblings[siblings.indexOf(from)] = to;
    if (this.chosen.get(message.parent) === from) this.chosen.set(message.parent, to);
    const children = this.childrenOf.get(from);
    if (children) {
      this.childrenOf.delete(from);
      this.childrenOf.set(to, children);
      for (const child of children) /** @type {Message} */ (this.messages.get(child)).parent = to;
    }
    const chosen = this.chosen.get(from);
    if (chosen !== undefined) {
      this.chosen.delete(from);
      this.chosen.set(to, chosen);
    }
  }

  /**
   * Makes the shown path go through this message.
   * @param {string} id
   */
  show(id) {
    for (let at = this.messages.get(id); at; at = at.parent === null ? undefined : this.messages.get(at.parent)) {
      this.chosen.set(at.parent, at.id);
    }
  }

  /**
   * The shown messages, first to last.
   * @returns {Message[]}
   */
  path() {
    const result = [];
    /** @type {string|null} */
    let parent = null;
    for (;;) {
      /** @type {string[]} */
      const children = this.childrenOf.get(parent) ?? [];
      /** @type {string|undefined} */
      const id = this.chosen.get(parent) ?? children[children.length - 1];
      /** @type {Message|undefined} */
      const message = id === undefined ? undefined : this.messages.get(id);
      if (!message) return result;
      result.push(message);
      parent = message.id;
    }
  }

  /**
   * The messages down to this one.
   * @param {string|null} id
   * @returns {Message[]}
   */
  pathTo(id) {
    const result = [];
    for (let at = id === null ? undefined : this.messages.get(id); at; ) {
      result.unshift(at);
      at = at.parent === null ? undefined : this.messages.get(at.parent);
    }
    return result;
  }

  /**
   * Messages in the same place, and where this one is among them.
   * @param {string} id
   */
  siblings(id) {
    const message = /** @type {Message} */ (this.messages.get(id));
    const ids = this.childrenOf.get(message.parent) ?? [];
    return {ids, index: ids.indexOf(id)};
  }

  /**
   * Shows the sibling that is `step` further.
   * @param {string} id
   * @param {number} step
   */
  showSibling(id, step) {
    const {ids, index} = this.siblings(id);
    const sibling = ids[index + step];
    if (sibling !== undefined) this.show(sibling);
  }

  /**
   * The last message that is shown.
   * @returns {Message|null}
   */
  leaf() {
    return this.path().at(-1) ?? null;
  }
}
