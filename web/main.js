// Puts the page together.
import {ServerError, setKeyQuestion} from './api.js';
import {listModels} from './answers.js';
import {ChatList} from './chat_list.js';
import {openChats} from './chats.js';
import {Conversation} from './conversation.js';
import {byId, element, fitHeight} from './dom.js';
import {Drawer} from './drawer.js';
import {download, fileName, toJson, toMarkdown} from './export.js';
import {askForKey} from './key_dialog.js';
import {PromptPanel} from './prompt_panel.js';
import {SamplerForm, withDefaults} from './settings.js';
import {closeAlternatives} from './token_strip.js';

class Page {
  /** @param {import('./answers.js').Model[]} models @param {any} store @param {any[]} chats */
  constructor(models, store, chats) {
    this.models = models;
    this.store = store;
    this.chats = chats;
    this.box = byId('message');
    this.conversation = new Conversation(store, () => this.model(), {
      changed: () => this.changed(),
      busy: (isBusy) => this.showBusy(isBusy),
      showPrompt: (message) => this.showPromptOf(message),
    });
    this.list = new ChatList(byId('chat-list'), {
      open: (id) => this.open(id),
      rename: (chat, title) => this.rename(chat, title),
      remove: (chat) => this.remove(chat),
    });
    this.sampler = new SamplerForm(byId('panel-sampler'), (settings) => this.setSettings(settings));
    this.prompt = new PromptPanel();
    this.drawer = new Drawer((name) => name === 'prompt' && this.showPrompt());
    this.setUpModels();
    this.setUpComposer();
    this.setUpSides();
    byId('chat-note').hidden = store.kept;
    addEventListener('hashchange', () => this.open(location.hash.slice(1)));
    addEventListener('beforeunload', () => {
      this.conversation.isLeaving = true;
      setTimeout(() => (this.conversation.isLeaving = false), 2000);
    });
    addEventListener('pagehide', () => this.conversation.leave());
    // A page that comes back as it was left would save an answer twice.
    addEventListener('pageshow', (event) => event.persisted && location.reload());
    document.addEventListener('keydown', (event) => this.key(event));
  }

  model() {
    const chosen = byId('model').value;
    return this.models.find(({id}) => id === chosen) ?? this.models[0];
  }

  setUpModels() {
    const chooser = byId('model');
    chooser.replaceChildren(...this.models.map(({id}) => element('option', {value: id}, id)));
    chooser.addEventListener('change', () => {
      this.showModel();
      this.conversation.setModel(chooser.value);
      this.promptChanged();
    });
    this.showModel();
  }

  showModel() {
    const {id, chats} = this.model();
    byId('welcome-about').textContent = chats
      ? `Ask ${id} something.`
      : `${id} was not trained to chat: it goes on with the text that you begin.`;
    this.box.placeholder = chats ? `Message ${id}` : 'Begin a text';
    byId('system-note').hidden = chats;
  }

  setUpComposer() {
    const send = async () => {
      const text = this.box.value;
      if (text.trim() === '' || this.conversation.isBusy) return;
      this.box.value = '';
      this.draftChanged();
      if ((await this.conversation.send(text)) || this.box.value !== '') return;
      this.box.value = text;
      this.draftChanged();
    };
    byId('composer').addEventListener('submit', (/** @type {Event} */ event) => {
      event.preventDefault();
      send();
    });
    this.box.addEventListener('keydown', (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    });
    this.box.addEventListener('input', () => this.draftChanged());
    byId('stop').addEventListener('click', () => this.conversation.stop());
    this.draftChanged();
  }

  draftChanged() {
    fitHeight(this.box);
    byId('send').disabled = this.box.value.trim() === '';
    this.promptChanged();
  }

  setUpSides() {
    byId('new-chat').addEventListener('click', () => this.startNew());
    const side = (/** @type {boolean} */ isOpen) => {
      document.body.classList.toggle('side-open', isOpen);
      byId('side-open').setAttribute('aria-expanded', String(isOpen));
    };
    byId('side-open').addEventListener('click', () => side(!document.body.classList.contains('side-open')));
    byId('side-close').addEventListener('click', () => side(false));
    byId('scrim').addEventListener('click', () => side(false));
    this.closeSide = () => side(false);
    const system = byId('system');
    system.addEventListener('change', () => this.setSettings({...this.conversation.settings, system: system.value}));
    byId('export-markdown').addEventListener('click', () => this.export('md'));
    byId('export-json').addEventListener('click', () => this.export('json'));
    const menu = byId('export');
    menu.addEventListener('focusout', (/** @type {FocusEvent} */ event) => {
      if (!menu.contains(/** @type {Node} */ (event.relatedTarget))) menu.open = false;
    });
  }

