import { readFileSync } from 'node:fs';
import path from 'node:path';

/** The version of a peer that bench/ has installed. */
export function versionOf(name) {
  const manifest = path.resolve(import.meta.dirname, '../node_modules', name, 'package.json');
  return JSON.parse(readFileSync(manifest, 'utf8')).version;
}
