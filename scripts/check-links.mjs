// Does every link of every tracked markdown file lead to a tracked file, and to a heading that exists?
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const tracked = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' })
  .split('\0')
  .filter((file) => file !== '' && existsSync(path.join(root, file)));
const folders = new Set(tracked.flatMap((file) => parentsOf(file)));
const pages = tracked.filter((file) => file.endsWith('.md'));

const broken = pages.flatMap((page) =>
  linksOf(page).flatMap(({ line, link }) => {
    const problem = problemOf(page, link);
    return problem === undefined ? [] : [`${page}:${line} → ${link} (${problem})`];
  }),
);
for (const complaint of broken) console.error(complaint);
const count = pages.reduce((sum, page) => sum + linksOf(page).length, 0);
console.log(`${count} links in ${pages.length} pages, ${broken.length} broken`);
process.exitCode = broken.length === 0 ? 0 : 1;

function problemOf(page, link) {
  if (/^[a-z][a-z0-9+.-]*:/i.test(link)) return undefined;
  const [file, anchor] = link.split('#', 2);
  const target =
    file === '' ? page : path.posix.join(path.posix.dirname(page), decodeURIComponent(file));
  const name = target.replace(/\/$/, '');
  if (name.startsWith('..')) return 'outside of the repository';
  if (folders.has(name)) return undefined;
  if (!tracked.includes(name)) return 'no such tracked file';
  const hasHeadings = anchor !== undefined && name.endsWith('.md');
  return hasHeadings && !anchorsOf(name).has(anchor) ? 'no such heading' : undefined;
}

function linksOf(page) {
  return prose(page).flatMap((text, index) => {
    const inline = [...text.matchAll(/\]\(\s*<?([^)\s>]+)>?(?:\s+["'][^)]*)?\)/g)];
    const named = [...text.matchAll(/^\s*\[[^\]]+\]:\s*<?([^\s>]+)/g)];
    const html = [...text.matchAll(/\b(?:href|src)="([^"]+)"/g)];
    return [...inline, ...named, ...html].map((match) => ({ line: index + 1, link: match[1] }));
  });
}

/** The lines of a page, with code blanked. */
function prose(page) {
  let fence;
  return read(page).map((text) => {
    const mark = /^\s*(`{3,}|~{3,})/.exec(text)?.[1];
    if (fence === undefined && mark === undefined) return text.replace(/(`+).*?\1/g, '');
    if (fence === undefined) fence = mark;
    else if (mark?.startsWith(fence)) fence = undefined;
    return '';
  });
}

/** The anchors that a page's headings get where such pages are shown. */
function anchorsOf(page) {
  const seen = new Map();
  const anchors = new Set();
  let isCode = false;
  for (const text of read(page)) {
    if (/^\s*(```|~~~)/.test(text)) isCode = !isCode;
    const heading = isCode ? undefined : /^#{1,6}\s+(.*?)\s*#*$/.exec(text)?.[1];
    for (const [, id] of text.matchAll(/\b(?:id|name)="([^"]+)"/g)) anchors.add(id);
    if (heading === undefined) continue;
    const slug = heading
      .toLowerCase()
      .replace(/\]\([^)]*\)/g, '')
      .replace(/[^\p{L}\p{N}\p{M} _-]/gu, '')
      .replaceAll(' ', '-');
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  return anchors;
}

function read(page) {
  return readFileSync(path.join(root, page), 'utf8').split('\n');
}

function parentsOf(file) {
  const parents = ['.'];
  for (let parent = path.posix.dirname(file); parent !== '.'; parent = path.posix.dirname(parent)) {
    parents.push(parent);
  }
  return parents;
}
