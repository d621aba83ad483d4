import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import {
  JobsError,
  type Job,
  type JobsErrorCode,
  type JobsModuleOptions,
  type JobStatus,
} from '../../lib/index.js';
import { QUICK } from './boot.js';
import { closeLater } from './cleanup.js';
import type { TestDatabase } from './databases.js';
import { until, within } from './waiting.js';

export interface ChildOptions {
  readonly database: TestDatabase;
  readonly options?: JobsModuleOptions;
  readonly typeorm?: object;
  /** More for the fixture: see there. */
  readonly fixture?: object;
  /** Where the fixtures are; those of this line otherwise. */
  readonly fixtures?: string;
  /** A limit in blocks of 1024 bytes for every file that the child writes. */
  readonly fileLimit?: number;
  /** Without the right of root to write what permissions forbid. */
  readonly obeysPermissions?: boolean;
}

/** A line of the file that handlers of `default:marked` append to. */
export interface Mark {
  readonly what: 'start' | 'end';
  readonly job: string;
  readonly attempt: number;
  readonly pid: number;
  readonly at: number;
}

interface Message {
  readonly event?: string;
  readonly seq?: number;
  readonly value?: unknown;
  readonly error?: { readonly code?: string; readonly message: string };
  readonly id?: string;
  readonly code?: string;
  readonly message?: string;
  readonly at?: number;
}

const ready = (message: Message): boolean =>
  message.event === 'ready' || message.event === 'refused';

/** The file of marks of a database's children. */
export function marksOf(database: TestDatabase): string {
  return path.join(database.folder, 'marks.jsonl');
}

const WITHOUT_OVERRIDE = [
  'setpriv',
  '--bounding-set=-dac_override,-dac_read_search',
  '--inh-caps=-all',
];

const NOBODY = 65_534;

/** How to run as somebody whom file permissions bind; another user may not read this folder. */
function ordinaryUser(): { readonly command: readonly string[]; readonly uid: number | undefined } {
  if (process.getuid?.() !== 0) {
    return { command: [], uid: undefined };
  }
  const [command = '', ...args] = WITHOUT_OVERRIDE;
  return spawnSync(command, [...args, 'true']).status === 0
    ? { command: WITHOUT_OVERRIDE, uid: undefined }
    : { command: [], uid: NOBODY };
}

/** An application in a process of its own, running the built package of this line. */
export class ChildApplication {
  readonly messages: Message[] = [];
  #seq = 0;
  #output = '';
  #exit:
    | { readonly code: number | null; readonly signal: NodeJS.Signals | null; readonly at: number }
    | undefined;

  private constructor(private readonly child: ChildProcess) {
    child.on('message', (message) => this.messages.push(message as Message));
    child.stdout?.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    // Said to it while it dies; that it is dead is noticed anyway.
    child.on('error', (error) => (this.#output += String(error)));
    child.on('exit', (code, signal) => (this.#exit = { code, signal, at: Date.now() }));
  }

  /** Starts it and waits until it has booted, or was refused. */
  static async start(options: ChildOptions): Promise<ChildApplication> {
    const app = ChildApplication.spawn(options);
    await app.booted();
    return app;
  }

  static spawn({
    database,
    options,
    typeorm,
    fixture: more,
    fixtures = process.env['JOBS_TEST_FIXTURES'] ?? '',
    fileLimit,
    obeysPermissions,
  }: ChildOptions): ChildApplication {
    const fixture = path.join(fixtures, 'application.mjs');
    const settings = JSON.stringify({
      typeorm: database.options(typeorm),
      options: { ...QUICK, ...options },
      marks: marksOf(database),
      ...more,
    });
    const { command: prefix, uid } =
      obeysPermissions === true ? ordinaryUser() : { command: [], uid: undefined };
    const node = [...prefix, process.execPath, fixture, settings];
    const command =
      fileLimit === undefined
        ? node
        : ['bash', '-c', `ulimit -S -f ${fileLimit}; exec "$@"`, 'bash', ...node];
    const child = spawn(command[0] as string, command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    const app = new ChildApplication(child);
    closeLater(() => app.kill('SIGKILL'), 'test');
    return app;
  }

  get pid(): number {
    return this.child.pid as number;
  }

  /** When it ended and how; undefined while it lives. */
  get exit():
    | { readonly code: number | null; readonly signal: NodeJS.Signals | null; readonly at: number }
    | undefined {
    return this.#exit;
  }

  get output(): string {
    return this.#output;
  }

  async booted(deadlineMs = 20_000): Promise<Message> {
    const answer = await until(
      () =>
        this.messages.find(ready) ?? (this.#exit !== undefined && ({ event: 'died' } as Message)),
      'a child to boot',
      deadlineMs,
    );
    if (answer.event === 'died') {
      throw new Error(`The child ended while it booted:\n${this.#output}`);
    }
    return answer;
  }

  /** Calls a method of a service in the child; errors come back as `JobsError`. */
  async call<T>(service: string, method: string, ...args: readonly unknown[]): Promise<T> {
    const seq = (this.#seq += 1);
    this.child.send({ seq, service, method, args });
    const answer = await until(
      () =>
        this.messages.find((message) => message.seq === seq) ??
        (this.#exit !== undefined && ({} as Message)),
      `${service}.${method} in a child`,
      40_000,
    );
    if (answer.error !== undefined) {
      throw new JobsError(
        (answer.error.code ?? 'internal_error') as JobsErrorCode,
        answer.error.message,
      );
    }
    if (answer.seq === undefined) {
      throw new Error(`The child ended during ${service}.${method}:\n${this.#output}`);
    }
    return answer.value as T;
  }

  /** The job as JSON: instants are texts here. */
  get(id: string): Promise<Job & { status: JobStatus }> {
    return this.call('jobs', 'get', id);
  }

  /** The message that a handler sent about its job. */
  event(event: string, id: string, deadlineMs?: number): Promise<Message> {
    return until(
      () => this.messages.find((each) => each.event === event && each.id === id),
      `${event} of ${id}`,
      deadlineMs,
    );
  }

  /** Ends it, and resolves once it is gone. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    if (this.#exit === undefined) {
      this.child.kill(signal);
      await this.ended();
    }
  }

  async ended(): Promise<void> {
    await within(
      until(() => this.#exit !== undefined, 'a child to end', 15_000),
      'a child',
      16_000,
    );
  }
}
