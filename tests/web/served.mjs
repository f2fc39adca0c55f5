// A tiny model that is trained on the spot, and fledge serving it.
import {execFileSync, spawn} from 'node:child_process';
import {cpSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';

const template = `{% for message in messages %}<|{{ message.role }}|>{{ message.content }}
{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}`;

const recipe = `precision = "f32"
steps = 120
[model]
n_layer = 2
n_head = 2
n_embd = 32
n_positions = 16384
[data]
path = "data"
[optimizer]
learning_rate = 1e-2
[schedule]
warmup_steps = 5
[batch]
sequences = 8
sequence_length = 32
[checkpoints]
every = 120
[run]
seed = 3
out = "run"
`;

/** Makes two models in a folder: "parrot", which chats, and "plain", which has no chat template. @param {string} fledge @param {string} folder */
export function makeModels(fledge, folder) {
  const lines = [];
  for (let line = 1; line <= 600; ++line) {
    lines.push(`Line ${line} of a little text about number ${(line * 7919) % 1000} and the sea, the sea, the ${line % 13} seas.`);
  }
  writeFileSync(join(folder, 'text.txt'), lines.join('\n') + '\n');
  writeFileSync(join(folder, 'recipe.toml'), recipe);
  const run = (/** @type {string[]} */ ...words) => execFileSync(fledge, words, {cwd: folder, stdio: ['ignore', 'ignore', 'pipe']});
  run('tokenizer', 'train', '--kind', 'bpe', '--vocab-size', '320', '--input', 'text.txt', '--out', 'tokenizer');
  run('data', 'prepare', '--input', 'text.txt', '--tokenizer', 'tokenizer', '--out', 'data');
  run('train', 'recipe.toml', '--quiet');
  cpSync(join(folder, 'run', 'checkpoints', 'step-000120'), join(folder, 'plain'), {recursive: true});
  cpSync(join(folder, 'plain'), join(folder, 'parrot'), {recursive: true});
  writeFileSync(join(folder, 'parrot', 'chat_template.jinja'), template);
  return [join(folder, 'parrot'), join(folder, 'plain')];
}

/** @param {string} fledge @param {string[]} args @returns {Promise<{address: string, stop: () => Promise<void>}>} */
export async function serve(fledge, args) {
  const server = spawn(fledge, ['serve', ...args], {stdio: ['ignore', 'pipe', 'pipe']});
  let said = '';
  const ended = new Promise((resolve) => server.once('exit', resolve));
  const address = await new Promise((resolve, reject) => {
    const listen = (/** @type {Buffer} */ piece) => {
      said += piece;
      const found = /serving at (\S+)/.exec(said);
      if (found) resolve(found[1]);
    };
    server.stdout.on('data', listen);
    server.stderr.on('data', listen);
    server.once('exit', () => reject(new Error(`fledge serve ended: ${said}`)));
  });
  const stop = async () => {
    server.kill('SIGINT');
    const timer = setTimeout(() => server.kill('SIGKILL'), 10000);
    await ended;
    clearTimeout(timer);
  };
  return {address, stop};
}
