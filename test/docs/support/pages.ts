import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../../..');

/** A page of the documentation, by its path from the repository's root. */
export function readPage(file: string): string {
  return readFileSync(path.join(root, file), 'utf8');
}

/** The Markdown pages of a folder, by name. */
export function pagesIn(folder: string): string[] {
  return readdirSync(path.join(root, folder))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `${folder}/${file}`)
    .sort();
}

/** What a page's fences of a language hold, in order. */
export function fences(text: string, language: string): string[] {
  const pattern = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms');
  return [...text.matchAll(pattern)].map((match) => match[1] ?? '');
}

/** The rows of the table under a heading, cell by cell, without its head. */
export function tableUnder(text: string, heading: string): string[][] {
  const lines = text.split('\n');
  const from = lines.indexOf(heading);
  if (from < 0) throw new Error(`The page has no heading "${heading}".`);
  const start = lines.findIndex((line, index) => index > from && line.startsWith('|'));
  const rest = lines.slice(start);
  const end = rest.findIndex((line) => !line.startsWith('|'));
  return rest.slice(0, end < 0 ? undefined : end).flatMap((line, index) => {
    const cells = line.split(/(?<!\\)\|/).slice(1, -1);
    return index === 1 ? [] : [cells.map((cell) => cell.trim())];
  });
}

/** The words that a cell has in backticks. */
export function words(cell: string | undefined): string[] {
  return [...(cell ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
}
