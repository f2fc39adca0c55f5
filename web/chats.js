// Where chats are kept: by the server, or, where it keeps none (--no-chats), in this page until it is closed.
import {call, callAndLeave, ServerError} from './api.js';

/**
 * @typedef {{id: string, parent: string|null, role: string, content: string, data: any, created: number}} Message
 * @typedef {{id: string, title: string, model: string, created: number, updated: number, current_message: string|null,
 *            settings: any, messages: Message[]}} Chat
 */

/** @param {string[]} parts */
const path = (...parts) => ['/api/chats', ...parts.map(encodeURIComponent)].join('/');

export class ServerChats {
  kept = true;
  /** @returns {Promise<Chat[]>} newest first, without messages */
  async list() {
    return (await call('GET', path())).chats;
  }
  /** @param {{title: string, model: string, settings: any}} fields @returns {Promise<Chat>} */
  async create(fields) {
    return {...(await call('POST', path(), fields)), messages: []};
  }
  /** @param {string} chat @returns {Promise<Chat>} */
  read(chat) {
    return call('GET', path(chat));
  }
  /** @param {string} chat @param {Partial<Chat>} fields */
  update(chat, fields) {
    return call('PATCH', path(chat), fields);
  }
  /** @param {string} chat */
  remove(chat) {
    return call('DELETE', path(chat));
  }
  /** @param {string} chat @param {Partial<Message>} fields @returns {Promise<Message>} */
  add(chat, fields) {
    return call('POST', path(chat, 'messages'), fields);
  }
  /** @param {string} chat @param {string} message @param {Partial<Message>} fields */
  change(chat, message, fields) {
    return call('PATCH', path(chat, 'messages', message), fields);
  }
  /**
   * Adds or changes a message while the page is going away.
   * @param {string} chat
   * @param {Message} message
   * @param {boolean} isNew
   */
  saveAndLeave(chat, message, isNew) {
    // A browser sends no more than 64 KiB then: the text goes, the tokens do not.
    const data = {...message.data, tokens: undefined};
    const fields = {role: message.role, content: message.content.slice(0, 20000), parent: message.parent, data};
    if (isNew) callAndLeave('POST', path(chat, 'messages'), fields);
    else callAndLeave('PATCH', path(chat, 'messages', message.id), {content: fields.content});
  }
}

export class PageChats {
  kept = false;
  /** @type {Map<string, Chat>} */
  #chats = new Map();
  #count = 0;
  async list() {
    return [...this.#chats.values()].sort((a, b) => b.updated - a.updated);
  }
  /** @param {any} fields */
  async create(fields) {
    const now = Date.now();
    const chat = {...fields, id: `page_${++this.#count}`, created: now, updated: now, current_message: null, messages: []};
    this.#chats.set(chat.id, chat);
    return structuredClone(chat);
  }
  /** @param {string} chat */
  async read(chat) {
    return structuredClone(this.#find(chat));
  }
  /** @param {string} chat @param {any} fields */
  async update(chat, fields) {
    Object.assign(this.#find(chat), structuredClone(fields), {updated: Date.now()});
  }
  /** @param {string} chat */
  async remove(chat) {
    this.#chats.delete(chat);
  }
  /** @param {string} chat @param {any} fields */
  async add(chat, fields) {
    const message = {parent: null, data: {}, ...structuredClone(fields), id: `page_${++this.#count}`, created: Date.now()};
    this.#find(chat).messages.push(message);
    this.#find(chat).current_message = message.id;
    return structuredClone(message);
  }
  /** @param {string} chat @param {string} message @param {any} fields */
  async change(chat, message, fields) {
    Object.assign(this.#find(chat).messages.find((each) => each.id === message) ?? {}, structuredClone(fields));
  }
  saveAndLeave() {}

  /** @param {string} chat */
  #find(chat) {
    const found = this.#chats.get(chat);
    if (!found) throw new ServerError('There is no such chat.', 404, 'chat_not_found');
    return found;
  }
}

/**
 * The store to use, and what is in it.
 * @returns {Promise<{store: ServerChats|PageChats, chats: Chat[]}>}
 */
export async function openChats() {
  const store = new ServerChats();
  try {
    return {store, chats: await store.list()};
  } catch (error) {
    if (error instanceof ServerError && error.status === 404) return {store: new PageChats(), chats: []};
    throw error;
  }
}
