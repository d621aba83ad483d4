import { fork } from 'node:child_process';
import path from 'node:path';

const processFile = path.resolve(import.meta.dirname, 'peer-process.mjs');
const alive = new Set();

/** One process that plays a peer. Every request has a deadline; a broken promise kills it. */
export class Child {
  #process;
  #pending = new Map();
  #nextId = 1;
  #output = '';
  #exited;
  #database;

  constructor(adapter, { execArgv = [] } = {}) {
    this.adapter = adapter;
    this.#process = fork(processFile, [], {
      execArgv,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...process.env, NODE_ENV: 'production', NO_COLOR: '1' },
    });
    alive.add(this.#process);
    const keep = (chunk) => (this.#output = (this.#output + chunk).slice(-8000));
    this.#process.stdout.on('data', keep);
    this.#process.stderr.on('data', keep);
    this.#process.on('message', (message) => this.#answered(message));
    this.#exited = new Promise((resolve) => {
      this.#process.on('exit', (code, signal) => {
        alive.delete(this.#process);
        this.#rejectAll(`ended with ${signal ?? code}`);
        resolve();
      });
    });
  }

  /** The work of that server, while a measured command runs, is told with its result. */
  besideServer(database) {
    this.#database = database;
  }

  /** Calls a command of peer-process.mjs. */
  async call(command, args = {}, timeoutMs = 120_000) {
    const before = this.#database?.cpuUs();
    const value = await this.#call(command, args, timeoutMs);
    if (before !== undefined && value?.cpuUs !== undefined) {
      value.serverUs = this.#database.cpuUs() - before;
    }
    return value;
  }

  #call(command, args, timeoutMs) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#rejectAll(`no answer to ${command} within ${timeoutMs / 1000} s`);
        this.#process.kill('SIGKILL');
      }, timeoutMs);
      this.#pending.set(id, { command, resolve, reject, timer });
      if (this.#process.connected) {
        this.#process.send({ id, command, args: { ...args, adapter: this.adapter } });
      } else {
        this.#rejectAll('is gone');
      }
    });
  }

  /** Ends in good order, or by force when that takes too long. */
  async close() {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    await this.call('close', {}, 20_000).catch(() => this.#process.kill('SIGKILL'));
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 10_000);
    await this.#exited;
    clearTimeout(timer);
  }

  /** For a process whose backlog nobody wants. */
  async kill() {
    this.#process.kill('SIGKILL');
    await this.#exited;
  }

  #answered({ id, value, error }) {
    const waiting = this.#pending.get(id);
    if (waiting === undefined) return;
    this.#pending.delete(id);
    clearTimeout(waiting.timer);
    if (error === undefined) waiting.resolve(value);
    else waiting.reject(new Error(`${this.adapter}: ${waiting.command}: ${error}`));
  }

  #rejectAll(why) {
    for (const { command, reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new Error(`${this.adapter}: ${command}: ${why}\n${this.#output}`));
    }
    this.#pending.clear();
  }
}

/** Leaves no process behind, whatever happened. */
export function killAll() {
  for (const each of alive) each.kill('SIGKILL');
}
