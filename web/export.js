// A chat as a file: Markdown for people (the branch that is shown), JSON for programs (all of it).

/** @typedef {import('./chats.js').Message} Message */

/** @param {{title: string, settings?: any}} chat @param {Message[]} path */
export function toMarkdown(chat, path) {
  const parts = [`# ${chat.title.trim() || 'Chat'}`];
  if (chat.settings?.system) parts.push(`**System**\n\n${chat.settings.system}`);
  for (const {role, content, data} of path) {
    const who = role === 'assistant' ? `Assistant${data?.model ? ` (${data.model})` : ''}` : role === 'user' ? 'User' : role;
    parts.push(`**${who}**\n\n${content.trim()}`);
  }
  return parts.join('\n\n') + '\n';
}

/** @param {any} chat @param {Iterable<Message>} messages */
export function toJson(chat, messages) {
  return JSON.stringify({...chat, messages: [...messages]}, null, 1) + '\n';
}

/**
 * A file's name from a title.
 * @param {string} title
 */
export function fileName(title) {
  const letters = title.normalize('NFKC').replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-+|-+$/g, '').slice(0, 60).toLowerCase();
  return letters || 'chat';
}

/**
 * Hands a text to the browser as a file.
 * @param {string} name
 * @param {string} type
 * @param {string} text
 */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], {type}));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
