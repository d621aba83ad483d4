import { checkProgress, type JobProgress } from '../model/progress.js';
import type { JoinedTransaction, RunReport } from '../store/store.js';
import type { ServedRun } from './run.js';

const WRITE_EVERY_MS = 200;

/**
 * Takes a handler's progress: checks it, keeps the latest, writes at most a few times a second, and
 * the last one always.
 */
export class ProgressRecorder {
  readonly #run: ServedRun;
  #pending: Partial<RunReport> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #writtenAt = -Infinity;
  #joined: JoinedTransaction | undefined;
  #movedAt: number | undefined;

  constructor(run: ServedRun) {
    this.#run = run;
  }

  /** When the run last got on, by `performance.now()`. */
  get movedAt(): number | undefined {
    return this.#movedAt;
  }

  /** The run has got on, whatever it reports. */
  moved(): void {
    this.#movedAt = performance.now();
  }

  /** Takes an emission of a stream: anything but progress fails the run. */
  emit(value: unknown): void {
    this.record(value);
  }

  /** @throws JobsError `invalid_progress`; what is stored stays */
  record(value: unknown, message?: string): void {
    const { progress, completed, total, message: text } = this.check(value, message);
    if (this.#run.isSettled) {
      return;
    }
    const { job } = this.#run;
    if (
      (progress !== undefined && progress !== job.progress) ||
      (completed !== undefined && completed !== job.completed) ||
      (total !== undefined && total !== job.total) ||
      (text !== undefined && text !== job.progressDetails)
    ) {
      this.moved();
    }
    job.progress = progress ?? job.progress;
    job.completed = completed ?? job.completed;
    job.total = total ?? job.total;
    job.progressDetails = text ?? job.progressDetails;
    if (progress !== undefined && progress > 0 && job.startedAtMs !== null) {
      job.etaMs = Math.round(job.startedAtMs + this.#run.elapsedMs / progress);
    }
    this.#pending = reportOf(job.progress, job, progress !== undefined);
    this.#announce({ progress, completed, total, message: text });
    this.#writeSoon();
  }

  /** @throws JobsError `invalid_progress` */
  check(value: unknown, message?: string): ReturnType<typeof checkProgress> {
    const { completed, total } = this.#run.job;
    return checkProgress(value, message, {
      completed: completed ?? undefined,
      total: total ?? undefined,
    });
  }

  /** What is reported from now on belongs to a transaction of the handler. */
  join(joined: JoinedTransaction): void {
    this.flush();
    this.#joined = joined;
  }

  /** Writes what was reported inside the transaction, before it commits. */
  async writeJoined(): Promise<void> {
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined && this.#joined !== undefined) {
      const { job, runId } = this.#run;
      await this.#joined.report({ ...pending, seq: job.seq, runId });
      this.#joined.onCommit(() => this.#stored());
    }
  }

  /** The transaction is over; what it did not write is forgotten. */
  leave(): void {
    this.#joined = undefined;
    this.#pending = undefined;
  }

  /** Writes what is pending now; it goes out ahead of the run's end. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const pending = this.#pending;
    if (pending !== undefined) {
      this.#pending = undefined;
      this.#write(pending);
    }
  }

  /** Forgets what is pending. */
  drop(): void {
    clearTimeout(this.#timer);
    this.#pending = undefined;
  }

  #writeSoon(): void {
    if (this.#joined !== undefined) {
      return;
    }
    const waitMs = this.#writtenAt + WRITE_EVERY_MS - performance.now();
    if (waitMs <= 0) {
      this.flush();
    } else {
      this.#timer ??= setTimeout(() => this.flush(), waitMs);
    }
  }

  #write(report: Partial<RunReport>): void {
    this.#writtenAt = performance.now();
    const { job, parts, runId } = this.#run;
    parts.store.jobs
      .report({ ...report, seq: job.seq, runId, startedAtMs: job.startedAtMs ?? undefined })
      .then(
        (held) => {
          if (held) {
            this.#stored();
          } else if (!this.#run.isSettled) {
            this.#run.loseLease();
          }
        },
        (error: unknown) => parts.unstored.progress.add(job.id, error),
      );
  }

  #stored(): void {
    const { job, parts } = this.#run;
    job.updatedAtMs = parts.store.estimateNowMs();
    parts.progressed(job);
  }

  #announce(report: { [K in keyof JobProgress]: JobProgress[K] | undefined }): void {
    const { job, parts, runId, type } = this.#run;
    parts.announceProgress({
      jobId: job.id,
      type: job.type,
      queue: type.queue,
      runId,
      at: new Date(parts.store.estimateNowMs()),
      ...(report.progress === undefined ? {} : { progress: report.progress }),
      ...(report.completed === undefined ? {} : { completed: report.completed }),
      ...(report.total === undefined ? {} : { total: report.total }),
      ...(report.message === undefined ? {} : { message: report.message }),
    });
  }
}

function reportOf(
  progress: number,
  job: {
    readonly completed: number | null;
    readonly total: number | null;
    readonly progressDetails: string | null;
    readonly etaMs: number | null;
  },
  hasProgress: boolean,
): Partial<RunReport> {
  return {
    ...(hasProgress ? { progress } : {}),
    ...(job.completed === null ? {} : { completed: job.completed }),
    ...(job.total === null ? {} : { total: job.total }),
    ...(job.progressDetails === null ? {} : { message: job.progressDetails }),
    ...(job.etaMs === null ? {} : { etaMs: job.etaMs }),
  };
}
