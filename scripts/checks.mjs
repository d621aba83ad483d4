// Named checks, counted: what .ci/run adds up is the last line, "N passed, N failed".
import { spawn } from 'node:child_process';

let passed = 0;
let failed = 0;

/** Runs one check; a failure is told and counted, and the next check runs all the same. */
export async function check(name, work) {
  const started = Date.now();
  try {
    await work();
    passed++;
    console.log(`ok      ${name} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
    return true;
  } catch (error) {
    failed++;
    console.log(
      `FAILED  ${name}\n${indent(error instanceof Error ? error.message : String(error))}`,
    );
    return false;
  }
}

export function finish() {
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

/**
 * Runs a program to its end; rejects with its output when it fails or outlives the deadline. One that has
 * processes of its own is a `group`: all of them are ended then.
 */
export function run(command, args, { cwd, env = {}, deadlineMs = 120_000, group = false } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: group,
    });
    let output = '';
    let isLate = false;
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    const timer = setTimeout(() => {
      isLate = true;
      if (group && child.pid !== undefined) {
        process.kill(-child.pid, 'SIGKILL');
      } else {
        child.kill('SIGKILL');
      }
    }, deadlineMs);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (code === 0) return resolve(output);
      const how = isLate
        ? `did not end within ${deadlineMs / 1000} s`
        : `ended with ${code ?? signal}`;
      reject(new Error(`${command} ${args.join(' ')} ${how}\n${output}`));
    });
  });
}

/** The beginning and the end of what went wrong: enough to understand it, not more than a screen. */
function indent(text) {
  const lines = text.trimEnd().split('\n');
  const shown = lines.length <= 60 ? lines : [...lines.slice(0, 30), '…', ...lines.slice(-30)];
  return shown.map((line) => `        ${line}`).join('\n');
}
