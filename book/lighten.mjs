/* Makes the built site light: `node book/lighten.mjs _build/html`.

   The theme and the extensions bring style sheets for any book. Of theirs and ours one file is made, with what some page of this
   book uses; and of the fonts of icons what that file asks for. A page that is built later needs this anew. */

import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { build } from 'esbuild';
import { PurgeCSS } from 'purgecss';
import subsetFont from 'subset-font';

const site = resolve(process.argv[2]);
const shared = join(site, '_static');
const files = readdirSync(site, { recursive: true }).map((name) => join(site, name));
const read = (file) => readFileSync(file, 'utf8');
const hashed = (content) => createHash('sha256').update(content).digest('hex').slice(0, 12);

/** The type of the text. */
const TYPE = 'fonts/source-serif-4-latin-wght-normal.woff2';
/** A few words that painting would wait for. */
const OPTIONS = /<script src="[^"]*documentation_options\.js[^"]*"><\/script>/;
const options = read(join(shared, 'documentation_options.js'));
const SHEET = /<link\b[^>]*\brel="stylesheet"[^>]*>\s*/g;
const pages = files.filter((file) => file.endsWith('.html') && !file.startsWith(shared)).map((file) => ({ file, text: read(file) }));
const scripts = files.filter((file) => file.startsWith(shared) && file.endsWith('.js'));
// What may name a class: pages, and scripts that make parts of them.
const content = [...pages.map(({ text }) => text), ...scripts.map(read)].map((raw) => ({ raw, extension: 'html' }));

/** The addresses in a style sheet, from where the one sheet of all will lie. */
const rebased = {
  name: 'rebased',
  setup(bundle) {
    bundle.onResolve({ filter: /./ }, ({ kind, path, resolveDir }) =>
      kind === 'url-token' && !path.startsWith('data:') ? { path: `./${relative(shared, resolve(resolveDir, path))}`, external: true } : undefined,
    );
  },
};

async function oneSheet(sheets) {
  const contents = sheets.map((sheet) => `@import ${JSON.stringify(sheet)};`).join('\n');
  const { outputFiles } = await build({ stdin: { contents, loader: 'css', resolveDir: '/' }, bundle: true, minify: true, write: false, plugins: [rebased] });
  const [{ css }] = await new PurgeCSS().purge({ content, css: [{ raw: outputFiles[0].text }] });
  return css;
}

/** The style sheet, with fonts of icons that hold no other icons than its own. */
async function withIcons(css) {
  const icons = [...css.matchAll(/\\([ef][0-9a-f]{3})\b/g)].map(([, code]) => String.fromCodePoint(parseInt(code, 16))).join('');
  let found = css;
  for (const font of files.filter((file) => /webfonts\/fa-[^/]+\.woff2$/.test(file))) {
    const small = await subsetFont(readFileSync(font), icons, { targetFormat: 'woff2' });
    const name = font.replace(/\.woff2$/, `.${hashed(small)}.woff2`);
    writeFileSync(name, small);
    found = found.replaceAll(relative(shared, font), relative(shared, name));
  }
  return found;
}

const made = new Map(); // by the sheets that it is made of, the name of one
for (const { file, text } of pages) {
  const links = text.match(SHEET) ?? [];
  const sheets = links.map((link) => resolve(dirname(file), /\bhref="([^"?]*)/.exec(link)[1]));
  if (!sheets.length) continue;
  const key = sheets.join('\n');
  if (!made.has(key)) {
    const css = await withIcons(await oneSheet(sheets));
    const name = `book.${hashed(css)}.css`;
    writeFileSync(join(shared, name), css);
    made.set(key, name);
    console.log(`${name}: ${css.length.toLocaleString('en')} bytes, of ${sheets.length} style sheets`);
  }
  const from = (name) => relative(dirname(file), join(shared, name));
  const link = `<link rel="stylesheet" href="${from(made.get(key))}"/>\n<link rel="preload" as="font" type="font/woff2" crossorigin href="${from(TYPE)}"/>\n`;
  let first = true;
  const light = text.replace(SHEET, () => (first ? ((first = false), link) : '')).replace(OPTIONS, () => `<script>${options}</script>`);
  writeFileSync(file, light);
}
for (const font of files.filter((file) => /webfonts\/fa-/.test(file))) rmSync(font);
