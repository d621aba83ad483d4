import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { follow } from './follow.js';
import { postgres } from './server.js';

const FILMS = 6;
const FRAMES = 30;

interface Job {
  readonly id: string;
  readonly status: string;
  readonly lost: number;
}

interface Worker {
  readonly host: string;
  readonly pid: number;
  readonly running: number;
}

const stopped = new Promise((resolve) => process.once('SIGINT', resolve).once('SIGTERM', resolve));
const children: ChildProcess[] = [];
const server = await postgres();
try {
  await Promise.race([show(), stopped]);
} finally {
  await Promise.all(children.map(end));
  await server.stop();
}

async function show(): Promise<void> {
  const web = await start('web.js');
  const workers = [await start('worker.js'), await start('worker.js')];
  const films = Array.from({ length: FILMS }, (_, at) => `film ${at + 1}`);
  const ids = await Promise.all(films.map(() => enqueue(web.said)));
  // The worker that is first to have done a third is killed, as if somebody pulled its plug.
  let victim: ChildProcess | undefined;
  const watch = async (id: string, name: string): Promise<void> => {
    for await (const report of follow(web.said, id, name)) {
      const [, frame, pid] = /^frame (\d+) by process (\d+)$/.exec(report) ?? [];
      if (victim !== undefined || Number(frame) < FRAMES / 3) continue;
      victim = workers.find(({ child }) => child.pid === Number(pid))?.child;
      await showWorkers(web.said);
      victim?.kill('SIGKILL');
      console.log(`worker    process ${pid} is killed; its jobs come back`);
    }
  };
  await Promise.all(ids.map((id, at) => watch(id, films[at] ?? '')));
  const jobs = await Promise.all(ids.map((id) => get<Job>(`${web.said}/jobs/${id}`)));
  const completed = jobs.filter(({ status }) => status === 'completed').length;
  const lost = jobs.reduce((sum, job) => sum + job.lost, 0);
  await showWorkers(web.said);
  console.log(`${completed} of ${FILMS} films are complete; ${lost} runs were taken over`);
}

/** Who works, as operators see it; the dead are there too, for an hour. */
async function showWorkers(web: string): Promise<void> {
  const { workers } = await get<{ workers: Worker[] }>(`${web}/workers`);
  for (const { host, pid, running } of workers) {
    console.log(`GET /workers  ${host} process ${pid}: ${running} running`);
  }
}

/** Starts a process and waits for what it says once it is ready. */
async function start(file: string): Promise<{ child: ChildProcess; said: string }> {
  const child = fork(path.join(import.meta.dirname, file), {
    env: { ...process.env, DATABASE_URL: server.url },
  });
  children.push(child);
  const died = once(child, 'exit').then(() => Promise.reject(new Error(`${file} ended.`)));
  died.catch(() => undefined);
  const [said] = (await Promise.race([once(child, 'message'), died])) as [string];
  return { child, said };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  // They close by themselves when nobody is there any more.
  if (child.connected) child.disconnect();
  await exit;
}

async function enqueue(web: string): Promise<string> {
  const response = await fetch(`${web}/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'default:render', params: { frames: FRAMES } }),
  });
  if (response.status !== 202) throw new Error(await response.text());
  const { id } = (await response.json()) as Job;
  return id;
}

async function get<T>(url: string): Promise<T> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}.`);
  return (await response.json()) as T;
}
