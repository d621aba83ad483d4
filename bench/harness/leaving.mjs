/** What becomes of a run that is broken off: nothing of it is left, neither processes nor folders. */
import { killAll } from './child.mjs';
import { stopServers } from './servers.mjs';

const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };
/** Servers that do not end by then are killed on the way out. */
const PATIENCE_MS = 20_000;

export function leaveOnSignals() {
  let isLeaving = false;
  const leave = async (code) => {
    // Told twice, it goes at once.
    if (isLeaving) process.exit(code);
    isLeaving = true;
    setTimeout(() => process.exit(code), PATIENCE_MS);
    killAll();
    try {
      await stopServers();
    } finally {
      process.exit(code);
    }
  };
  for (const [signal, code] of Object.entries(SIGNALS)) {
    process.on(signal, () => void leave(code));
  }
}
