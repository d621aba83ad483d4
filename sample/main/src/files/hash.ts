import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';

// Large enough that a call costs little, small enough that hashing it (0.2 ms) holds nobody up.
const CHUNK = 256 * 1024;

/** What watches and stops the reading of a file. */
export interface HashOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called after each chunk with its length. */
  readonly onBytes?: (bytes: number) => void;
}

/** A function that gives the SHA-256 of one file after the other, in hex; one at a time. */
export function fileHasher(options: HashOptions = {}): (file: string | Buffer) => Promise<string> {
  const chunk = Buffer.allocUnsafe(CHUNK);
  return async (file) => {
    const handle = await open(file);
    try {
      return await hash(handle, chunk, options);
    } finally {
      await handle.close();
    }
  };
}

async function hash(handle: FileHandle, chunk: Buffer, options: HashOptions): Promise<string> {
  const sha256 = createHash('sha256');
  for (;;) {
    options.signal?.throwIfAborted();
    const { bytesRead } = await handle.read(chunk, 0, CHUNK);
    if (bytesRead === 0) return sha256.digest('hex');
    sha256.update(chunk.subarray(0, bytesRead));
    options.onBytes?.(bytesRead);
  }
}
