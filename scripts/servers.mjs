// What the database servers of tests have in common.
import { spawnSync } from 'node:child_process';
import { createServer } from 'node:net';

/** As whom a server runs that refuses root, or should: the first of those users that exists. */
export function ordinaryUser(names) {
  if (process.getuid?.() !== 0) return {};
  const id = (flag, name) => Number(spawnSync('id', [flag, name], { encoding: 'utf8' }).stdout);
  const name = names.find((each) => id('-u', each) > 0);
  return { uid: id('-u', name), gid: id('-g', name) };
}

export function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
