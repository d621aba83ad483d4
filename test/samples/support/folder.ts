import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { onTestFinished } from 'vitest';

/** An empty folder that is gone when the test has ended, or the file with `afterAll`. */
export function temporaryFolder(later: (step: () => void) => void = onTestFinished): string {
  const folder = mkdtempSync(path.join(realpathSync(tmpdir()), 'jobs-sample-'));
  later(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
