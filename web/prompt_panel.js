// The exact text that a model is given, with the marks of its chat template made visible.
import {ServerError} from './api.js';
import {renderPrompt} from './answers.js';
import {byId, element} from './dom.js';

/** Marks such as <|im_start|>, <s>, [INST]. */
const marks = /(<\|[^|<>\n]{1,40}\|>|<\/?s>|\[\/?[A-Z_]{3,20}\]|<\/?[a-z]+_of_[a-z]+>)/;

/**
 * A prompt's parts: those at odd places are marks of a template.
 * @param {string} prompt
 */
export const splitMarks = (prompt) => prompt.split(marks);

export class PromptPanel {
  constructor() {
    this.text = byId('prompt-exact');
    this.about = byId('prompt-about');
    this.number = 0;
  }

  /** @param {import('./answers.js').Question} question @param {string} what is told above it */
  async show(question, what) {
    const number = ++this.number;
    try {
      const {prompt, count} = await renderPrompt(question);
      if (number !== this.number) return;
      const parts = splitMarks(prompt).map((part, index) => (index % 2 === 1 ? element('mark', {}, part) : part));
      this.text.replaceChildren(...parts);
      const room = question.model.contextLength ? ` of ${question.model.contextLength}` : '';
      this.about.textContent = `${what}: ${count}${room} tokens for ${question.model.id}.`;
      this.about.classList.toggle('over', question.model.contextLength > 0 && count >= question.model.contextLength);
    } catch (error) {
      if (number !== this.number) return;
      this.text.replaceChildren();
      this.about.textContent = error instanceof ServerError ? error.message : String(error);
    }
  }
}
