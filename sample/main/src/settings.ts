import path from 'node:path';

const sample = path.resolve(import.meta.dirname, '..');
const database = path.resolve(process.env['JOBS_DB'] ?? path.join(sample, 'data/jobs.sqlite'));

/** What the environment decides. */
export const settings = {
  /** PORT. Only this machine can connect, for anybody who can may read and write files here. */
  host: '127.0.0.1',
  port: portOf(process.env['PORT'] ?? '3000'),
  /** JOBS_DB: the SQLite file with the jobs. */
  database,
  /** Where results go that were given no path: the folder of the database. */
  dataFolder: path.dirname(database),
  /** JOBS_FOLDER: what the first job digests. */
  folder: path.resolve(process.env['JOBS_FOLDER'] ?? path.join(sample, '../../node_modules')),
};

function portOf(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 0 && port < 65_536) return port;
  throw new Error(`PORT is "${text}": give a number from 0 to 65535.`);
}
