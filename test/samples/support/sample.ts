import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, onTestFinished } from 'vitest';
import { until, within } from '../../support/waiting.js';

const root = path.resolve(import.meta.dirname, '../../..');
const tsc = path.join(root, 'node_modules/typescript-native/bin/tsc');

/**
 * Compiles a sample in a folder of its own beside its sources, for this test file only, and gives its
 * main file. The data that it keeps beside its dist/ is there too, and none from before. To be called
 * outside of tests and hooks.
 */
export function buildSample(name: string): string {
  const folder = path.join(root, 'sample', name);
  const own = path.join(folder, `.dist-${process.pid}`);
  const out = path.join(own, 'dist');
  afterAll(() => rmSync(own, { recursive: true, force: true }));
  execFileSync(process.execPath, [tsc, '-p', folder, '--outDir', out], { stdio: 'inherit' });
  return path.join(out, 'main.js');
}

/** A process and what it has printed. */
export interface Running {
  readonly child: ChildProcess;
  readonly lines: readonly string[];
  /** Resolves with the first line that matches, printed or still to come. */
  line(pattern: RegExp): Promise<string>;
  /** Sends the signal and waits for the end. */
  end(signal: NodeJS.Signals): Promise<void>;
  /** Resolves with the exit code. */
  ended(): Promise<number | null>;
}

/** Starts a compiled sample. */
export function start(main: string, env: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, ['--enable-source-maps', main], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => lines.push(line));
  }
  const exit = once(child, 'close');
  const isOver = () => child.exitCode !== null || child.signalCode !== null;
  const running: Running = {
    child,
    lines,
    line: (pattern) =>
      until(
        () => {
          const found = lines.find((line) => pattern.test(line));
          if (found === undefined && isOver()) {
            throw new Error(`It exited with ${child.exitCode}:\n${lines.join('\n')}`);
          }
          return found;
        },
        `${pattern.source} in what it prints`,
        20_000,
      ).catch((error: unknown) => {
        throw new Error(`${String(error)}\n${lines.join('\n')}`);
      }),
    end: async (signal) => {
      if (!isOver()) child.kill(signal);
      await within(exit, `the end after ${signal}`);
    },
    ended: async () => {
      await within(exit, 'the end of the process', 20_000);
      return child.exitCode;
    },
  };
  return running;
}

/** Kills it when the test that started it has ended, at the latest. */
export function untilTestEnds(running: Running): Running {
  onTestFinished(() => running.end('SIGKILL'));
  return running;
}
