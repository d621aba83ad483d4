import { Injectable, Logger } from '@nestjs/common';
import { createRequire } from 'node:module';
import path from 'node:path';

/** Says what is known to go wrong. It needs nothing, so that it is made before any database is opened. */
@Injectable()
export class JobsAdvice {
  readonly #logger = new Logger('JobsModule');

  constructor() {
    const trouble = knownTrouble(process.versions.node, installedVersion('better-sqlite3'));
    if (trouble !== undefined) {
      this.#logger.error(trouble);
    }
  }
}

/**
 * better-sqlite3 12 built against the headers of Node 24.19 or later aborts the process when its
 * statements are collected (nodejs/node#65446); version 13 and sqlite3 6 do not.
 */
function knownTrouble(node: string, betterSqlite3: string | undefined): string | undefined {
  const [major = 0, minor = 0] = node.split('.').map(Number);
  const isAffected = (major === 24 && minor >= 19) || major > 24;
  return isAffected && betterSqlite3?.startsWith('12.') === true
    ? `better-sqlite3 ${betterSqlite3} may abort the process on Node ${node}. Install better-sqlite3 13 with an npm override, "overrides": { "typeorm": { "better-sqlite3": "$better-sqlite3" } }, or run on Node 22 or 20.`
    : undefined;
}

function installedVersion(name: string): string | undefined {
  try {
    const manifest: unknown = createRequire(path.join(process.cwd(), 'index.js'))(
      `${name}/package.json`,
    );
    return typeof manifest === 'object' && manifest !== null && 'version' in manifest
      ? String(manifest.version)
      : undefined;
  } catch {
    return undefined; // Not installed here: then it is not used.
  }
}
