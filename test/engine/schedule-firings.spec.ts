import { describe, expect, it } from 'vitest';
import { ScheduleFirings, type FiringMaker } from '../../lib/engine/schedule-firings.js';
import { JobScheduleEntity } from '../../lib/entities/job-schedule.entity.js';
import { JobsError } from '../../lib/model/errors.js';
import type { ClaimedSchedule, Firing } from '../../lib/store/store.js';
import { until } from '../support/waiting.js';

const due = (id: string, nextRunAtMs = 1, revision = 1): ClaimedSchedule => ({
  definition: Object.assign(new JobScheduleEntity(), { id, updatedAtMs: 1 }),
  times: { revision, nextRunAtMs, lastRunAtMs: null, lastJobId: null },
  open: [],
});

const firingOf = (schedule: ClaimedSchedule): Firing => ({ schedule, slots: [], next: null });

function desk(make: FiringMaker['make'], hookMs = 60_000) {
  const said: string[] = [];
  const firings = new ScheduleFirings(
    {
      make,
      leaveOut: (schedule) => {
        said.push(`left out ${schedule.definition.id}`);
        return { ...firingOf(schedule), next: 7 };
      },
      failed: (schedule, error) => said.push(`${schedule.definition.id}: ${String(error)}`),
    },
    { passMs: 20, hookMs, atOnce: 2 },
  );
  const idsOf = async (...schedules: ClaimedSchedule[]): Promise<string[]> => {
    const all = await firings.of(schedules, 0);
    return all.map(({ schedule }) => `${schedule.definition.id}${schedule.times.revision}`);
  };
  return { firings, idsOf, said };
}

describe('what schedules do', () => {
  it('is there at once, however many there are, when no hook takes long', async () => {
    const { idsOf } = desk((schedule) => Promise.resolve(firingOf(schedule)));
    const many = Array.from({ length: 300 }, (_, at) => due(`s${at} `));
    expect(await idsOf(...many)).toHaveLength(300);
  });

  it('comes in a later pass where a hook takes long, as of the claim of then', async () => {
    const answers = new Map<string, () => void>();
    let calls = 0;
    const { idsOf } = desk((schedule) => {
      calls += 1;
      return schedule.definition.id === 'quick'
        ? Promise.resolve(firingOf(schedule))
        : new Promise((resolve) =>
            answers.set(schedule.definition.id, () => resolve(firingOf(schedule))),
          );
    });
    expect(await idsOf(due('slow'), due('quick'), due('moved'))).toEqual(['quick1']);
    expect(await idsOf(due('slow', 1, 2))).toEqual([]);
    expect(calls).toBe(3);
    answers.get('slow')?.();
    answers.get('moved')?.();
    await new Promise(setImmediate);
    // Somebody else has done this slot: the next one asks again.
    expect(await idsOf(due('slow', 1, 3), due('moved', 2, 3))).toEqual(['slow3']);
    expect(calls).toBe(4);
  });

  it('leaves slots out while a hook does not return, and asks it once', async () => {
    let calls = 0;
    const { firings, said } = desk(() => {
      calls += 1;
      return new Promise(() => undefined);
    }, 30);
    expect(await firings.of([due('a')], 0)).toEqual([]);
    const left = await until(async () => {
      const found = await firings.of([due('a', 1, 2)], 0);
      return found.length > 0 && found;
    }, 'the slot to be left out');
    expect(left).toMatchObject([{ next: 7, schedule: { times: { revision: 2 } } }]);
    expect(await firings.of([due('a', 7, 3)], 0)).toMatchObject([{ next: 7 }]);
    expect(said).toEqual(['left out a', 'left out a']);
    expect(calls).toBe(1);
  });

  it('of one that cannot be made is told, and holds up no other one', async () => {
    const { idsOf, said } = desk((schedule) =>
      schedule.definition.id === 'bad'
        ? Promise.reject(new Error('what zone?'))
        : Promise.resolve(firingOf(schedule)),
    );
    expect(await idsOf(due('bad'), due('good'))).toEqual(['good1']);
    expect(await idsOf(due('bad'), due('good', 2, 2))).toEqual(['good2']);
    expect(said).toEqual(['bad: Error: what zone?']);
  });

  it('waits for the database when that is away', async () => {
    let isAway = true;
    const { idsOf, said } = desk((schedule) =>
      isAway
        ? Promise.reject(new JobsError('database_unavailable', 'away'))
        : Promise.resolve(firingOf(schedule)),
    );
    await expect(idsOf(due('a'))).rejects.toMatchObject({ code: 'database_unavailable' });
    isAway = false;
    expect(await idsOf(due('a', 1, 2))).toEqual(['a2']);
    expect(said).toEqual([]);
  });
});
