// Asking a model: the requests for models that chat and for those that only continue a text, and their answers.
import {call, stream} from './api.js';
import {readTokens} from './tokens.js';
import {samplingFields} from './settings.js';

/**
 * @typedef {{id: string, chats: boolean, contextLength: number}} Model
 * @typedef {{model: Model, messages: {role: string, content: string}[], settings: any, prefix: string}} Question
 *   `messages` without the system's; `prefix`: how the answer begins
 */

/**
 * The models that write text.
 * @returns {Promise<Model[]>}
 */
export async function listModels() {
  const {data} = await call('GET', '/v1/models');
  const writers = data.filter((/** @type {any} */ model) => model.fledge?.text !== false);
  return writers.map((/** @type {any} */ model) => ({
    id: model.id,
    chats: model.fledge?.chat !== false,
    contextLength: model.fledge?.context_length ?? 0,
  }));
}

/** @param {Question} question */
function chatBody({model, messages, settings, prefix}) {
  const all = messages.map(({role, content}) => ({role, content}));
  if (settings.system) all.unshift({role: 'system', content: settings.system});
  if (prefix !== '') all.push({role: 'assistant', content: prefix});
  return {model: model.id, messages: all, ...(prefix === '' ? {} : {continue_final_message: true})};
}

/**
 * What a model without a chat template continues: everything that was written, as one text.
 * @param {Question} question
 */
const plainPrompt = ({messages, prefix}) => messages.map(({content}) => content).join('') + prefix;

/**
 * The exact text that the model is given.
 * @param {Question} question
 * @returns {Promise<{prompt: string, count: number}>}
 */
export async function renderPrompt(question) {
  if (question.model.chats) {
    const {prompt, token_count: count} = await call('POST', '/apply-template', chatBody(question));
    return {prompt, count};
  }
  const prompt = plainPrompt(question);
  const {count} = await call('POST', '/tokenize', {model: question.model.id, content: prompt, add_special: true});
  return {prompt, count};
}

/**
 * The answer in pieces: text, tokens with their probabilities, and at the end why it ended and how long it took.
 * @param {Question} question
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<{text: string, tokens: import('./tokens.js').Token[], finish: string|null, timings: any}>}
 */
export async function* ask(question, signal) {
  const {model, settings} = question;
  const body = {...samplingFields(settings), stream: true};
  const chunks = model.chats
    ? stream('/v1/chat/completions', {...chatBody(question), ...body}, signal)
    : stream('/v1/completions', {model: model.id, prompt: plainPrompt(question), ...body}, signal);
  for await (const chunk of chunks) {
    const choice = chunk.choices[0];
    yield {
      text: choice?.delta?.content ?? choice?.text ?? '',
      tokens: readTokens(chunk.fledge?.tokens ?? []),
      finish: choice?.finish_reason ?? null,
      timings: chunk.fledge?.timings ?? null,
    };
  }
}
