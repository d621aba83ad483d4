import { describe, expect, it } from 'vitest';
import {
  JobType,
  type EnqueuedJob,
  type FailureCause,
  type FlowJob,
  type Job,
  type JobContext,
  type JobFlow,
  type JobHandler,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { waitForEnd, within } from '../support/waiting.js';

@JobType({ name: 'step' })
class Step implements JobHandler {
  execute(ctx: JobContext<{ fails?: boolean }>): void {
    if (ctx.params.fails === true) {
      throw new Error('step broke');
    }
  }
}

/** Jobs in layers, each of which waits for all of the layer above, and `bottom` for the last one; `top` fails. */
function layers(...widths: readonly number[]): JobFlow {
  const flow: Record<string, FlowJob> = { top: { type: Step, params: { fails: true } } };
  let above = ['top'];
  for (const [depth, width] of [...widths, 1].entries()) {
    const names = Array.from({ length: width }, (_, at) =>
      depth === widths.length ? 'bottom' : `${depth}.${at}`,
    );
    for (const name of names) {
      flow[name] = { type: Step, dependsOn: above };
    }
    above = names;
  }
  return flow;
}

type Stored = Readonly<Record<string, EnqueuedJob>>;

/** The graph, and how its last job ended. */
async function failed(
  app: BootedJobs,
  flow: JobFlow,
): Promise<{ readonly stored: Stored; readonly bottom: Job }> {
  const stored = await app.jobs.enqueueFlow(flow);
  const bottom = await waitForEnd(app.jobs, stored['bottom']?.id ?? '', 30_000);
  expect(bottom.status).toBe('failed');
  return { stored, bottom };
}

/** All that are told of, level by level. */
function flat(causes: readonly FailureCause[]): readonly FailureCause[] {
  const all = [...causes];
  for (const cause of all) {
    all.push(...cause.causes);
  }
  return all;
}

describe('the causes of a failure', () => {
  it('nest as deep as the jobs that failed stand behind each other', async () => {
    const app = await bootJobs({ types: [Step] });
    const { stored } = await failed(app, layers(1, 1, 1));
    const { causes } = await app.jobs.dependencies(stored['bottom']?.id ?? '');
    expect(causes).toEqual(
      ['2.0', '1.0', '0.0', 'top'].reduceRight<unknown[]>(
        (behind, key) => [
          {
            id: stored[key]?.id,
            type: 'default:step',
            status: 'failed',
            error: expect.stringContaining('step broke') as string,
            causes: behind,
          },
        ],
        [],
      ),
    );
  });

  it('are told of a job once, where it is met first, level by level', async () => {
    const app = await bootJobs({ types: [Step] });
    const { stored } = await failed(app, {
      top: { type: Step, params: { fails: true } },
      near: { type: Step, dependsOn: ['top'] },
      far: { type: Step, dependsOn: ['near'] },
      other: { type: Step, dependsOn: ['near', 'top'] },
      // `near` is deeper below `far` than here.
      bottom: { type: Step, dependsOn: ['far', 'other', 'near'] },
    });
    const named = (key: string, ...causes: object[]) => ({ id: stored[key]?.id, causes });
    expect((await app.jobs.dependencies(stored['bottom']?.id ?? '')).causes).toMatchObject([
      named('far', named('near')),
      named('other', named('near'), named('top')),
      named('near', named('top')),
    ]);
  });

  it('are told at once where there are more ways to the first failure than anybody can count', async () => {
    const app = await bootJobs({ types: [Step] });
    const { stored, bottom } = await failed(app, layers(...Array<number>(40).fill(2)));
    const { causes } = await within(app.jobs.dependencies(bottom.id), 'dependencies()', 2000);
    const all = flat(causes);
    expect(all).toHaveLength(2 + 39 * 4 + 2);
    expect(new Set(all.map(({ id }) => id)).size).toBe(Object.keys(stored).length - 1);
    expect(all.at(-1)?.id).toBe(stored['top']?.id);
    // No text that is handed down grows without end either.
    expect(Buffer.byteLength(bottom.error ?? '')).toBeLessThan(2100);
  });

  it('name no more than a thousand times a job that they have told of', async () => {
    const app = await bootJobs({ types: [Step] });
    const { stored, bottom } = await failed(app, layers(40, 40));
    const all = flat((await app.jobs.dependencies(bottom.id)).causes);
    expect(new Set(all.map(({ id }) => id)).size).toBe(81);
    expect(all).toHaveLength(81 + 1000);
    expect(all.at(-1)?.id).toBe(stored['top']?.id);
  });

  it('are looked for among a thousand jobs, the nearest first', async () => {
    const app = await bootJobs({ types: [Step] });
    const flow: Record<string, FlowJob> = { top: { type: Step, params: { fails: true } } };
    const near: string[] = [];
    for (let at = 0; at < 600; at += 1) {
      flow[`far${at}`] = { type: Step, dependsOn: ['top'] };
      flow[`near${at}`] = { type: Step, dependsOn: [`far${at}`] };
      near.push(`near${at}`);
    }
    flow['bottom'] = { type: Step, dependsOn: near };
    const { stored, bottom } = await failed(app, flow);
    const { causes } = await app.jobs.dependencies(bottom.id);
    expect(causes.map(({ id }) => id)).toEqual(near.map((key) => stored[key]?.id));
    expect(causes.flatMap((cause) => cause.causes.map(({ id }) => id))).toEqual(
      Array.from({ length: 400 }, (_, at) => stored[`far${at}`]?.id),
    );
    expect(flat(causes)).toHaveLength(1000);
  }, 60_000);
});
