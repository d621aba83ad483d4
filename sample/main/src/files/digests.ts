import { fileHasher } from './hash.js';
import { absolute, unreadable, walk, type WalkOptions } from './walk.js';

/** One file of a folder. */
export interface FileDigest {
  readonly path: Buffer;
  readonly bytes: number;
  readonly sha256: string;
}

/** Where to go on, what to leave out, what stops it, and who counts. */
export interface DigestOptions extends WalkOptions {
  /** Called while a file is read, with its bytes so far. */
  readonly onBytes: (bytes: number) => void;
}

/** The digest of one file after the other, in the order of a walk. */
export async function* digests(folder: string, options: DigestOptions): AsyncGenerator<FileDigest> {
  let bytes = 0;
  const hash = fileHasher({
    signal: options.signal,
    onBytes: (more) => options.onBytes((bytes += more)),
  });
  for await (const path of walk(folder, options)) {
    bytes = 0;
    const sha256 = await hash(absolute(folder, path)).catch(unreadable(path));
    yield { path, bytes, sha256 };
  }
}