  /** @param {any} settings */
  setSettings(settings) {
    this.sampler.settings = settings;
    this.conversation.setSettings(settings);
    this.promptChanged();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === 'Escape' && !event.defaultPrevented) {
      if (closeAlternatives()) return;
      if (this.conversation.isBusy) this.conversation.stop();
      else if (!this.drawer.close()) this.closeSide?.();
    } else if (event.key === '/' && document.activeElement === document.body) {
      event.preventDefault();
      this.box.focus();
    }
  }

  /** @param {boolean} isBusy */
  showBusy(isBusy) {
    const hadFocus = [byId('send'), byId('stop'), document.body].includes(document.activeElement);
    byId('send').hidden = isBusy;
    byId('stop').hidden = !isBusy;
    if (hadFocus && !isBusy) this.box.focus();
  }

  // Chats

  async changed() {
    const {chat} = this.conversation;
    if (chat && location.hash.slice(1) !== chat.id) history.replaceState(null, '', `#${chat.id}`);
    this.promptChanged();
    await this.reload();
  }

  async reload() {
    try {
      this.chats = await this.store.list();
    } catch {
      // What the user asked for tells of its own failure; the list stays as it was.
    }
    this.showList();
  }

  showList() {
    const current = this.conversation.chat;
    this.list.show(this.chats, current?.id ?? null);
    const title = this.chats.find(({id}) => id === current?.id)?.title;
    document.title = title ? `${title} \u2013 fledge` : 'fledge';
    byId('export').hidden = !current;
  }

  /** @param {string} id */
  async open(id) {
    if (id !== '' && id === this.conversation.chat?.id) return;
    await this.conversation.stop();
    if (id === '') return this.showChat(null);
    try {
      this.showChat(await this.store.read(id));
      if (!this.chats.some((chat) => chat.id === id)) await this.reload();
    } catch (error) {
      this.showChat(null);
      this.conversation.fail(error);
      this.conversation.render();
    }
  }

  /** @param {any} chat */
  showChat(chat) {
    if (chat && this.models.some(({id}) => id === chat.model)) byId('model').value = chat.model;
    this.showModel();
    this.conversation.show(chat);
    this.sampler.show(this.conversation.settings);
    byId('system').value = this.conversation.settings.system;
    this.showList();
    this.closeSide?.();
    this.promptChanged();
    if (matchMedia('(min-width: 800px)').matches) this.box.focus();
  }

  async startNew() {
    await this.conversation.stop();
    history.pushState(null, '', location.pathname);
    this.showChat(null);
    this.box.focus();
  }

  /** @param {any} chat @param {string} title */
  async rename(chat, title) {
    await this.conversation.guard(() => this.store.update(chat.id, {title}));
    const shown = this.conversation.chat;
    if (shown && shown.id === chat.id) shown.title = title;
    await this.reload();
  }

  /** @param {any} chat */
  async remove(chat) {
    if (this.conversation.chat?.id === chat.id) await this.conversation.stop();
    await this.conversation.guard(() => this.store.remove(chat.id));
    if (this.conversation.chat?.id === chat.id) await this.startNew();
    await this.reload();
  }

  /** @param {'md'|'json'} kind */
  export(kind) {
    const {chat, tree, settings} = this.conversation;
    if (!chat) return;
    byId('export').open = false;
    const told = {...chat, settings}, name = fileName(chat.title);
    if (kind === 'md') download(`${name}.md`, 'text/markdown', toMarkdown(told, tree.path()));
    else download(`${name}.json`, 'application/json', toJson(told, tree.messages.values()));
  }

  // The exact prompt

  promptChanged() {
    if (this.drawer?.shown !== 'prompt') return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.showPrompt(), 250);
  }

  /** The prompt that sending the draft would make. */
  showPrompt() {
    const leaf = this.conversation.tree.leaf();
    const question = this.conversation.question(leaf?.id ?? null);
    const draft = this.box.value;
    if (draft.trim() !== '') question.messages = [...question.messages, {role: 'user', content: draft}];
    if (question.messages.length === 0) question.messages = [{role: 'user', content: ''}];
    this.prompt.show(question, draft.trim() === '' ? 'The chat so far' : 'The chat with your draft');
  }

  /** @param {any} message */
  showPromptOf(message) {
    this.drawer.open('prompt');
    clearTimeout(this.timer);
    const question = this.conversation.question(message.parent);
    const model = this.models.find(({id}) => id === message.data.model) ?? question.model;
    const settings = withDefaults(message.data.settings ?? question.settings);
    this.prompt.show({...question, model, settings}, 'The prompt of this answer');
  }
}

async function start() {
  setKeyQuestion(askForKey);
  try {
    const models = await listModels();
    if (models.length === 0) throw new ServerError('This server has no model that writes text; start it with one to chat here.', 0);
    const {store, chats} = await openChats();
    const page = new Page(models, store, chats);
    await page.open(location.hash.slice(1));
    document.body.classList.add('ready');
  } catch (error) {
    const text = error instanceof ServerError ? error.message : `The page could not start: ${error}.`;
    byId('messages').replaceChildren(element('div', {class: 'error', role: 'alert'}, element('p', {}, text)));
    byId('welcome').hidden = true;
    if (!(error instanceof ServerError)) throw error;
  }
}

start();
