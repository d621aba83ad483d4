import dns from 'node:dns';
import { lookup, Resolver } from 'node:dns/promises';
import { Room } from './room.js';

/** An answer of the name service. */
export interface Resolved {
  readonly address: string;
  readonly family: number;
}

/** Looks a name up: all of its addresses. */
export type Resolve = (host: string) => Promise<readonly Resolved[]>;

/** Looks a name up for somebody. */
export type ResolveFor = (host: string, who: string) => Promise<readonly Resolved[]>;

const PATIENCE_MS = 4000;
/** A question is asked twice, and given up after about three times this. */
const QUESTION_MS = 1000;
/** Questions to name servers under way: they cost a port and some memory. */
const QUESTIONS = { inAll: 128, ofOne: 32, patienceMs: PATIENCE_MS };
/** Threads of the operating system's lookup, of four that the whole process has, for files too. */
const THREADS = { inAll: 2, ofOne: 1, patienceMs: PATIENCE_MS };

/** What says that there is no such name, or nobody to ask; not that an answer takes its time. */
const UNKNOWN: readonly unknown[] = ['ENOTFOUND', 'ENODATA', 'ECONNREFUSED'];

/** What says that no name server has answered; after so many such questions it may have moved. */
const SILENT: readonly unknown[] = ['ETIMEOUT', 'ECONNREFUSED'];
const MOST_IN_VAIN = 5;

/**
 * Looks names up so that a name whose servers are slow holds up nobody but whoever has named it: by
 * questions to name servers, which need no thread. The operating system, whose lookups do, is asked for
 * names without a dot and for those that name servers do not know: they may stand in its file of hosts.
 */
export function nameService(
  questions: Resolve = askServers(),
  system: Resolve = askSystem,
): ResolveFor {
  const room = new Room(QUESTIONS);
  const threads = new Room(THREADS);
  const late = (): Error =>
    Object.assign(new Error('too many names are looked up'), { code: 'EAI_AGAIN' });
  return async (host, who) => {
    if (host.includes('.')) {
      try {
        return await room.do(who, () => questions(host), late);
      } catch (error) {
        if (!isUnknown(error)) {
          throw error;
        }
      }
    }
    return threads.do(who, () => system(host), late);
  };
}

function isUnknown(error: unknown): boolean {
  return error instanceof Error && 'code' in error && UNKNOWN.includes(error.code);
}

/** A resolver of Node's, as far as it is used here. */
export interface NameServers {
  resolve4(host: string): Promise<string[]>;
  resolve6(host: string): Promise<string[]>;
  getServers(): string[];
  setServers(servers: readonly string[]): void;
}

const newServers = (): NameServers => new Resolver({ timeout: QUESTION_MS, tries: 2 });

/**
 * Questions to the name servers that the host has set for its process (`dns.setServers`), else to those of
 * the machine. They may change: after some questions in a row that nobody answered, the machine is asked
 * anew which they are.
 */
export function askServers(make: () => NameServers = newServers): Resolve {
  let servers = make();
  const ofMachine = servers.getServers().join();
  // What differs from the beginning is the host's.
  let ofHost = dns.getServers();
  let isHosts = ofHost.join() !== ofMachine;
  let inVain = 0;
  const renew = (): void => {
    inVain = 0;
    servers = make();
    if (isHosts) {
      servers.setServers(ofHost);
    }
  };
  if (isHosts) {
    servers.setServers(ofHost);
  }
  return async (host) => {
    const now = dns.getServers();
    if (now.join() !== ofHost.join()) {
      [ofHost, isHosts] = [now, true];
      renew();
    } else if (inVain >= MOST_IN_VAIN) {
      renew();
    }
    const asked = servers;
    const answers = await Promise.allSettled([
      asked.resolve4(host).then((found) => found.map((address) => ({ address, family: 4 }))),
      asked.resolve6(host).then((found) => found.map((address) => ({ address, family: 6 }))),
    ]);
    const found = answers.flatMap((each) => (each.status === 'fulfilled' ? each.value : []));
    const failures = answers.flatMap((each): unknown[] =>
      each.status === 'rejected' ? [each.reason] : [],
    );
    if (asked === servers) {
      inVain = failures.length === answers.length && failures.every(isSilence) ? inVain + 1 : 0;
    }
    if (found.length === 0 && failures.length > 0) {
      // The graver one: that one family has no address says little.
      throw failures.find((failure) => !isUnknown(failure)) ?? failures[0];
    }
    return found;
  };
}

function isSilence(error: unknown): boolean {
  return error instanceof Error && 'code' in error && SILENT.includes(error.code);
}

async function askSystem(host: string): Promise<readonly Resolved[]> {
  return lookup(host, { all: true });
}
