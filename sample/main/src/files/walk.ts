import { lstat, readdir } from 'node:fs/promises';
import path from 'node:path';

/** Where a walk goes on, and what stops it. */
export interface WalkOptions {
  /** Only files whose path comes after this one. */
  readonly after?: Buffer | undefined;
  /** Files to leave out. */
  readonly except?: (file: Buffer) => boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The regular files below a folder, as `./a/b`, in byte order of their paths, which is the order of
 * `find . -type f | LC_ALL=C sort`. Symbolic links are not followed. Paths are bytes, for a file
 * name need not be text.
 */
export async function* walk(folder: string, options: WalkOptions = {}): AsyncGenerator<Buffer> {
  yield* descend(folder, Buffer.from('./'), options);
}

/** The sizes of those files, added up. */
export async function bytesIn(folder: string, options: WalkOptions = {}): Promise<number> {
  let bytes = 0;
  for await (const file of walk(folder, options)) {
    bytes += (await lstat(absolute(folder, file)).catch(unreadable(file))).size;
  }
  return bytes;
}

/** The path to open for a path that a walk gave. */
export function absolute(folder: string, file: Buffer): Buffer {
  return Buffer.concat([Buffer.from(folder + path.sep), file.subarray(2)]);
}

/** Turns an error of the file system into one that names the file as the walk does. */
export function unreadable(file: Buffer): (error: unknown) => never {
  return (error) => {
    if (error instanceof Error && error.name === 'AbortError') throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot read ${file.toString()}: ${reason}`, { cause: error });
  };
}

async function* descend(
  folder: string,
  prefix: Buffer,
  options: WalkOptions,
): AsyncGenerator<Buffer> {
  options.signal?.throwIfAborted();
  for (const { name, isFolder } of await entriesOf(folder, prefix)) {
    const entry = Buffer.concat([prefix, name]);
    if (isFolder) {
      if (!isBehind(entry, options.after)) yield* descend(folder, entry, options);
    } else if (isWanted(entry, options)) {
      yield entry;
    }
  }
}

// A folder sorts by its name and the slash: then a walk in depth meets whole paths in byte order
// (`a-b` before `a/b`, because `-` comes before `/`).
async function entriesOf(folder: string, prefix: Buffer) {
  const entries = await readdir(absolute(folder, prefix), {
    withFileTypes: true,
    encoding: 'buffer',
  }).catch(unreadable(prefix));
  return entries
    .filter((entry) => entry.isFile() || entry.isDirectory())
    .map((entry) => {
      const isFolder = entry.isDirectory();
      return { name: isFolder ? Buffer.concat([entry.name, SLASH]) : entry.name, isFolder };
    })
    .sort((a, b) => a.name.compare(b.name));
}

const SLASH = Buffer.from('/');

function isWanted(file: Buffer, { after, except }: WalkOptions): boolean {
  return (after === undefined || file.compare(after) > 0) && !(except?.(file) ?? false);
}

/** Whether everything in the folder comes before `after`. */
function isBehind(folder: Buffer, after: Buffer | undefined): boolean {
  return (
    after !== undefined &&
    folder.compare(after) < 0 &&
    folder.compare(after.subarray(0, folder.length)) !== 0
  );
}
