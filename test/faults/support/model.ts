/**
 * What the contract says of jobs, in as few words as possible and without a line of the library: who may
 * become what, who holds what, and what counts. Times are seconds of the model's own clock.
 */
export interface ModelJob {
  status: string;
  revision: number;
  retries: number;
  lost: number;
  readonly maxRetries: number;
  /** Whether a claim may take it: due when it began to wait, or found due since. */
  isReady: boolean;
  runAt: number;
  expiresAt: number | undefined;
  /** The run that holds it, or was the last one of an ended job. */
  run: number | undefined;
  worker: string | undefined;
  leaseUntil: number | undefined;
}

export const LEASE = 50;
export const DELAY = 30;
export const MAX_LOST = 2;
export const TICK = 20;

type Effect = string;
type Row = Readonly<Record<string, Effect>>;

/** What an operator's word makes of a job: a status, the same, gone, or an error's code. */
const OPERATIONS: Readonly<Record<string, Row>> = {
  cancel: {
    waiting: 'canceled',
    running: 'canceling',
    canceling: '=',
    suspending: 'canceling',
    suspended: 'canceled',
    final: '=',
  },
  suspend: {
    waiting: 'suspended',
    running: 'suspending',
    canceling: 'illegal_transition',
    suspending: '=',
    suspended: '=',
    final: 'illegal_transition',
  },
  resume: {
    waiting: '=',
    running: '=',
    canceling: 'illegal_transition',
    suspending: 'try_later',
    suspended: 'waiting',
    final: 'illegal_transition',
  },
  skip: { waiting: 'skipped' },
  fail: { waiting: 'failed' },
  retry: { failed: 'waiting', timeout: 'waiting', canceled: 'waiting' },
  delete: { waiting: 'gone', suspended: 'gone', final: 'gone' },
};

export const FINAL: readonly string[] = ['skipped', 'canceled', 'failed', 'timeout', 'completed'];
const HOLDING: readonly string[] = ['running', 'canceling', 'suspending'];

export function effectOf(operation: string, { status }: ModelJob): Effect {
  const row = OPERATIONS[operation] ?? {};
  const other = operation === 'delete' ? 'job_active' : 'illegal_transition';
  return row[status] ?? (FINAL.includes(status) ? row['final'] : undefined) ?? other;
}

export function operate(operation: string, job: ModelJob, now: number): void {
  const effect = effectOf(operation, job);
  if (effect === '=' || effect === 'gone' || effect.includes('_')) {
    return;
  }
  if (operation === 'retry') {
    job.retries = 0;
    job.lost = 0;
    job.runAt = now;
    job.run = undefined;
    if (job.expiresAt !== undefined && job.expiresAt <= now) {
      job.expiresAt = undefined;
    }
  }
  become(job, effect, now);
}

export function holds(job: ModelJob, run: number): boolean {
  return job.run === run && HOLDING.includes(job.status);
}

export function mayClaim(job: ModelJob, now: number): boolean {
  const isExpired = job.expiresAt !== undefined && job.expiresAt <= now && job.revision === 0;
  return job.status === 'waiting' && job.isReady && !isExpired;
}

export function claim(job: ModelJob, run: number, worker: string, now: number): void {
  job.revision += 1;
  become(job, 'running', now);
  Object.assign(job, { run, worker, leaseUntil: now + LEASE });
}

/** How the run that holds a job ends: what it says counts only where the job lets it. */
export function end(job: ModelJob, how: 'finish' | 'throw' | 'stop' | 'lose', now: number): void {
  const { status } = job;
  if (status === 'canceling') {
    become(job, 'canceled', now);
  } else if (how === 'finish') {
    become(job, 'completed', now);
  } else if (status === 'suspending') {
    become(job, 'suspended', now);
  } else if (how === 'throw' && job.retries < job.maxRetries) {
    job.retries += 1;
    job.runAt = now + DELAY;
    become(job, 'waiting', now);
  } else if (how === 'throw') {
    become(job, 'failed', now);
  } else if (how === 'lose') {
    job.lost += 1;
    become(job, job.lost > MAX_LOST ? 'failed' : 'waiting', now);
  } else {
    become(job, 'waiting', now);
  }
}

export function isAbandoned(job: ModelJob, now: number): boolean {
  return HOLDING.includes(job.status) && job.leaseUntil !== undefined && job.leaseUntil < now;
}

export function become(job: ModelJob, status: string, now: number): void {
  job.status = status;
  job.isReady = status === 'waiting' && job.runAt <= now;
  if (!HOLDING.includes(status)) {
    job.leaseUntil = undefined;
  }
  if (status === 'waiting' || status === 'suspended') {
    job.run = undefined;
    job.worker = undefined;
  }
}
