// The page's modules for Node: those named .js are modules for it only beside a package.json, which the page has no use for.
import {cpSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath, pathToFileURL} from 'node:url';

const folder = mkdtempSync(join(tmpdir(), 'fledge-web-'));
process.on('exit', () => rmSync(folder, {recursive: true, force: true}));
cpSync(fileURLToPath(new URL('../../web', import.meta.url)), folder, {recursive: true});
writeFileSync(join(folder, 'package.json'), '{"type": "module"}');

/** @param {string} name */
export const pageModule = (name) => import(pathToFileURL(join(folder, name)).href);
