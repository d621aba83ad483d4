import type { Schedule, ScheduleJobOptions } from '../model/schedule.js';
import type { JsonValue } from '../model/json.js';
import type { StoredSchedule } from '../store/store.js';

/** The public shape of a stored schedule. */
export function scheduleOf({ definition, times }: StoredSchedule): Schedule {
  const next = times.nextRunAtMs;
  const isOver = next !== null && next > (definition.endAtMs ?? Infinity);
  return {
    id: definition.id,
    tenantId: definition.tenantId,
    userId: definition.userId,
    name: definition.name,
    type: definition.type,
    params: JSON.parse(definition.params) as JsonValue,
    cron: definition.cron,
    timeZone: definition.timeZone,
    every: definition.everyMs,
    after: definition.afterMs,
    startAt: date(definition.startAtMs),
    endAt: date(definition.endAtMs),
    overlap: definition.overlap,
    misfire: definition.misfire,
    paused: definition.paused === 1,
    options: JSON.parse(definition.options) as ScheduleJobOptions,
    nextRunAt: isOver ? null : date(next),
    lastRunAt: date(times.lastRunAtMs),
    lastJobId: times.lastJobId,
    createdAt: new Date(definition.createdAtMs),
    updatedAt: new Date(definition.updatedAtMs),
  };
}

function date(ms: number | null): Date | null {
  return ms === null ? null : new Date(ms);
}
