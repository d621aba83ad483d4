import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { JobType, type JobContext, type JobHandler } from 'nestjs-jobs';
import { settings } from '../settings.js';
import { DigestParams } from './digest.params.js';
import { fileHasher } from './hash.js';
import { Manifest, type ManifestState } from './manifest.js';
import { absolute, bytesIn, unreadable, walk } from './walk.js';

export interface DigestResult {
  readonly files: number;
  readonly bytes: number;
  readonly manifest: string;
  /** Digest of the manifest. */
  readonly sha256: string;
}

@JobType({
  group: 'files',
  name: 'digest',
  description: 'SHA-256 of every file below a folder, listed as sha256sum does',
  params: DigestParams,
  suspendable: true,
})
export class DigestHandler implements JobHandler<DigestParams, DigestResult> {
  async execute(ctx: JobContext<DigestParams>): Promise<DigestResult> {
    const folder = await realpath(ctx.params.folder);
    const target = path.resolve(
      ctx.params.manifest ?? path.join(settings.dataFolder, `${ctx.job.id}.sha256`),
    );
    const manifest = await Manifest.open(target, ctx.state);
    try {
      await this.#digest(ctx, folder, manifest);
      const { files, bytes } = manifest.state;
      return { files, bytes, manifest: target, sha256: await manifest.finish() };
    } finally {
      await manifest.close();
    }
  }

  async #digest(ctx: JobContext<DigestParams>, folder: string, manifest: Manifest) {
    const { signal } = ctx;
    const before: ManifestState = manifest.state;
    const except = (file: Buffer) => manifest.isOwn(absolute(folder, file));
    const rest = { after: manifest.last, except, signal };
    const total = before.bytes + (await bytesIn(folder, rest));
    ctx.log.info(`${folder}: ${total} bytes, ${before.files} files are done`, { ...before });
    let read = 0;
    const onBytes = (bytes: number) => {
      const completed = manifest.state.bytes + (read += bytes);
      ctx.progress({ completed, total: Math.max(total, completed) }); // files grow
    };
    const hash = fileHasher({ signal, onBytes });
    for await (const file of walk(folder, rest)) {
      read = 0;
      const sha256 = await hash(absolute(folder, file)).catch(unreadable(file));
      await manifest.append(sha256, file, read);
      await ctx.checkpoint(manifest.state);
    }
    ctx.log.info(`hashed ${manifest.state.files - before.files} files in this run`);
  }
}
