import { readdirSync, readFileSync } from 'node:fs';

/** The fields of /proc/<pid>/stat behind the name: state, parent, … */
function statOf(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

export const parentOf = (pid) => Number(statOf(pid)[1]);

function withItsChildren(server) {
  const children = readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && parentOf(name) === server;
    } catch {
      // It has just ended.
      return false;
    }
  });
  return [String(server), ...children];
}

/**
 * Microseconds that a server, its processes and their threads have worked. The scheduler counts
 * nanoseconds, where the ticks of /proc/<pid>/stat are hundredths of a second; of a thread that ended
 * the last count stays.
 */
export function cpuOf(server) {
  const known = new Map();
  return () => {
    for (const pid of withItsChildren(server)) {
      try {
        for (const thread of readdirSync(`/proc/${pid}/task`)) {
          const ns = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0];
          known.set(thread, Number(ns) / 1000);
        }
      } catch {
        // It has just ended.
      }
    }
    return [...known.values()].reduce((sum, each) => sum + each, 0);
  };
}
