import { mkdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { UnrecoverableJobError } from 'nestjs-jobs';
import { fileHasher } from '../files/hash.js';

/** Refuses a target that a download could not be moved to in the end, and makes its folder. */
export async function checkTarget(target: string): Promise<void> {
  await mkdir(path.dirname(target), { recursive: true });
  const there = await stat(target).catch(() => undefined);
  if (there !== undefined && !there.isFile()) {
    throw new UnrecoverableJobError(`${target} exists and is not a file: give another path.`);
  }
}

/** Resolves with the file's SHA-256. One that is not as expected is deleted, for good. */
export async function verify(
  file: string,
  expected: { bytes: number; size?: number | null; sha256?: string | null; signal: AbortSignal },
): Promise<string> {
  if ((expected.size ?? expected.bytes) !== expected.bytes) {
    await discard(file, `has ${expected.bytes} bytes instead of ${expected.size}`);
  }
  const sha256 = await fileHasher({ signal: expected.signal })(file);
  const wanted = expected.sha256?.toLowerCase() ?? sha256;
  if (wanted !== sha256) {
    await discard(file, `has the SHA-256 ${sha256} instead of ${wanted}`);
  }
  return sha256;
}

/** Deletes what was downloaded; the job fails, because another try would bring the same. */
export async function discard(file: string, what: string): Promise<never> {
  await rm(file, { force: true });
  throw new UnrecoverableJobError(`What was downloaded ${what}; it was deleted.`);
}
