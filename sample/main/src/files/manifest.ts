import { mkdir, open, realpath, rename, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import type { FileDigest } from './digests.js';
import { fileHasher } from './hash.js';
import { absolute, type WalkOptions } from './walk.js';

/** A checkpoint: what the manifest holds, however many files that are, in four values. */
export interface ManifestState {
  readonly files: number;
  /** Bytes of those files. */
  readonly bytes: number;
  /** Bytes of the manifest itself. */
  readonly length: number;
  /** The last file: each char is one byte, so that a name that is no text survives as JSON. */
  readonly last: string;
}

const EMPTY: ManifestState = { files: 0, bytes: 0, length: 0, last: '' };

const SYNC_EVERY_MS = 250;

/**
 * A list of files and their digests that grows line by line in `<path>.part`, and becomes `<path>`
 * when it is whole. A killed process may have written more than its last checkpoint knows: opening
 * at a state cuts that off.
 */
export class Manifest {
  readonly path: string;
  readonly #handle: FileHandle;
  #state: ManifestState;
  #syncedAt = performance.now();

  private constructor(path: string, handle: FileHandle, state: ManifestState) {
    this.path = path;
    this.#handle = handle;
    this.#state = state;
  }

  /** Opens it to go on at a checkpoint; anything that is not one, or has lost its file, starts afresh. */
  static async open(file: string, checkpoint: unknown): Promise<Manifest> {
    await mkdir(path.dirname(file), { recursive: true });
    const real = path.join(await realpath(path.dirname(file)), path.basename(file));
    const handle = await open(part(real), 'a+');
    const { size } = await handle.stat();
    const state = isState(checkpoint) && checkpoint.length <= size ? checkpoint : EMPTY;
    await handle.truncate(state.length);
    return new Manifest(real, handle, state);
  }

  get state(): ManifestState {
    return this.#state;
  }

  /** What a walk of the folder has still to bring. */
  restOf(folder: string): WalkOptions {
    const own = [this.path, part(this.path)].map((file) => Buffer.from(file));
    return {
      after: this.#state.files === 0 ? undefined : Buffer.from(this.#state.last, 'latin1'),
      except: (file) => own.some((path) => path.equals(absolute(folder, file))),
    };
  }

  /** Adds a line just as `sha256sum` prints it. */
  async append({ path: file, bytes, sha256 }: FileDigest): Promise<void> {
    const line = manifestLine(sha256, file);
    await this.#handle.appendFile(line);
    this.#state = {
      files: this.#state.files + 1,
      bytes: this.#state.bytes + bytes,
      length: this.#state.length + line.length,
      last: file.toString('latin1'),
    };
    await this.#sync();
  }

  /** Puts it in its place and resolves with its own digest. */
  async finish(): Promise<string> {
    await this.#handle.datasync();
    await rename(part(this.path), this.path);
    return fileHasher()(this.path);
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  // What was written outlives the process at once, the machine only after a sync. That costs
  // 0.3 ms here and ten times as much elsewhere, so not every line pays for one: after a power cut
  // the file may be shorter than the checkpoint says, which `open` sees.
  async #sync(): Promise<void> {
    if (performance.now() - this.#syncedAt < SYNC_EVERY_MS) return;
    await this.#handle.datasync();
    this.#syncedAt = performance.now();
  }
}

/** `<hex>  <path>`; a path with a backslash or a line break is escaped and the line says so. */
export function manifestLine(sha256: string, file: Buffer): Buffer {
  const name = file.toString('latin1');
  const escaped = name.replaceAll(/[\\\n\r]/g, (char) => ESCAPES[char] ?? char);
  const mark = escaped === name ? '' : '\\';
  return Buffer.from(`${mark}${sha256}  ${escaped}\n`, 'latin1');
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r' };

function part(file: string): string {
  return `${file}.part`;
}

function isState(value: unknown): value is ManifestState {
  return (
    typeof value === 'object' &&
    value !== null &&
    'length' in value &&
    typeof value.length === 'number' &&
    'last' in value &&
    typeof value.last === 'string'
  );
}
