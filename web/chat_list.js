// The list of kept chats at the side.
import {element, iconButton} from './dom.js';

/** @typedef {import('./chats.js').Chat} Chat */

export class ChatList {
  /**
   * @param {HTMLElement} root
   * @param {{open: (id: string) => void, rename: (chat: Chat, title: string) => void, remove: (chat: Chat) => void}} actions
   */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
  }

  /** @param {Chat[]} chats newest first @param {string|null} current */
  show(chats, current) {
    this.root.replaceChildren(...chats.map((chat) => this.entry(chat, chat.id === current)));
  }

  /** @param {Chat} chat @param {boolean} isCurrent */
  entry(chat, isCurrent) {
    const link = element('a', {href: `#${chat.id}`, 'aria-current': isCurrent ? 'page' : null, title: new Date(chat.updated).toLocaleString()}, chat.title || 'Untitled');
    const entry = element('li', {class: isCurrent ? 'current' : ''}, link);
    const rename = iconButton('edit', `Rename "${chat.title}"`, () => this.rename(entry, chat));
    const remove = iconButton('remove', `Delete "${chat.title}"`, () => this.confirm(entry, chat));
    entry.append(element('span', {class: 'entry-buttons'}, rename, remove));
    return entry;
  }

  /** @param {HTMLElement} entry @param {Chat} chat */
  rename(entry, chat) {
    const box = element('input', {'aria-label': 'Title of the chat', maxlength: 200});
    box.value = chat.title;
    let done = false;
    const close = (/** @type {boolean} */ keeps) => {
      if (done) return;
      done = true;
      const title = box.value.trim();
      if (keeps && title !== '' && title !== chat.title) this.actions.rename(chat, title);
      else entry.replaceWith(this.entry(chat, entry.classList.contains('current')));
    };
    box.addEventListener('blur', () => close(true));
    box.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== 'Enter' && event.key !== 'Escape') return;
      event.stopPropagation();
      close(event.key === 'Enter');
    });
    entry.replaceChildren(box);
    box.focus();
    box.select();
  }

  /** @param {HTMLElement} entry @param {Chat} chat */
  confirm(entry, chat) {
    const back = () => entry.replaceWith(this.entry(chat, entry.classList.contains('current')));
    const no = element('button', {type: 'button', class: 'plain', onclick: back}, 'Keep');
    const yes = element('button', {type: 'button', class: 'danger', onclick: () => this.actions.remove(chat)}, 'Delete');
    entry.replaceChildren(element('span', {class: 'confirm'}, 'Delete it for good?', yes, no));
    no.focus();
  }
}
