// Asks for the key of a server that wants one (fledge serve --api-key).
import {byId} from './dom.js';

/** @type {Promise<string|null>|null} */
let asking = null;

/** @param {string} why @returns {Promise<string|null>} null: the user gave none */
export function askForKey(why) {
  asking ??= new Promise((resolve) => {
    const dialog = byId('key-dialog');
    byId('key-why').textContent = why;
    dialog.addEventListener('close', () => {
      asking = null;
      const key = byId('key-text').value.trim();
      resolve(dialog.returnValue === 'use' && key !== '' ? key : null);
    }, {once: true});
    byId('key-cancel').onclick = () => dialog.close();
    byId('key-text').value = '';
    dialog.returnValue = '';
    dialog.showModal();
  });
  return asking;
}
