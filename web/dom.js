// Building elements. Text always goes in as text: nothing in the page ever parses HTML.

/**
 * Makes an element. A function becomes a listener ("onclick"), true an empty attribute; false, null and undefined are left
 * out. There is no "style": the page's policy forbids it, and what is computed goes through element.style.
 * @param {string} tag
 * @param {Object<string, any>} [attributes]
 * @param {...(Node|string|null|undefined|false)} children
 * @returns {any}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === 'function') made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? '' : String(value));
  }
  for (const child of children) {
    if (child !== false && child !== null && child !== undefined) made.append(child);
  }
  return made;
}

/** @param {string} id @returns {any} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no element "${id}"`);
  return found;
}

// 24 x 24, drawn with a stroke.
const shapes = {
  plus: 'M12 5v14M5 12h14',
  close: 'M6 6l12 12M18 6L6 18',
  menu: 'M4 7h16M4 12h16M4 17h16',
  copy: 'M9 9h10v11H9zM5 15V4h10',
  done: 'M5 12.5l4.5 4.5L19 7.5',
  edit: 'M4 20l1-4L16 5l3 3L8 19zM14 7l3 3',
  again: 'M19 6v5h-5M18.5 11A7 7 0 1 0 18 16',
  left: 'M14 6l-6 6 6 6',
  right: 'M10 6l6 6-6 6',
  remove: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13',
  tokens: 'M4 6h6v5H4zM13 6h7v5h-7zM4 14h9v5H4zM16 14h4v5h-4z',
  prompt: 'M4 5h16v14H4zM8 9l3 3-3 3M13 15h4',
  onward: 'M5 12h13M13 7l5 5-5 5',
};

/** @param {keyof typeof shapes} name @returns {SVGElement} */
export function icon(name) {
  const space = 'http://www.w3.org/2000/svg';
  const drawing = document.createElementNS(space, 'svg');
  drawing.setAttribute('viewBox', '0 0 24 24');
  drawing.setAttribute('class', 'icon');
  drawing.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(space, 'path');
  path.setAttribute('d', shapes[name]);
  drawing.append(path);
  return drawing;
}

/**
 * A button that shows only a picture.
 * @param {keyof typeof shapes} name
 * @param {string} label
 * @param {() => any} action
 */
export function iconButton(name, label, action) {
  return element('button', {type: 'button', class: 'quiet', title: label, 'aria-label': label, onclick: action}, icon(name));
}

/**
 * A button that copies, and shows that it did.
 * @param {string} label
 * @param {() => string} text
 */
export function copyButton(label, text) {
  const button = iconButton('copy', label, async () => {
    const done = await copyText(text());
    button.replaceChildren(icon(done ? 'done' : 'close'));
    announce(done ? 'Copied' : 'The browser did not let this page copy');
    setTimeout(() => button.replaceChildren(icon('copy')), 1500);
  });
  return button;
}

/** @param {string} text @returns {Promise<boolean>} */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Browsers give the clipboard to secure pages only; this older way works on others too.
    const area = element('textarea', {class: 'offscreen', 'aria-hidden': 'true'});
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

/**
 * Tells a screen reader something that the eye sees elsewhere.
 * @param {string} text
 */
export function announce(text) {
  byId('announcements').textContent = text;
}

/**
 * Makes a text area as high as its text.
 * @param {HTMLTextAreaElement} area
 */
export function fitHeight(area) {
  area.style.height = 'auto';
  area.style.height = `${area.scrollHeight + 2}px`;
}
