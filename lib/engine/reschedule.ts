import { durationMs } from '../model/duration.js';
import { JobsError } from '../model/errors.js';
import type { RescheduleOptions } from '../model/job-type.js';
import type { JsonValue } from '../model/json.js';
import { toJsonText } from '../model/json-text.js';
import type { Ending } from '../model/outcome.js';
import { SteeringSignal } from '../model/signals.js';
import { checkedInstant } from './enqueue-checks.js';
import { checkOptionKeys } from './option-keys.js';
import type { HandledRun } from './run.js';

type Rescheduled = Extract<Ending, { kind: 'rescheduled' }>;

const RESCHEDULE_KEYS: ReadonlySet<string> = new Set(['runAt', 'delay', 'state', 'params']);

/** A steering signal that carries what becomes of the job; the check of params may take a while. */
class RescheduleSignal extends SteeringSignal {
  readonly plan: Rescheduled | Promise<Rescheduled>;

  constructor(plan: Rescheduled | Promise<Rescheduled>) {
    super('reschedule', 'rescheduled');
    this.plan = plan;
  }
}

/** What ends a run so that its job comes back as the options say. @throws JobsError */
export function rescheduled(run: HandledRun, options: RescheduleOptions): SteeringSignal {
  checkReschedule(options);
  const { state, params, depth } = run.parts.options.limits;
  const paramsText = (given: unknown): string =>
    toJsonText(given, 'params', { bytes: params, depth });
  const plan: Rescheduled = {
    kind: 'rescheduled',
    runAtMs: options.runAt === undefined ? undefined : checkedInstant(options.runAt, 'runAt'),
    delayMs: options.delay === undefined ? 0 : durationMs(options.delay, 'delay'),
    state:
      options.state === undefined
        ? undefined
        : toJsonText(options.state, 'state', { bytes: state, depth }),
    params: undefined,
  };
  if (options.params === undefined) {
    return new RescheduleSignal(plan);
  }
  const given = JSON.parse(paramsText(options.params)) as JsonValue;
  const accepted = run.type.params.accept(given);
  return new RescheduleSignal(
    accepted instanceof Promise
      ? accepted.then((value) => ({ ...plan, params: paramsText(value) }))
      : { ...plan, params: paramsText(accepted) },
  );
}

/** Exactly one of `runAt` and `delay`: neither would be a loop without a pause. */
function checkReschedule(options: RescheduleOptions): void {
  checkOptionKeys(options, RESCHEDULE_KEYS);
  if ((options.runAt === undefined) === (options.delay === undefined)) {
    throw new JobsError(
      'invalid_request',
      'ctx.reschedule takes either runAt or delay: give one of them.',
    );
  }
}
