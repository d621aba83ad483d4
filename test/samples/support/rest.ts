import { expect } from 'vitest';
import { until } from '../../support/waiting.js';

/** The fields of a job on the wire that these tests read. */
export interface WireJob {
  readonly id: string;
  readonly status: string;
  readonly progress: number;
  readonly completed: number | null;
  readonly total: number | null;
  readonly retries: number;
  readonly lost: number;
  readonly revision: number;
  readonly error: string | null;
  readonly result: Record<string, unknown> | null;
  readonly state: Record<string, unknown> | null;
}

export interface WireLine {
  readonly message: string;
  readonly fields: Record<string, unknown> | null;
}

/** What these tests do over HTTP. */
export class Rest {
  constructor(readonly url: string) {}

  enqueue(type: string, params: object, options: object = {}): Promise<WireJob> {
    return this.#send<WireJob>('POST', '/jobs', { type, params, ...options });
  }

  job(id: string): Promise<WireJob> {
    return this.#send<WireJob>('GET', `/jobs/${id}`);
  }

  act(id: string, operation: 'cancel' | 'suspend' | 'resume' | 'retry'): Promise<WireJob> {
    return this.#send<WireJob>('POST', `/jobs/${id}/${operation}`);
  }

  async log(id: string): Promise<WireLine[]> {
    return (await this.#send<{ lines: WireLine[] }>('GET', `/jobs/${id}/logs`)).lines;
  }

  /** Resolves with the job once it has ended, and fails with its log when it ends otherwise. */
  async end(id: string, status: string): Promise<WireJob> {
    const job = await this.#send<WireJob>('GET', `/jobs/${id}/wait?timeout_sec=20`);
    const story = JSON.stringify({ job, log: await this.log(id) }, null, 1);
    expect(job.status, story).toBe(status);
    return job;
  }

  /** Resolves with the job once it is in that status. */
  async reached(id: string, status: string): Promise<WireJob> {
    const job = async () => {
      const now = await this.job(id);
      return now.status === status ? now : undefined;
    };
    return until(job, `${id} to be ${status}`);
  }

  async #send<T>(method: string, path: string, body?: object): Promise<T> {
    const response = await fetch(this.url + path, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return JSON.parse(text) as T;
  }
}
